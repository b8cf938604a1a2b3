//! Whole examples, and what becomes of them when bytes are changed, cut, repeated and left out.

use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use prof_event::abi::{flag, misc, record, sample};
use prof_event::{Event, EventAttr, EventSet, RecordBuilder, SampleId};
use prof_pclntab::{Machine, Version};
use prof_perfdata::{Features, PipeWriter, RecordSink, Writer, WriterOptions};

use crate::go_table;
use crate::properties::ALL;
use crate::properties::elf::TEXT;
use crate::properties::programs::GO_TABLE;
use crate::support::has;

/// xorshift64: the same sequence on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// Changes a few bytes somewhere, or near the start, where headers are; sometimes a part moves.
    fn damage(&mut self, whole: &[u8]) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        for _ in 0..1 + self.below(6) {
            let len = bytes.len();
            if len == 0 {
                break;
            }
            let near = if self.below(2) == 0 { 200 } else { len };
            let at = self.below(len.min(near));
            match self.below(8) {
                0 => bytes.truncate(self.below(len)),
                1 => {
                    let end = (at + self.below(40)).min(len);
                    bytes.drain(at..end);
                }
                2 => {
                    let part = bytes[at..(at + self.below(40)).min(len)].to_vec();
                    let to = self.below(len);
                    bytes.splice(to..to, part);
                }
                3 => bytes[at] = 0xff,
                4 => bytes[at] = 0,
                5 => bytes[at] ^= 1 << self.below(8),
                _ => bytes[at] = self.next() as u8,
            }
        }
        bytes
    }
}

const TYPE: u64 = sample::IDENTIFIER
    | sample::IP
    | sample::TID
    | sample::TIME
    | sample::PERIOD
    | sample::CALLCHAIN;

fn events() -> EventSet {
    let mut events = EventSet::default();
    for id in 1..3 {
        events.push(Event {
            attr: EventAttr {
                kind: 1,
                sample_type: TYPE,
                flags: flag::SAMPLE_ID_ALL | flag::FREQ,
                ..EventAttr::default()
            },
            name: format!("event-{id}"),
            ids: vec![id],
        });
    }
    events
}

/// A name, a mapping, and samples of two events in rounds.
fn fill(sink: &mut impl RecordSink) {
    let id = SampleId {
        task: Some((5, 5)),
        ..SampleId::default()
    };
    let mut bytes = Vec::new();
    let mut put = |kind, misc, fill: &dyn Fn(&mut RecordBuilder<'_>), sink: &mut dyn RecordSink| {
        bytes.clear();
        let mut builder = RecordBuilder::new(&mut bytes, kind, misc);
        fill(&mut builder);
        builder.finish().unwrap();
        sink.record(&bytes).unwrap();
    };
    let comm = |it: &mut RecordBuilder<'_>| {
        it.u32(5).u32(5).c_string(b"name").sample_id(TYPE, &id);
    };
    put(record::COMM, 0, &comm, sink);
    let map = |it: &mut RecordBuilder<'_>| {
        it.u32(5).u32(5).u64(0x40_0000).u64(0x1000).u64(0);
        it.u32(8).u32(1).u64(7).u64(0).u32(5).u32(2);
        it.c_string(b"/bin/program").sample_id(TYPE, &id);
    };
    put(record::MMAP2, misc::USER, &map, sink);
    for number in 0..40 {
        let sample = |it: &mut RecordBuilder<'_>| {
            it.u64(1 + number % 2).u64(0x40_0100 + number).u32(5).u32(5);
            it.u64(1000 + (number ^ 3)).u64(1).u64(2);
            it.u64(0x40_0100 + number).u64(0x40_0200);
        };
        put(record::SAMPLE, misc::USER, &sample, sink);
        if number % 10 == 9 {
            sink.finish_round().unwrap();
        }
    }
}

fn features() -> Features {
    Features {
        arch: Some("x86_64".to_owned()),
        cmdline: vec!["prof".to_owned(), "record".to_owned()],
        nr_cpus_available: Some(2),
        nr_cpus_online: Some(2),
        ..Features::default()
    }
}

fn file(compression: Option<u32>) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let mut writer = Writer::create(&mut out, &events(), WriterOptions { compression }).unwrap();
    fill(&mut writer);
    writer.finish(features(), None).unwrap();
    out.into_inner()
}

fn pipe() -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = PipeWriter::create(&mut out, &events(), &features()).unwrap();
    fill(&mut writer);
    writer.finish(&[]).unwrap();
    out
}

/// Records behind what says which fields their samples have.
fn records(sample_type: u64) -> Vec<u8> {
    struct Collect(Vec<u8>);
    impl RecordSink for Collect {
        fn record(&mut self, bytes: &[u8]) -> std::io::Result<()> {
            self.0.extend(bytes);
            Ok(())
        }
        fn finish_round(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let flags = flag::SAMPLE_ID_ALL | flag::FREQ;
    let one = [sample_type, 0, flags, 0xff_0fff].map(u64::to_le_bytes);
    let mut collect = Collect([one, one].concat().concat());
    fill(&mut collect);
    collect.0
}

/// A section of a compiled program, or all of it.
fn compiled(section: Option<&str>) -> Option<Vec<u8>> {
    if !has("gcc") || !has("objcopy") {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = |command: &str, args: &[&str]| {
        let mut command = Command::new(command);
        command.args(args).current_dir(folder.path());
        assert!(command.status().unwrap().success());
    };
    std::fs::write(
        folder.path().join("a.c"),
        include_str!("../stock_perf/workload.c"),
    )
    .unwrap();
    run("gcc", &["-g1", "-O1", "-pthread", "-o", "a", "a.c"]);
    let read = |name: &str| std::fs::read(Path::new(folder.path()).join(name)).unwrap();
    let Some(section) = section else {
        return Some(read("a"));
    };
    run(
        "objcopy",
        &["-O", "binary", "--only-section", section, "a", "part"],
    );
    Some(read("part"))
}

/// Functions for another machine: leaves, large frames, one whose size is not known.
const FRAMES: &str = "\
__attribute__((noinline)) long leaf(long a) { return a * 3; }
__attribute__((noinline)) long large(long a) { volatile char b[5000]; b[a] = 1; return leaf(b[a]); }
__attribute__((noinline)) long any(long a) { char b[a]; return large(a) + leaf((long)b); }
long all(long a, long b, long c) { return any(a) * leaf(b) + large(c) * any(b) + leaf(a + b + c); }
";

/// The text and the unwind tables of functions for aarch64.
fn compiled_for_aarch64() -> Option<[Vec<u8>; 2]> {
    if !has("clang") || !has("ld.lld") || !has("llvm-objcopy") {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = |command: &str, args: &[&str]| {
        let mut command = Command::new(command);
        command.args(args).current_dir(folder.path());
        assert!(command.status().unwrap().success());
    };
    std::fs::write(folder.path().join("a.c"), FRAMES).unwrap();
    let target = ["--target=aarch64-linux-gnu", "-fuse-ld=lld", "-nostdlib"];
    let flags = ["-O1", "-shared", "-mbranch-protection=standard", "-fPIC"];
    let tables = ["-fasynchronous-unwind-tables", "-o", "a", "a.c"];
    run("clang", &[&target[..], &flags, &tables].concat());
    Some([".text", ".eh_frame"].map(|section| {
        let section = format!("--only-section={section}");
        run("llvm-objcopy", &["-O", "binary", &section, "a", "part"]);
        std::fs::read(folder.path().join("part")).unwrap()
    }))
}

/// Text, a stack and unwind tables behind their sizes, of each architecture.
fn unwinding() -> Vec<Vec<u8>> {
    const IS_AARCH64: u64 = 1 << 12;
    let x86_64 = compiled(Some(".text")).zip(compiled(Some(".eh_frame")));
    let aarch64 =
        compiled_for_aarch64().map(|[text, tables]| code_and_stack(&text, &tables, IS_AARCH64));
    let x86_64 = x86_64.map(|(text, tables)| code_and_stack(&text, &tables, 0));
    x86_64.into_iter().chain(aarch64).collect()
}

fn code_and_stack(text: &[u8], tables: &[u8], arch: u64) -> Vec<u8> {
    let text = &text[..text.len().min(0xf00)];
    let stack: Vec<u8> = (0..0x800_u64).map(|at| (at * 31) as u8).collect();
    let sizes = text.len() as u64 | arch | (stack.len() as u64) << 16;
    let words = [sizes, 0x1234_5678_9abc_0321]
        .map(u64::to_le_bytes)
        .concat();
    [&words[..], text, &stack, tables].concat()
}

fn jitdump() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(
        [0x4A69_5444_u32, 1, 40, 62, 0, 5]
            .map(u32::to_le_bytes)
            .concat(),
    );
    bytes.extend([1000_u64, 0].map(u64::to_le_bytes).concat());
    for index in 0..6_u64 {
        let name = format!("function_{index}\0");
        let size = 56 + name.len() as u32 + 32;
        bytes.extend([0, size].map(u32::to_le_bytes).concat());
        bytes.extend((2000 + index).to_le_bytes());
        bytes.extend([5_u32, 5].map(u32::to_le_bytes).concat());
        let start = 0x7000_0000 + index % 4 * 0x40;
        bytes.extend([start, start, 32, index].map(u64::to_le_bytes).concat());
        bytes.extend(name.as_bytes());
        bytes.extend([0x90; 32]);
    }
    bytes
}

/// The start of the table of a Go 1.20 program, with two functions that are none.
fn pclntab() -> Vec<u8> {
    let mut bytes = 0xffff_fff1_u32.to_le_bytes().to_vec();
    bytes.extend([0, 0, 1, 8]);
    bytes.extend(
        [2_u64, 1, 0x1000, 72, 100, 120, 140, 160]
            .map(u64::to_le_bytes)
            .concat(),
    );
    bytes.resize(160, b'a');
    bytes.extend([0_u32, 24, 0x40, 40, 0x80].map(u32::to_le_bytes).concat());
    bytes.resize(400, 0);
    bytes
}

/// A Go program whose text is found by its data, and one where relocations tell.
fn go_programs() -> Vec<Vec<u8>> {
    const MACHINE: Machine = Machine {
        is_big_endian: false,
        address_size: 8,
    };
    const DATA: u64 = 0x60_0000;
    let words = |words: &[u64]| -> Vec<u8> {
        let bytes = words.iter().flat_map(|word| word.to_le_bytes());
        bytes.collect()
    };
    let table = go_table::table(MACHINE, Version::Go1_20, TEXT, 0, false);
    let names = GO_TABLE + go_table::NAMES as u64;
    let mut pointers = vec![GO_TABLE, names];
    pointers.resize(22, 0);
    pointers.push(TEXT);
    let in_data = words(&pointers);
    let relocation = |(at, value): (u64, u64)| words(&[at, 8, value]);
    let pointers = [(DATA + 16, GO_TABLE), (DATA + 24, names)];
    let relocations = [pointers[0], pointers[1], (DATA + 16 + 22 * 8, TEXT)];
    let relocations = relocations.map(relocation).concat();
    let program = |data: &[u8], relocations: &[u8]| {
        let sizes = table.len() as u64 | (data.len() as u64) << 16;
        [&words(&[sizes, DATA]), &table, data, relocations].concat()
    };
    vec![
        program(&in_data, &[]),
        program(&vec![0; in_data.len()], &relocations),
    ]
}

const KALLSYMS: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000040 t do_work
ffffffff81000040 W do_work_weak
ffffffff81000100 T _etext
ffffffffc0000000 t helper\t[module]
ffffffffc0000080 t other\t[module]
";
const PERF_MAP: &str = "\
7f0000001000 40 LazyCompile:~one two.js:1
7f0000001040 80 two
7f0000001020 10 over one
0x7f0000002000 0x20 three
";

/// Nearly all that formats do.
const FORMAT: &str = r#"name: test_event
ID: 316
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;

	field:char comm[8];	offset:2;	size:8;	signed:1;
	field:int n;	offset:10;	size:4;	signed:1;
	field:unsigned long * at;	offset:14;	size:8;	signed:0;
	field:u16 ports[2];	offset:22;	size:4;	signed:0;
	field:__data_loc char[] file;	offset:26;	size:4;	signed:1;

print fmt: "%-8s n=%+05d %s %*.3x|%s %pS %pI4 %llu" " %s", REC->comm, (s8)REC->n, __print_flags(REC->n & 3, "|", { 1, "one" }, { 1UL << 1, "two" }), 4, REC->n > 0 ? REC->ports[1] : ~0, __print_symbolic(REC->n, { -1, "less" }, { KERNEL_ONLY, "x" }), (void *)REC->at, REC->ports, (unsigned long long)__get_dynamic_array_len(file), __get_str(file)
0xff10 : "a constant\n"
"#;

/// A format, and data for it.
fn tracepoint() -> Vec<u8> {
    let mut bytes = FORMAT.as_bytes().to_vec();
    bytes.extend([0, 0x3c, 1]);
    bytes.extend(b"command\0");
    bytes.extend(3_i32.to_le_bytes());
    bytes.extend(0xff10_u64.to_le_bytes());
    bytes.extend([80_u16, 443].map(u16::to_le_bytes).concat());
    bytes.extend((30_u32 | 5 << 16).to_le_bytes());
    bytes.extend(b"name\0");
    bytes
}

/// What chooses each operator with each of its neighbours somewhere.
fn operators() -> Vec<u8> {
    (0..4000_u32)
        .map(|at| (at * at / 7 + at * 5) as u8)
        .collect()
}

fn examples(name: &str) -> Vec<Vec<u8>> {
    match name {
        "records" => vec![
            records(TYPE),
            records(TYPE | sample::RAW),
            records(TYPE & !sample::CALLCHAIN | sample::CPU | sample::ADDR),
            records(TYPE | sample::REGS_USER | sample::STACK_USER | sample::READ),
        ],
        "perf_data" => vec![file(None), file(Some(1)), pipe()],
        "pipe" => vec![pipe(), file(None)],
        "unwinding" => unwinding(),
        "elf" => compiled(None).into_iter().collect(),
        "pclntab" => vec![pclntab()],
        "go_program" => go_programs(),
        "kallsyms" => vec![KALLSYMS.as_bytes().to_vec()],
        "perf_map" => vec![PERF_MAP.as_bytes().to_vec()],
        "jitdump" => vec![jitdump()],
        "mappings" => vec![operators()],
        "tracepoint" => vec![tracepoint(), operators()],
        name => panic!("no example of {name}"),
    }
}

const ROUNDS: usize = 1000;

#[test]
fn every_property_holds_for_damaged_examples() {
    for &(name, property) in ALL {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for (index, example) in examples(name).iter().enumerate() {
            property(example);
            for round in 0..ROUNDS {
                let damaged = random.damage(example);
                let held = std::panic::catch_unwind(|| property(&damaged));
                assert!(
                    held.is_ok(),
                    "{name}, example {index}, round {round}: {damaged:x?}"
                );
            }
        }
    }
}
