//! Recordings with all their numbers turned, as a big-endian machine would have written them: the
//! reports are those of the recordings themselves. That they were turned rightly, perf says.

use std::path::Path;

use prof_event::abi::{event_type, misc, read_format, record, sample};
use prof_event::{EventAttr, EventSet, RawRecord};
use prof_perfdata::{Recording, TracingData};
use prof_tracepoint::TracepointFormat;

use crate::lab::Lab;

/// Turns numbers where they lie: `q` has 64 bits, `i` 32, `h` 16; `F` is a word of bit fields, and a
/// digit that many bytes which are no number.
struct Turner<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Turner<'_> {
    fn of(bytes: &mut [u8]) -> Turner<'_> {
        Turner { bytes, at: 0 }
    }

    fn turn(&mut self, layout: &str) -> u64 {
        let mut last = 0;
        for field in layout.chars() {
            let len = match field {
                'q' | 'F' => 8,
                'i' => 4,
                'h' => 2,
                skipped => skipped.to_digit(10).unwrap() as usize,
            };
            let bytes = &mut self.bytes[self.at..self.at + len];
            self.at += len;
            match field {
                'F' => bytes.iter_mut().for_each(|it| *it = it.reverse_bits()),
                'q' | 'i' | 'h' => {
                    let number = bytes.iter().rev();
                    last = number.fold(0, |number, byte| number << 8 | u64::from(*byte));
                    bytes.reverse();
                }
                _ => {}
            }
        }
        last
    }

    fn words(&mut self, count: u64) {
        for _ in 0..count {
            self.turn("q");
        }
    }

    /// What is noted of a branch: fields of one and more bits, the first one highest.
    fn branch(&mut self) {
        let bytes = &mut self.bytes[self.at..self.at + 8];
        self.at += 8;
        let mut word = u64::from_le_bytes(bytes.try_into().unwrap());
        let mut turned = 0;
        for width in [1, 1, 1, 1, 16, 4, 2, 4, 3, 31] {
            turned = turned << width | word & ((1 << width) - 1);
            word >>= width;
        }
        bytes.copy_from_slice(&u64::to_be_bytes(turned));
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// A number, and so many bytes.
    fn text(&mut self, number: &str) {
        let len = self.turn(number) as usize;
        self.at += len;
    }

    fn c_string(&mut self) {
        let len = self.bytes[self.at..].iter().position(|byte| *byte == 0);
        self.at += len.unwrap() + 1;
    }

    fn texts(&mut self) {
        let count = self.turn("i");
        (0..count).for_each(|_| self.text("i"));
    }

    fn attr(&mut self) {
        let end = self.at;
        self.turn("ii");
        let size = u32::from_be_bytes(self.bytes[end + 4..end + 8].try_into().unwrap());
        self.turn("qqqqFiiqqqqiiqihhiiq");
        let rest = size as usize - (self.at - end);
        self.words(rest as u64 / 8);
    }
}

fn ignore(_number: u64) {}

const FEATURE_TRACING_DATA: u64 = 1;

fn feature(number: u64, bytes: &mut [u8]) {
    let mut turner = Turner::of(bytes);
    match number {
        FEATURE_TRACING_DATA => tracing_data(&mut turner),
        2 => {
            while turner.left() > 0 {
                let start = turner.at;
                let size = turner.turn("ihh");
                turner.turn("i");
                turner.at = start + size as usize;
            }
        }
        3..=6 | 8 | 9 => turner.text("i"),
        7 => ignore(turner.turn("ii")),
        10 | 23 => ignore(turner.turn("q")),
        11 => turner.texts(),
        12 => {
            let count = turner.turn("i");
            turner.turn("i");
            for _ in 0..count {
                turner.attr();
                let ids = turner.turn("i");
                turner.text("i");
                turner.words(ids);
            }
        }
        13 => {
            turner.texts();
            turner.texts();
            while turner.left() >= 4 {
                turner.turn("i");
            }
        }
        14 => {
            for _ in 0..turner.turn("i") {
                turner.turn("iqq");
                turner.text("i");
            }
        }
        16 => {
            for _ in 0..turner.turn("i") {
                turner.turn("i");
                turner.text("i");
            }
        }
        17 => {
            for _ in 0..turner.turn("i") {
                turner.text("i");
                turner.turn("ii");
            }
        }
        20 => {
            turner.turn("i");
            for _ in 0..turner.turn("i") {
                turner.turn("iiii");
                (0..3).for_each(|_| turner.text("i"));
            }
        }
        21 => ignore(turner.turn("qq")),
        27 => ignore(turner.turn("iiiii")),
        29 => ignore(turner.turn("iiqq")),
        _ => {}
    }
}

fn tracing_data(turner: &mut Turner<'_>) {
    turner.at += 14;
    turner.bytes[turner.at] = 1;
    turner.turn("11i");
    for _ in 0..2 {
        turner.c_string();
        turner.text("q");
    }
    for _ in 0..turner.turn("i") {
        turner.text("q");
    }
    for _ in 0..turner.turn("i") {
        turner.c_string();
        for _ in 0..turner.turn("i") {
            turner.text("q");
        }
    }
    turner.text("i");
    turner.text("i");
    if turner.left() > 0 {
        turner.text("q");
    }
}

/// The records of a recording.
struct Records {
    events: EventSet,
    formats: Vec<TracepointFormat>,
}

impl Records {
    fn of(file: &Path) -> Self {
        let recording = Recording::open(file).unwrap();
        let section = recording.features().tracing_data.as_ref();
        let texts = section.map(|section| TracingData::parse(section).unwrap());
        let texts = texts.unwrap_or_default().formats.into_iter();
        Self {
            events: recording.events().clone(),
            formats: texts
                .map(|it| TracepointFormat::parse(&it.system, &it.text))
                .collect(),
        }
    }

    /// Turns all records; `bytes` is what follows a pipe's header, or the records of a file.
    fn turn(&self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let raw = RawRecord::parse(&bytes[at..]).unwrap();
            let (kind, misc, size) = (raw.kind, raw.misc, raw.bytes.len());
            let event = self.events.decode(raw).map_or(0, |decoded| decoded.event);
            let attr = &self.events.events()[event].attr;
            let mut behind = 0;
            let record = &mut bytes[at..at + size];
            Turner::of(record).turn("ihh");
            let body = &mut record[8..];
            match kind {
                record::SAMPLE => self.sample(attr, body),
                record::HEADER_TRACING_DATA => behind = Turner::of(body).turn("i") as usize,
                kind if kind >= record::HEADER_ATTR => of_perf(kind, body),
                kind => of_kernel(kind, misc, attr, body),
            }
            at += size;
            if behind > 0 {
                feature(FEATURE_TRACING_DATA, &mut bytes[at..at + behind]);
                at += behind;
            }
        }
    }

    fn sample(&self, attr: &EventAttr, body: &mut [u8]) {
        let mut turner = Turner::of(body);
        let has = |bit: u64| attr.sample_type & bit != 0;
        let mut one = |bit: u64, layout: &str| has(bit).then(|| turner.turn(layout));
        one(sample::IDENTIFIER, "q");
        one(sample::IP, "q");
        one(sample::TID, "ii");
        one(sample::TIME, "q");
        one(sample::ADDR, "q");
        one(sample::ID, "q");
        one(sample::STREAM_ID, "q");
        one(sample::CPU, "ii");
        one(sample::PERIOD, "q");
        if has(sample::READ) {
            let of_one = 1
                + (attr.read_format & read_format::ID != 0) as u64
                + (attr.read_format & read_format::LOST != 0) as u64;
            let times = (attr.read_format & 3).count_ones() as u64;
            let counters = match attr.read_format & read_format::GROUP {
                0 => 1,
                _ => turner.turn("q"),
            };
            turner.words(times + counters * of_one);
        }
        if has(sample::CALLCHAIN) {
            let count = turner.turn("q");
            turner.words(count);
        }
        if has(sample::RAW) {
            let len = turner.turn("i") as usize;
            let start = turner.at;
            self.raw(attr, &mut turner.bytes[start..start + len]);
            turner.at += len;
        }
        if has(sample::BRANCH_STACK) {
            for _ in 0..turner.turn("q") {
                turner.turn("qq");
                turner.branch();
            }
        }
        let registers = |turner: &mut Turner<'_>, bit: u64, mask: u64| {
            if has(bit) && turner.turn("q") != 0 {
                turner.words(u64::from(mask.count_ones()));
            }
        };
        registers(&mut turner, sample::REGS_USER, attr.sample_regs_user);
        if has(sample::STACK_USER) {
            let size = turner.turn("q") as usize;
            turner.at += size;
            if size > 0 {
                turner.turn("q");
            }
        }
        let mut one = |bit: u64| has(bit).then(|| turner.turn("q"));
        for bit in [sample::WEIGHT, sample::DATA_SRC, sample::TRANSACTION] {
            one(bit);
        }
        registers(&mut turner, sample::REGS_INTR, attr.sample_regs_intr);
        let rest = turner.left() as u64 / 8;
        turner.words(rest);
    }

    /// What perf would find in a tracepoint's data of such a machine.
    fn raw(&self, attr: &EventAttr, raw: &mut [u8]) {
        let mut formats = self.formats.iter();
        let Some(format) = formats.find(|format| format.id == attr.config) else {
            return;
        };
        if attr.kind != event_type::TRACEPOINT {
            return;
        }
        for field in &format.fields {
            if !field.kind.ends_with(']') || field.kind.starts_with("__data_loc") {
                raw[field.offset..field.offset + field.size].reverse();
            }
        }
    }
}

fn of_kernel(kind: u32, misc: u16, attr: &EventAttr, body: &mut [u8]) {
    let types = attr.sample_type;
    let trailer: String = [
        (sample::TID, "ii"),
        (sample::TIME, "q"),
        (sample::ID, "q"),
        (sample::STREAM_ID, "q"),
        (sample::CPU, "ii"),
        (sample::IDENTIFIER, "q"),
    ]
    .iter()
    .filter(|(bit, _)| types & bit != 0)
    .map(|(_, layout)| *layout)
    .collect();
    let size = trailer.len() * 4 + trailer.matches('q').count() * 4;
    let (body, end) = body.split_at_mut(body.len() - size);
    Turner::of(end).turn(&trailer);
    let mut turner = Turner::of(body);
    let layout = match kind {
        record::MMAP => "iiqqq",
        record::MMAP2 if misc & misc::MMAP_BUILD_ID != 0 => "iiqqq888ii",
        record::MMAP2 => "iiqqqiiqqii",
        record::COMM | record::ITRACE_START | record::SWITCH_CPU_WIDE => "ii",
        record::FORK | record::EXIT => "iiiiq",
        record::READ | record::NAMESPACES => "iiqqqq",
        record::KSYMBOL => "qihh",
        record::BPF_EVENT => "hhi",
        record::CGROUP => "q",
        record::LOST => "qq",
        record::LOST_SAMPLES => "q",
        record::THROTTLE | record::UNTHROTTLE => "qqq",
        record::SWITCH => "",
        kind => panic!("a record of type {kind}"),
    };
    let is_words = matches!(kind, record::READ | record::NAMESPACES);
    turner.turn(if is_words { "ii" } else { layout });
    if is_words {
        let rest = turner.left() as u64 / 8;
        turner.words(rest);
    }
}

fn of_perf(kind: u32, body: &mut [u8]) {
    let mut turner = Turner::of(body);
    match kind {
        record::HEADER_ATTR => {
            turner.attr();
            let ids = turner.left() as u64 / 8;
            turner.words(ids);
        }
        record::HEADER_FEATURE => {
            let number = turner.turn("q");
            feature(number, &mut body[8..]);
        }
        record::HEADER_BUILD_ID => ignore(turner.turn("i")),
        record::EVENT_UPDATE => ignore(turner.turn("qq")),
        record::ID_INDEX => {
            let words = turner.left() as u64 / 8;
            turner.words(words);
        }
        record::THREAD_MAP => {
            for _ in 0..turner.turn("q") {
                turner.turn("q88");
            }
        }
        record::CPU_MAP => {
            let kind = turner.turn("h");
            assert_eq!(kind, 2, "a range");
            turner.turn("2hh");
        }
        record::TIME_CONV => turner.words(5),
        _ => {}
    }
}

/// Writes the file as a big-endian machine would have.
pub(crate) fn turned(from: &Path, to: &Path) {
    let mut bytes = std::fs::read(from).unwrap();
    let word = |bytes: &[u8], at: usize| {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize
    };
    let records = Records::of(from);
    if word(&bytes, 8) == 16 {
        Turner::of(&mut bytes).words(2);
        records.turn(&mut bytes[16..]);
        std::fs::write(to, bytes).unwrap();
        return;
    }
    let stride = word(&bytes, 16);
    let section = |bytes: &[u8], at: usize| {
        let start = word(bytes, at);
        start..start + word(bytes, at + 8)
    };
    let (attrs, data) = (section(&bytes, 24), section(&bytes, 40));
    let bits: Vec<u64> = (0..256)
        .filter(|bit| bytes[72 + bit / 8] >> (bit % 8) & 1 != 0)
        .map(|bit| bit as u64)
        .collect();
    for (index, feature_number) in bits.iter().enumerate() {
        let payload = section(&bytes, data.end + index * 16);
        feature(*feature_number, &mut bytes[payload]);
    }
    Turner::of(&mut bytes[data.end..]).words(bits.len() as u64 * 2);
    for at in attrs.step_by(stride) {
        let ids = section(&bytes, at + stride - 16);
        Turner::of(&mut bytes[ids.clone()]).words(ids.len() as u64 / 8);
        let mut turner = Turner::of(&mut bytes[at..at + stride]);
        turner.attr();
        turner.turn("qq");
    }
    records.turn(&mut bytes[data]);
    Turner::of(&mut bytes).words(13);
    std::fs::write(to, bytes).unwrap();
}

const KINDS: &[(&str, &str)] = &[
    ("fp.data", "-F 999 -g"),
    ("all.data", "-F 999 -g -a"),
    ("two.data", "-F 999 -g -e cpu-clock:u -e page-faults"),
    ("group.data", "-F 999 -g -e {cpu-clock,page-faults}:S"),
    (
        "switch.data",
        "-F 999 -g --switch-events --namespaces -k mono",
    ),
    ("counters.data", "-F 999 -g -s"),
    ("buildid-mmap.data", "-F 999 -g --buildid-mmap"),
    (
        "addresses.data",
        "-F 999 -g -d -W --phys-data -e page-faults",
    ),
    (
        "registers.data",
        "-F 999 -g --user-regs=ax,ip --intr-regs=ax,sp",
    ),
    ("dwarf.data", "-F 499 --call-graph dwarf"),
    ("mixed.data", "-F 999 -e cpu-clock -e sched:sched_switch"),
    (
        "trace.data",
        "-e sched:sched_switch -e sched:sched_process_exec",
    ),
    ("pipe.pipe", "-F 999 -g"),
    ("trace.pipe", "-e sched:sched_switch"),
];

#[test]
fn a_recording_of_a_big_endian_machine_gives_the_same_reports() {
    let Some(lab) = Lab::new() else { return };
    for (file, options) in KINDS {
        assert!(lab.record(file, options), "perf record {options}");
        turned(&lab.place.file(file), &lab.place.file("turned"));
        // perf as the judge of what was turned. It takes copies of stacks for numbers, too, does not
        // know the build-ids of such files, and confuses process and thread in such pipes.
        let script = match file.split(['.', '-']).next() {
            Some("dwarf") => "script --ns -G",
            Some("trace" | "mixed") => "script --ns",
            _ => "script --ns -F comm,pid,tid,time,event,period,ip",
        };
        let theirs = |file: &str| lab.perf(script, file).ok().out;
        if !file.ends_with(".pipe") {
            assert_eq!(theirs("turned"), theirs(file), "{file} by perf");
        }
        if theirs(file).is_empty() {
            continue; // a counter that never ran over
        }
        for command in [
            "script --ns",
            "report --stdio --no-children -g none -n",
            "report --stdio --children -g caller --header-only",
            "report --stdio -T",
        ] {
            let ours = |file: &str| {
                let ran = lab.prof(command, file).ok();
                let header = |line: &&str| !line.starts_with("# captured on");
                ran.out.lines().filter(header).map(str::to_owned).collect()
            };
            let (turned, whole): (Vec<_>, Vec<_>) = (ours("turned"), ours(file));
            for (turned, whole) in turned.iter().zip(&whole) {
                assert_eq!(turned, whole, "{command} of {file}");
            }
            assert_eq!(turned.len(), whole.len(), "{command} of {file}");
        }
    }
}
