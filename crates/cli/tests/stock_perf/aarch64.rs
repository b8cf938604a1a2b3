//! What perf records with `--call-graph dwarf` on aarch64, brought here with the program and its
//! libraries: whole stacks, with names, inlined functions and lines. The program runs in an emulator
//! that stops it at every instruction, so that its true callchains are known.

use std::fs;
use std::path::Path;

use prof_event::EventAttr;
use prof_event::abi::{callchain, flag, misc, record, sample};
use prof_perfdata::Features;

use crate::emulator::{Emulator, Moment, build, every_instruction, maps, true_return_addresses};
use crate::handmade::Handmade;
use crate::support::{PROF, Place, Ran};

const REGISTERS: u64 = 0x1_ffff_ffff;
const TYPE: u64 = sample::IP
    | sample::TID
    | sample::TIME
    | sample::CALLCHAIN
    | sample::REGS_USER
    | sample::STACK_USER;
const BUILD_ID: [u8; 20] = [0x5a; 20];
/// Every so many instructions there is a sample.
const PERIOD: usize = 2;

/// A mapping of a file.
struct Mapped {
    start: u64,
    end: u64,
    offset: u64,
    path: String,
}

impl Mapped {
    fn of(line: &str) -> Option<Self> {
        let fields: Vec<_> = line.split_whitespace().collect();
        let path = fields.get(5).filter(|path| path.starts_with('/'))?;
        let (start, end) = fields[0].split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).unwrap();
        fields[1].contains('x').then(|| Self {
            start: hex(start),
            end: hex(end),
            offset: hex(fields[2]),
            path: (*path).to_owned(),
        })
    }

    /// Where the file was on the machine of the recording.
    fn recorded_path(&self) -> String {
        let name = Path::new(&self.path).file_name().unwrap().to_str().unwrap();
        match name {
            "aarch64" => "/srv/bin/aarch64".to_owned(),
            name => format!("/usr/lib/aarch64-linux-gnu/{name}"),
        }
    }
}

/// A recording, the files of its machine, and the true callchain of each of its samples.
struct Foreign {
    place: Place,
    chains: Vec<Vec<u64>>,
    mapped: Vec<Mapped>,
}

impl Foreign {
    fn new(arch: Option<&str>, flags: &[&str]) -> Option<Self> {
        let place = Place::new();
        let build_id = format!("-Wl,--build-id=0x{}", "5a".repeat(20));
        let flags = [&["-O2", "-g", "-Wl,-z,now", &build_id], flags].concat();
        let program = build(place.path(), &flags)?;
        let mut emulator = Emulator::start(&program, place.path());
        let moments = every_instruction(&mut emulator);
        let returns = true_return_addresses(&moments);
        let maps = maps(place.path());
        let mapped: Vec<_> = maps.lines().filter_map(Mapped::of).collect();
        for file in &mapped {
            let copy = place.file("root").join(&file.recorded_path()[1..]);
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(&file.path, copy).unwrap();
        }
        fs::remove_file(program).unwrap();
        let calls = |returns: &Vec<u64>| returns.iter().map(|address| address - 1).collect();
        let chain = |(moment, returns): (&Moment, &Vec<u64>)| {
            let callers: Vec<u64> = calls(returns);
            [&[moment.pc()], &callers[..]].concat()
        };
        let all = moments.iter().zip(&returns).step_by(PERIOD);
        let this = Self {
            chains: all.map(chain).collect(),
            place,
            mapped,
        };
        this.write(arch, moments.iter().step_by(PERIOD));
        Some(this)
    }

    fn write<'m>(&self, arch: Option<&str>, moments: impl Iterator<Item = &'m Moment>) {
        const STACK: usize = 16384;
        let attr = EventAttr {
            sample_type: TYPE,
            flags: flag::EXCLUDE_CALLCHAIN_USER | flag::SAMPLE_ID_ALL,
            sample_period_or_freq: 1,
            sample_regs_user: REGISTERS,
            sample_stack_user: STACK as u32,
            ..EventAttr::default()
        };
        let mut recording = Handmade::create(self.place.file("perf.data"), "cycles", attr);
        recording.put(record::COMM, 0, |comm| {
            comm.u32(7).u32(7).c_string(b"aarch64").u64(0).u64(0);
        });
        for mapped in &self.mapped {
            let path = mapped.recorded_path();
            let has_id = path.ends_with("/aarch64");
            let misc = misc::USER | if has_id { misc::MMAP_BUILD_ID } else { 0 };
            recording.put(record::MMAP2, misc, |map| {
                map.u32(7)
                    .u32(7)
                    .u64(mapped.start)
                    .u64(mapped.end - mapped.start);
                map.u64(mapped.offset);
                match has_id {
                    true => map.bytes(&[20, 0, 0, 0]).bytes(&BUILD_ID),
                    false => map.u32(0).u32(0).u64(5).u64(0),
                };
                map.u32(5).u32(2).c_string(path.as_bytes()).u64(0).u64(0);
            });
        }
        let kernel = [callchain::KERNEL, 0xffff_8000_0801_0000];
        for (number, moment) in moments.enumerate() {
            let is_in_kernel = number % 10 == 9;
            let (mode, ip, chain) = match is_in_kernel {
                true => (misc::KERNEL, kernel[1], &kernel[..]),
                false => (misc::USER, moment.pc(), &[][..]),
            };
            recording.put(record::SAMPLE, mode, |sample| {
                sample.u64(ip).u32(7).u32(7).u64(100 + number as u64);
                sample.u64(chain.len() as u64);
                for &entry in chain.iter().chain(&[2]).chain(&moment.registers) {
                    sample.u64(entry);
                }
                let copied = moment.stack.len().min(STACK);
                let mut stack = moment.stack[..copied].to_vec();
                stack.resize(STACK, 0);
                sample.u64(STACK as u64).bytes(&stack).u64(copied as u64);
            });
        }
        let features = Features {
            arch: arch.map(str::to_owned),
            ..Features::default()
        };
        recording.finish(features);
    }

    /// The address as its file numbers it.
    fn in_file(&self, addr: u64) -> u64 {
        let mut mapped = self.mapped.iter();
        let mapped = mapped.find(|mapped| mapped.start <= addr && addr < mapped.end);
        let mapped = mapped.expect("in a file");
        addr - mapped.start + mapped.offset
    }

    /// What `prof script` says about each sample's user frames: address and name.
    fn script(&self, files: &[&str]) -> Vec<Vec<(u64, String)>> {
        let args = ["script", "-F", "ip,sym", "--no-inline"];
        let script = self.place.prof(&[&args[..], files].concat()).ok();
        let samples = script.out.split("\n\n").map(|sample| {
            let lines = sample
                .lines()
                .filter_map(|line| line.trim().split_once(' '));
            let frames =
                lines.map(|(ip, name)| (u64::from_str_radix(ip, 16).unwrap(), name.to_owned()));
            frames.filter(|&(ip, _)| ip < 1 << 63).collect::<Vec<_>>()
        });
        samples.filter(|frames| !frames.is_empty()).collect()
    }

    fn stacks_are_whole(&self, files: &[&str]) {
        let samples = self.script(files);
        assert_eq!(samples.len(), self.chains.len());
        for (frames, chain) in samples.iter().zip(&self.chains) {
            let ips: Vec<_> = frames.iter().map(|frame| frame.0).collect();
            let expected: Vec<_> = chain.iter().map(|&addr| self.in_file(addr)).collect();
            assert_eq!(ips[..chain.len()], expected, "{frames:?}");
            let names: Vec<_> = frames.iter().map(|frame| frame.1.as_str()).collect();
            let outer = &names[chain.len() - 1..];
            let main = outer.iter().position(|&name| name == "main");
            assert_eq!((outer[0], main), ("step", Some(1)), "{names:?}");
            assert_eq!(names.last(), Some(&"_start"), "{names:?}");
            assert!(names.iter().all(|name| !name.starts_with('$')), "{names:?}");
        }
        let has = |start: &[&str]| {
            let starts = |frames: &Vec<(u64, String)>| {
                let names = frames.iter().map(|frame| frame.1.as_str());
                names.take(start.len()).eq(start.iter().copied())
            };
            assert!(samples.iter().any(starts), "{start:?}");
        };
        has(&[
            "leaf",
            "many_registers",
            "early_return",
            "work",
            "step",
            "main",
        ]);
        has(&["fib", "fib", "fib", "work", "step", "main"]);
        has(&["leaf", "large_frame", "work", "step", "main"]);
    }
}

#[test]
fn stacks_of_aarch64_are_unwound_with_its_files_below_symfs() {
    for (arch, flags) in [
        (Some("aarch64"), &[][..]),
        (Some("aarch64"), &["-mbranch-protection=standard"]),
        (None, &["-fomit-frame-pointer"]), // the registers alone tell
    ] {
        let Some(foreign) = Foreign::new(arch, flags) else {
            return;
        };
        foreign.stacks_are_whole(&["--symfs", "root"]);
    }
}

#[test]
fn a_recording_of_aarch64_has_inlined_functions_and_lines() {
    let Some(foreign) = Foreign::new(Some("aarch64"), &[]) else {
        return;
    };
    let files = ["--symfs", "root", "-i", "perf.data"];
    let lines = ["script", "-F", "ip,sym,srcline"];
    let script = foreign.place.prof(&[&lines[..], &files].concat()).ok();
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../unwinder/tests/support/aarch64.c"
    );
    let source = fs::read_to_string(source).unwrap();
    let line_of = |text: &str| 1 + source.lines().position(|line| line.contains(text)).unwrap();
    let inlined = line_of("the call of an inlined function");
    let caller = line_of("return inlined(");
    let frames: Vec<_> = script.out.lines().map(str::trim).collect();
    let is_call = |lines: &[&str]| {
        lines[0].ends_with(" inlined (inlined)")
            && lines[1] == format!("aarch64.c:{inlined}")
            && lines[2].ends_with(" large_frame")
            && lines[3] == format!("aarch64.c:{caller}")
    };
    assert!(frames.windows(4).any(is_call), "{}", script.out);

    let table = [
        "report",
        "--stdio",
        "--no-children",
        "-g",
        "none",
        "-s",
        "sym",
    ];
    let report = foreign.place.prof(&[&table[..], &files].concat()).ok();
    let self_weight = |name: &str| {
        let row = report
            .out
            .lines()
            .find(|row| row.ends_with(&format!("[.] {name}")));
        let share = row.unwrap().trim().split('%').next().unwrap();
        share.parse::<f64>().unwrap()
    };
    // `fib` runs more instructions than what it calls at its ends
    assert!(self_weight("fib") > self_weight("leaf"), "{}", report.out);
}

#[test]
fn the_program_of_a_recording_of_aarch64_is_found_by_its_build_id() {
    let Some(foreign) = Foreign::new(Some("aarch64"), &[]) else {
        return;
    };
    let id = "5a".repeat(20);
    let cached = format!("home/.debug/.build-id/{}/{}/elf", &id[..2], &id[2..]);
    let cached = foreign.place.file(&cached);
    fs::create_dir_all(cached.parent().unwrap()).unwrap();
    fs::rename(foreign.place.file("root/srv/bin/aarch64"), cached).unwrap();
    let mut prof = foreign.place.command(PROF, &["script", "-F", "ip,sym"]);
    prof.args(["--symfs", "root"])
        .env("HOME", foreign.place.file("home"));
    let script = Ran::from(prof.output().unwrap()).ok();
    let names = script
        .out
        .lines()
        .filter_map(|line| line.trim().split(' ').nth(1));
    let starts = names.filter(|&name| name == "_start").count();
    assert_eq!(starts, foreign.chains.len());
}
