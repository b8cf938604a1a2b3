//! Records of any layout: what is decoded lies in the record, and what can be written again reads the
//! same.

use prof_event::abi::{record, sample};
use prof_event::{Event, EventAttr, EventSet, RawRecord, Record, Sample, encode_sample};

use super::Numbers;

/// What a decoded sample does not keep, and so cannot be written.
const NOT_KEPT: u64 = sample::BRANCH_STACK
    | sample::REGS_USER
    | sample::STACK_USER
    | sample::WEIGHT
    | sample::DATA_SRC
    | sample::TRANSACTION
    | sample::REGS_INTR
    | sample::PHYS_ADDR
    | sample::AUX
    | sample::CGROUP
    | sample::DATA_PAGE_SIZE
    | sample::CODE_PAGE_SIZE
    | sample::WEIGHT_STRUCT;

/// The first 64 bytes say what the samples carry, the others are records.
pub(crate) fn property(bytes: &[u8]) {
    let (seed, mut stream) = bytes.split_at(bytes.len().min(64));
    let mut seed = Numbers(seed);
    let mut events = EventSet::default();
    for id in 1..3 {
        events.push(Event {
            attr: EventAttr {
                sample_type: seed.next() & 0x1ff_ffff,
                read_format: seed.next() & 0x1f,
                flags: seed.next(),
                sample_regs_user: seed.next(),
                branch_sample_type: id << 17,
                ..EventAttr::default()
            },
            name: String::new(),
            ids: vec![id],
        });
    }
    while let Ok(raw) = RawRecord::parse(stream) {
        one(&events, raw);
        stream = &stream[raw.bytes.len()..];
    }
}

fn one(events: &EventSet, raw: RawRecord<'_>) {
    let time = events.time_of(raw);
    let Ok(decoded) = events.decode(raw) else {
        return;
    };
    if raw.kind < record::HEADER_ATTR {
        assert_eq!(time, decoded.id.time.filter(|time| *time != 0));
    }
    if let Record::Sample(sample) = &decoded.record {
        let chain = sample.callchain.unwrap_or_default();
        let raw_len = sample.raw.map_or(0, <[u8]>::len);
        let stack = sample.user_stack.map_or(0, |stack| stack.bytes.len());
        assert!(chain.len() * 8 + raw_len + stack <= raw.bytes.len());
        round_trip(raw, sample, &events.events()[decoded.event].attr);
    }
}

fn round_trip(raw: RawRecord<'_>, sample: &Sample<'_>, attr: &EventAttr) {
    if attr.sample_type & NOT_KEPT != 0 {
        return;
    }
    let chain: Vec<u64> = sample.callchain.unwrap_or_default().iter().collect();
    let mut written = Vec::new();
    if encode_sample(&mut written, raw.misc, sample, &chain, attr).is_err() {
        return; // padding made it too long
    }
    let again = RawRecord::parse(&written).expect("a whole record");
    let mut again = Sample::decode(again, attr).expect("all fields");
    // The data of a tracepoint are padded.
    let data = sample.raw.unwrap_or_default();
    assert!(again.raw.unwrap_or_default().starts_with(data));
    again.raw = sample.raw;
    assert_eq!(again, *sample, "what is written reads the same");
}
