//! Samples of every layout: each bit of `sample_type` and `read_format` adds its field at its place,
//! and no other field moves.

use prof_event::abi::{branch, flag, misc, read_format, record, sample};
use prof_event::{
    Event, EventAttr, EventSet, RawRecord, Record, RecordBuilder, Sample, SampleId, decode,
    encode_sample,
};

/// xorshift64: the same layouts on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

const CHAIN: [u64; 3] = [-512i64 as u64, 0x40_1000, 0x40_2000];
const REGS: u64 = 0b1_0110;
const STACK: &[u8] = b"16 bytes of it..";

/// The record as the kernel would write it, in the order of `perf_output_sample`.
fn written(attr: &EventAttr) -> Vec<u8> {
    let has = |bit: u64| attr.sample_type & bit != 0;
    let mut bytes = Vec::new();
    let mut out = RecordBuilder::new(&mut bytes, record::SAMPLE, misc::USER);
    if has(sample::IDENTIFIER) {
        out.u64(11);
    }
    if has(sample::IP) {
        out.u64(0x40_1000);
    }
    if has(sample::TID) {
        out.u32(21).u32(22);
    }
    if has(sample::TIME) {
        out.u64(31);
    }
    if has(sample::ADDR) {
        out.u64(41);
    }
    if has(sample::ID) {
        out.u64(11);
    }
    if has(sample::STREAM_ID) {
        out.u64(51);
    }
    if has(sample::CPU) {
        out.u32(61).u32(0);
    }
    if has(sample::PERIOD) {
        out.u64(71);
    }
    if has(sample::READ) {
        let format = |bit: u64| attr.read_format & bit != 0;
        let counters = if format(read_format::GROUP) { 2 } else { 1 };
        let times = |out: &mut RecordBuilder<'_>| {
            for bit in [
                read_format::TOTAL_TIME_ENABLED,
                read_format::TOTAL_TIME_RUNNING,
            ] {
                if format(bit) {
                    out.u64(81);
                }
            }
        };
        if format(read_format::GROUP) {
            out.u64(counters);
            times(&mut out);
        }
        for counter in 0..counters {
            out.u64(91 + counter);
            if !format(read_format::GROUP) {
                times(&mut out);
            }
            if format(read_format::ID) {
                out.u64(11 + counter);
            }
            if format(read_format::LOST) {
                out.u64(0);
            }
        }
    }
    if has(sample::CALLCHAIN) {
        out.u64(CHAIN.len() as u64);
        for entry in CHAIN {
            out.u64(entry);
        }
    }
    if has(sample::RAW) {
        out.u32(12).bytes(b"twelve bytes");
    }
    if has(sample::BRANCH_STACK) {
        out.u64(1);
        if attr.branch_sample_type & branch::HW_INDEX != 0 {
            out.u64(0);
        }
        out.u64(1).u64(2).u64(3);
        if attr.branch_sample_type & branch::COUNTERS != 0 {
            out.u64(4);
        }
    }
    if has(sample::REGS_USER) {
        out.u64(2);
        for value in [101, 102, 103] {
            out.u64(value);
        }
    }
    if has(sample::STACK_USER) {
        out.u64(STACK.len() as u64).bytes(STACK).u64(9);
    }
    for bit in [
        sample::WEIGHT | sample::WEIGHT_STRUCT,
        sample::DATA_SRC,
        sample::TRANSACTION,
    ] {
        if has(bit) {
            out.u64(1);
        }
    }
    if has(sample::REGS_INTR) {
        out.u64(0);
    }
    for bit in [
        sample::PHYS_ADDR,
        sample::CGROUP,
        sample::DATA_PAGE_SIZE,
        sample::CODE_PAGE_SIZE,
    ] {
        if has(bit) {
            out.u64(1);
        }
    }
    if has(sample::AUX) {
        out.u64(0);
    }
    out.finish().unwrap();
    bytes
}

fn check(attr: &EventAttr) {
    let bytes = written(attr);
    let raw = RawRecord::parse(&bytes).unwrap();
    let what = format!("{:#x} {:#x}", attr.sample_type, attr.read_format);
    let read = Sample::decode(raw, attr).unwrap_or_else(|_| panic!("{what}"));
    let has = |bit: u64| attr.sample_type & bit != 0;
    let some = |bit: u64, value: u64| has(bit).then_some(value);
    assert_eq!(read.id, some(sample::IDENTIFIER | sample::ID, 11), "{what}");
    assert_eq!(
        read.ip.0,
        some(sample::IP, 0x40_1000).unwrap_or(0),
        "{what}"
    );
    let task = if has(sample::TID) { (21, 22) } else { (-1, -1) };
    assert_eq!((read.pid.0, read.tid.0), task, "{what}");
    assert_eq!(read.time, some(sample::TIME, 31), "{what}");
    assert_eq!(read.addr, some(sample::ADDR, 41), "{what}");
    let cpu = read.cpu.map(|cpu| u64::from(cpu.0));
    assert_eq!(cpu, some(sample::CPU, 61), "{what}");
    assert_eq!(read.period, some(sample::PERIOD, 71).unwrap_or(1), "{what}");
    let counters: Option<Vec<_>> = read.read.map(|read| read.iter().collect());
    let expected = has(sample::READ).then(|| {
        let with_id = attr.read_format & read_format::ID != 0;
        let is_group = attr.read_format & read_format::GROUP != 0;
        let count = if is_group { 2 } else { 1 };
        let counter = |index: u64| (91 + index, with_id.then_some(11 + index));
        (0..count).map(counter).collect()
    });
    assert_eq!(counters, expected, "{what}");
    let chain: Option<Vec<_>> = read.callchain.map(|chain| chain.iter().collect());
    assert_eq!(
        chain,
        has(sample::CALLCHAIN).then(|| CHAIN.to_vec()),
        "{what}"
    );
    let data = has(sample::RAW).then_some(&b"twelve bytes"[..]);
    assert_eq!(read.raw, data, "{what}");
    let regs: Option<Vec<_>> = read.user_regs.map(|regs| regs.values.iter().collect());
    assert_eq!(
        regs,
        has(sample::REGS_USER).then(|| vec![101, 102, 103]),
        "{what}"
    );
    let stack = read.user_stack.map(|stack| (stack.bytes, stack.capacity));
    let expected = has(sample::STACK_USER).then_some((&STACK[..9], STACK.len()));
    assert_eq!(stack, expected, "{what}");
}

fn attr(sample_type: u64, read_format: u64, branch_sample_type: u64) -> EventAttr {
    EventAttr {
        sample_type,
        read_format,
        branch_sample_type,
        sample_regs_user: REGS,
        flags: flag::FREQ,
        ..EventAttr::default()
    }
}

#[test]
fn every_field_is_at_its_place_alone_and_beside_all_others() {
    const ALL: u64 = (1 << 25) - 1;
    for read_format in 0..32 {
        for bit in 0..25 {
            check(&attr(1 << bit, read_format, 0));
            check(&attr(ALL & !(1 << bit), read_format, branch::HW_INDEX));
        }
        check(&attr(ALL, read_format, branch::HW_INDEX));
        check(&attr(ALL, read_format, branch::COUNTERS));
    }
}

#[test]
fn without_sample_id_all_other_records_end_with_their_own_fields() {
    let types = sample::IDENTIFIER | sample::TID | sample::TIME | sample::CPU;
    let mut bytes = Vec::new();
    let mut out = RecordBuilder::new(&mut bytes, record::COMM, misc::USER);
    out.u32(21).u32(22).c_string(b"sixteen letters!");
    out.finish().unwrap();
    let raw = RawRecord::parse(&bytes).unwrap();
    let (comm, id) = decode(raw, &attr(types, 0, 0)).unwrap();
    assert_eq!(id, SampleId::default());
    let Record::Comm { pid, tid, name, .. } = comm else {
        panic!("{comm:?}");
    };
    assert_eq!((pid.0, tid.0, name), (21, 22, &b"sixteen letters!"[..]));
    // Of several events, such a record is the first one's.
    let mut events = EventSet::default();
    for id in [7, 8] {
        events.push(Event {
            attr: attr(types, 0, 0),
            name: String::new(),
            ids: vec![id],
        });
    }
    assert_eq!(events.decode(raw).unwrap().event, 0);
    assert_eq!(events.time_of(raw), None);
}

/// Fields that a decoded sample keeps, so that it can be written again.
const KEPT: u64 = sample::IDENTIFIER
    | sample::IP
    | sample::TID
    | sample::TIME
    | sample::ADDR
    | sample::ID
    | sample::CPU
    | sample::PERIOD
    | sample::READ
    | sample::CALLCHAIN
    | sample::RAW;

#[test]
fn what_is_written_again_is_the_same_record() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..20_000 {
        let attr = attr(random.next() & KEPT, random.next() & 31, 0);
        let bytes = written(&attr);
        let raw = RawRecord::parse(&bytes).unwrap();
        let read = Sample::decode(raw, &attr).unwrap();
        let mut again = Vec::new();
        encode_sample(&mut again, misc::USER, &read, &CHAIN, &attr).unwrap();
        assert_eq!(
            again, bytes,
            "{:#x} {:#x}",
            attr.sample_type, attr.read_format
        );
    }
}

#[test]
fn any_fields_together_are_at_their_places() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..20_000 {
        let (types, formats) = (random.next(), random.next());
        let branches = random.next() & (branch::HW_INDEX | branch::COUNTERS);
        check(&attr(types & ((1 << 25) - 1), formats & 31, branches));
    }
}
