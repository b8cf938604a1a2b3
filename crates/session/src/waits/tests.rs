use prof_event::abi::{event_type, flag, sample, software};
use prof_event::{Event, EventAttr, RawRecord};
use prof_model::VirtAddr;

use super::*;

const TASK: (Pid, Tid) = (Pid(7), Tid(8));
const USER: u64 = callchain::USER;
const KERNEL: u64 = callchain::KERNEL;

/// As a sampler opens them beside nothing else.
fn events() -> EventSet {
    let attr = |config, flags| EventAttr {
        kind: event_type::SOFTWARE,
        config,
        sample_type: sample::IDENTIFIER
            | sample::IP
            | sample::TID
            | sample::TIME
            | sample::PERIOD
            | sample::CALLCHAIN,
        flags,
        ..EventAttr::default()
    };
    let mut events = EventSet::default();
    for (attr, name, id) in [
        (
            attr(software::DUMMY, flag::CONTEXT_SWITCH | flag::SAMPLE_ID_ALL),
            "dummy",
            1,
        ),
        (
            attr(software::CONTEXT_SWITCHES, flag::SAMPLE_ID_ALL),
            "context-switches",
            2,
        ),
    ] {
        events.push(Event {
            attr,
            name: name.to_owned(),
            ids: vec![id],
        });
    }
    with_waits(&events)
}

fn waits() -> Waits {
    let mut waits = Waits::of(&events(), 1).unwrap();
    waits.begin(1000, |name| {
        (name == "schedule").then_some(0xffff_0000..0xffff_0100)
    });
    waits
}

/// A thread stops at a time, with this callchain if one is seen.
fn stop(waits: &mut Waits, time: u64, preempted: bool, chain: Option<&[u64]>) {
    if let Some(chain) = chain {
        let mut record = Vec::new();
        let told = waits.told.record(&told::Fields {
            misc: 0,
            task: TASK,
            time,
            cpu: None,
            period: 1,
            chain: &[],
        });
        record.extend(told.unwrap());
        let events = events();
        let raw = RawRecord::parse(&record).unwrap();
        let decoded = events.decode(raw).unwrap();
        let Record::Sample(sample) = decoded.record else {
            panic!("{decoded:?}");
        };
        waits.stopped(&sample, chain, ChainEnd::Root);
    }
    let out = Record::Switch {
        out: true,
        preempted,
        other: None,
    };
    assert!(waits.take(&out, TASK, time).is_none());
}

fn go_on(waits: &mut Waits, time: u64) -> Option<Told> {
    let on = Record::Switch {
        out: false,
        preempted: false,
        other: None,
    };
    waits.take(&on, TASK, time)
}

/// Time, period, flags and callchain of a sample.
fn read(told: &Told) -> (u64, u64, u16, Vec<u64>) {
    let events = events();
    let raw = RawRecord::parse(&told.record).unwrap();
    let decoded = events.decode(raw).unwrap();
    assert_eq!(events.events()[decoded.event].name, OFFCPU_TIME);
    let Record::Sample(sample) = decoded.record else {
        panic!("{decoded:?}");
    };
    assert_eq!((sample.pid, sample.tid), TASK);
    let chain: Vec<u64> = sample.callchain.unwrap().iter().collect();
    let first = chain.iter().find(|&&entry| entry < callchain::FIRST);
    assert_eq!(sample.ip, VirtAddr(first.copied().unwrap_or(0)));
    (
        sample.time.unwrap(),
        sample.period,
        raw.misc & !misc::CPUMODE_MASK,
        chain,
    )
}

const BLOCKED: u16 = misc::SWITCH_OUT;
const RUNNABLE: u16 = misc::SWITCH_OUT | misc::SWITCH_OUT_PREEMPT;

#[test]
fn a_wait_lasts_from_where_a_thread_stops_until_it_goes_on() {
    let mut waits = waits();
    stop(
        &mut waits,
        2000,
        false,
        Some(&[KERNEL, 0xffff_0010, 0xffff_2000, USER, 5]),
    );
    let told = go_on(&mut waits, 2500).unwrap();
    assert_eq!(told.end, ChainEnd::Root);
    assert_eq!(
        read(&told),
        (2500, 500, BLOCKED, vec![KERNEL, 0xffff_2000, USER, 5])
    );
    assert!(go_on(&mut waits, 2600).is_none());
    stop(&mut waits, 3000, true, Some(&[USER, 6]));
    let told = go_on(&mut waits, 3001).unwrap();
    assert_eq!(read(&told), (3001, 1, RUNNABLE, vec![USER, 6]));
}

#[test]
fn what_was_waited_before_the_recording_is_not_counted() {
    let mut waits = Waits::of(&events(), 1).unwrap();
    stop(&mut waits, 200, false, Some(&[USER, 5]));
    waits.begin(1000, |_| None);
    assert_eq!(read(&go_on(&mut waits, 1700).unwrap()).1, 700);
    stop(&mut waits, 1800, false, Some(&[USER, 5]));
    waits.begin(5000, |_| None);
    assert!(go_on(&mut waits, 4000).is_none());
}

#[test]
fn a_wait_that_goes_on_is_told_in_parts_and_at_the_end() {
    let mut waits = waits();
    stop(&mut waits, 2000, false, Some(&[USER, 5]));
    assert!(waits.tell_parts(PART, false).is_empty());
    let parts = waits.tell_parts(1000 + PART, false);
    let [part] = &parts[..] else {
        panic!("{} parts", parts.len())
    };
    assert_eq!(
        read(part),
        (1000 + PART, PART - 1000, BLOCKED, vec![USER, 5])
    );
    let rest = waits.tell_parts(1100 + PART, true);
    let [rest] = &rest[..] else {
        panic!("{} parts", rest.len())
    };
    assert_eq!(read(rest).1, 100);
}

#[test]
fn a_thread_that_is_found_asleep_has_waited_since_the_beginning() {
    let mut waits = waits();
    waits.found_asleep(TASK, 1200, &[KERNEL, 0xffff_2000, USER, 5], ChainEnd::Root);
    let told = go_on(&mut waits, 9000).unwrap();
    assert_eq!(
        read(&told),
        (9000, 8000, BLOCKED, vec![KERNEL, 0xffff_2000, USER, 5])
    );
}

#[test]
fn a_thread_that_was_there_before_is_looked_at_once_unless_it_has_switched_meanwhile() {
    let mut waits = Waits::of(&events(), 1).unwrap();
    let other = (Pid(7), Tid(9));
    waits.is_present(TASK);
    waits.is_present(other);
    waits.begin(1000, |_| None);
    waits.is_present((Pid(7), Tid(10))); // started meanwhile
    stop(&mut waits, 2000, false, None);
    assert!(go_on(&mut waits, 2100).is_some());
    assert_eq!(waits.next_present(), Some(other));
    assert_eq!(waits.next_present(), None);
}

#[test]
fn what_is_found_after_a_wait_has_ended_is_not_taken_for_its_stack() {
    let mut waits = waits();
    stop(&mut waits, 2000, false, None);
    assert_eq!(waits.to_look_at(2000 + LONG), []);
    assert_eq!(waits.to_look_at(2001 + LONG), [TASK]);
    waits.found_asleep(TASK, 2001 + LONG, &[USER, 5], ChainEnd::Root);
    assert_eq!(waits.to_look_at(2002 + LONG), []);
    let told = go_on(&mut waits, 2000 + LONG).unwrap(); // it slept again when it was looked at
    assert_eq!(read(&told), (2000 + LONG, LONG, BLOCKED, vec![]));
    stop(&mut waits, 3000 + LONG, false, None);
    waits.found_awake(TASK.1, 4000 + LONG);
    assert_eq!(waits.to_look_at(u64::MAX), []);
}

#[test]
fn a_record_that_is_lost_makes_no_wait_longer() {
    let mut waits = waits();
    stop(&mut waits, 2000, false, Some(&[USER, 5]));
    stop(&mut waits, 8000, true, None);
    let told = go_on(&mut waits, 8100).unwrap();
    assert_eq!(read(&told), (8100, 100, RUNNABLE, vec![]));
    stop(&mut waits, 9000, false, Some(&[USER, 6]));
    stop(&mut waits, 9500, false, Some(&[USER, 7]));
    assert_eq!(
        read(&go_on(&mut waits, 9600).unwrap()),
        (9600, 100, BLOCKED, vec![USER, 7])
    );
}

#[test]
fn where_stacks_are_taken_in_bursts_all_time_is_told_and_shared_out_as_was_seen() {
    let mut waits = waits();
    let mut time = 2000;
    let mut told = Vec::new();
    let mut waited = 0;
    for round in 0..4000_u64 {
        let is_wanted = waits.wants_samples(time);
        let (chain, length) = match round % 4 {
            0 => ([USER, 5], 30_000),
            _ => ([USER, 6], 10_000),
        };
        stop(&mut waits, time, false, is_wanted.then_some(&chain));
        told.extend(go_on(&mut waits, time + length));
        waited += length;
        time += length + 5_000;
    }
    assert!(waits.bursts.are_used());
    assert!(told.len() < 1000, "{}", told.len());
    told.extend(waits.tell_parts(time, true));
    let of = |chain: &[u64]| -> u64 {
        let of = told.iter().map(read).filter(|it| it.3 == chain);
        of.map(|it| it.1).sum()
    };
    let (five, six) = (of(&[USER, 5]), of(&[USER, 6]));
    assert_eq!(five + six, waited);
    let share = five as f64 / waited as f64;
    assert!((0.48..0.52).contains(&share), "{share}");
}

#[test]
fn an_idle_cpu_and_a_thread_that_has_ended_wait_for_nothing() {
    let mut waits = waits();
    let out = Record::Switch {
        out: true,
        preempted: false,
        other: None,
    };
    assert!(waits.take(&out, (Pid(0), Tid(0)), 2000).is_none());
    stop(&mut waits, 2000, false, Some(&[USER, 5]));
    let exit = Record::Exit(prof_event::Task {
        pid: TASK.0,
        tid: TASK.1,
        ppid: Pid(1),
        ptid: Tid(1),
        time: 2100,
        made_up: false,
    });
    assert!(waits.take(&exit, TASK, 2100).is_none());
    assert!(waits.tell_parts(9000, true).is_empty());
}

#[test]
fn who_wakes_a_thread_matters_if_its_wait_is_told_with_its_stack() {
    let mut waits = waits();
    let (tid, other) = (TASK.1, Tid(9));
    assert!(!waits.woken(tid)); // it does not wait
    stop(&mut waits, 2000, false, Some(&[USER, 0x10]));
    assert!(waits.woken(tid) && !waits.woken(other));
    go_on(&mut waits, 2500);
    stop(&mut waits, 3000, false, None);
    assert!(waits.woken(tid)); // a stack that is not known
    while waits.wants_samples(1) {
        waits.bursts.taken();
    }
    assert!(!waits.woken(tid)); // it was not wanted: the wait is told by its share
}
