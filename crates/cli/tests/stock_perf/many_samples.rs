//! As many samples as `prof script` keeps of its first pass, and more, for which it makes a second one:
//! each is printed once, in its turn, with what is its own.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use prof_event::EventAttr;
use prof_event::abi::{misc, record, sample};
use prof_perfdata::Features;

use crate::handmade::Handmade;
use crate::support::{PROF, Place};

const TYPE: u64 = sample::IP | sample::TID | sample::TIME | sample::PERIOD | sample::IDENTIFIER;

/// One of the samples, which differs from its neighbours in everything.
struct Tiny {
    tid: u32,
    nanoseconds: u64,
    period: u64,
    ip: u64,
}

impl Tiny {
    fn new(number: u64) -> Self {
        Self {
            tid: 7 + (number % 3) as u32,
            nanoseconds: 1_000_000_000 + number * 1000,
            period: 1 + number % 1009,
            ip: 0x40_0000 + number % 997,
        }
    }

    fn line(&self) -> String {
        let Self {
            tid,
            nanoseconds,
            period,
            ip,
        } = self;
        let (seconds, micros) = (nanoseconds / 1_000_000_000, nanoseconds / 1000 % 1_000_000);
        let comm = format!(":{tid}"); // nothing told its name
        format!("{comm:>16} {tid:>5} {seconds:>5}.{micros:06}: {period:>10} {ip:>17x}")
    }
}

/// Pairs of neighbours are written in the wrong order.
fn write(place: &Place, count: u64) {
    let attr = EventAttr {
        kind: 1,
        sample_type: TYPE,
        sample_period_or_freq: 1,
        ..EventAttr::default()
    };
    let mut recording = Handmade::create(place.file("many.data"), "cpu-clock", attr);
    for number in 0..count {
        let tiny = Tiny::new(number ^ 1);
        recording.put(record::SAMPLE, misc::USER, |record| {
            record.u64(1).u64(tiny.ip).u32(7).u32(tiny.tid);
            record.u64(tiny.nanoseconds).u64(tiny.period);
        });
    }
    recording.finish(Features::default());
}

fn assert_printed(count: u64) {
    let place = Place::new();
    write(&place, count);
    let mut prof = Command::new(PROF)
        .args(["script", "-F", "comm,tid,time,period,ip", "-i", "many.data"])
        .current_dir(place.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(prof.stdout.take().unwrap()).lines();
    let mut printed = 0;
    for line in lines {
        assert_eq!(line.unwrap(), Tiny::new(printed).line(), "{printed}");
        printed += 1;
    }
    assert_eq!(printed, count);
    assert!(prof.wait().unwrap().success());
}

#[test]
fn a_few_samples_are_printed_from_the_first_pass() {
    assert_printed(10_000);
}

#[test]
fn more_samples_than_are_kept_are_printed_from_a_second_pass() {
    assert_printed(1_500_000); // of 24 bytes each, where 32 MiB may be kept
}
