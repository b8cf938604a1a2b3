//! Recordings of accesses to memory, which no machine of ours can make: what samples say about the data.

use prof_event::abi::{misc, record, sample};
use prof_event::{EventAttr, RecordBuilder};
use prof_perfdata::Features;

use crate::handmade::Handmade;
use crate::lab::Lab;

const ALWAYS: u64 = sample::IP | sample::TID | sample::TIME | sample::CPU | sample::PERIOD;
const ACCESS: u64 = sample::ADDR | sample::DATA_SRC | sample::PHYS_ADDR;
const PAGES: u64 = sample::DATA_PAGE_SIZE | sample::CODE_PAGE_SIZE;

/// Values of `perf_mem_data_src`: each value of each field, and of all together. Not the distances that no
/// kernel knows, for which perf prints `(null)`.
fn sources() -> Vec<u64> {
    const FIELDS: [(u32, u32); 10] = [
        (0, 5),
        (5, 14),
        (19, 5),
        (24, 2),
        (26, 7),
        (33, 4),
        (37, 1),
        (38, 2),
        (40, 3),
        (43, 3),
    ];
    const USUAL: u64 = 0x6810_0142; // a load that hit the first cache
    let mut sources = vec![0, USUAL];
    for (at, bits) in FIELDS {
        let mask = ((1 << bits) - 1) << at;
        let step = if bits > 7 { 13 } else { 1 };
        let values = (0..1_u64 << bits).step_by(step);
        sources.extend(values.map(|value| USUAL & !mask | value << at));
    }
    let mut seed = 1_u64;
    for _ in 0..1000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        sources.push(seed & seed << 7);
        sources.push(seed & ((1 << 40) - 1) & seed >> 20);
    }
    sources.retain(|source| source >> 43 & 7 < 5);
    sources
}

/// Writes a recording of an event of that kind, with a sample for each source.
fn write(lab: &Lab, name: &str, kind: u32, sample_type: u64) {
    let attr = EventAttr {
        kind,
        config: 0x1cd,
        sample_type,
        sample_period_or_freq: 1000,
        ..EventAttr::default()
    };
    let has = |bit: u64| sample_type & bit != 0;
    let mut recording = Handmade::create(lab.place.file(name), "mem-loads", attr);
    for (number, source) in (0..).zip(sources()) {
        let fill = |out: &mut RecordBuilder<'_>| {
            out.u64(0x40_1000 + number).u32(7).u32(7);
            out.u64(1_000_000 * number);
            if has(sample::ADDR) {
                out.u64(0xdead_0000 * (number % 3));
            }
            out.u32(1).u32(0).u64(1000);
            if has(sample::WEIGHT | sample::WEIGHT_STRUCT) {
                out.u64(0x0002_0003_0000_0100 + number);
            }
            if has(sample::DATA_SRC) {
                out.u64(source);
            }
            if has(sample::PHYS_ADDR) {
                out.u64(0x1234_5000 * number);
            }
            if has(PAGES) {
                out.u64(4096).u64(2 << 20);
            }
        };
        recording.put(record::SAMPLE, misc::USER, |out| fill(out));
    }
    recording.finish(Features::default());
}

fn assert_same(lab: &Lab, options: &str, name: &str) {
    let ours = lab.prof(options, name).ok().out;
    let theirs = lab.perf(options, name).ok().out;
    assert!(!ours.is_empty());
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        assert_eq!(ours, theirs, "{name} {options}");
    }
    assert_eq!(ours, theirs, "{name} {options}");
}

#[test]
fn where_data_came_from_is_told_in_the_words_of_perf() {
    let Some(lab) = Lab::new() else { return };
    write(
        &lab,
        "loads.data",
        4,
        ALWAYS | ACCESS | sample::WEIGHT_STRUCT,
    );
    for fields in [
        "data_src",
        "ip,data_src",
        "comm,time,addr,data_src,weight,ins_lat,ip,sym",
        "event,data_src,phys_addr",
        "+data_src",
        "-data_src",
    ] {
        assert_same(&lab, &format!("script -F {fields}"), "loads.data");
    }
}

#[test]
fn samples_of_a_processors_event_tell_of_the_access_unless_asked_otherwise() {
    const RAW: u32 = 4;
    const HARDWARE: u32 = 0;
    let Some(lab) = Lab::new() else { return };
    for (name, kind, sample_type) in [
        ("all.data", RAW, ACCESS | PAGES | sample::WEIGHT_STRUCT),
        ("weight.data", RAW, sample::ADDR | sample::WEIGHT),
        ("source.data", RAW, sample::DATA_SRC),
        ("none.data", RAW, 0),
        ("hardware.data", HARDWARE, ACCESS | PAGES | sample::WEIGHT),
    ] {
        write(&lab, name, kind, ALWAYS | sample_type);
        assert_same(&lab, "script", name);
        assert_same(&lab, "script --ns -F +period", name);
    }
}

#[test]
fn a_source_that_was_not_recorded_is_refused_with_how_to_record_it() {
    let Some(lab) = Lab::new() else { return };
    let ran = lab.prof("script -F ip,data_src", "probe.data").failed(1);
    ran.says(&["`data_src`", "perf record -d"]);
}
