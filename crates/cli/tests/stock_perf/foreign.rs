//! Files of machines whose stacks are not unwound, and of other versions of perf.

use prof_event::EventAttr;
use prof_event::abi::{callchain, flag, misc, record, sample};
use prof_perfdata::Features;

use crate::handmade::Handmade;
use crate::lab::Lab;

/// The instruction pointer is the first.
const RISCV64_REGS: u64 = 0xffff_ffff;
const TYPE: u64 = sample::IP
    | sample::TID
    | sample::TIME
    | sample::CALLCHAIN
    | sample::REGS_USER
    | sample::STACK_USER;

/// What perf records with `--call-graph dwarf` on riscv64: a sample in the program, and one in the
/// kernel that the program entered.
fn record_on_riscv64(lab: &Lab, arch: Option<&str>) {
    let attr = EventAttr {
        sample_type: TYPE,
        flags: flag::EXCLUDE_CALLCHAIN_USER | flag::SAMPLE_ID_ALL,
        sample_period_or_freq: 1,
        sample_regs_user: RISCV64_REGS,
        sample_stack_user: 64,
        ..EventAttr::default()
    };
    let mut recording = Handmade::create(lab.place.file("riscv64.data"), "cycles", attr);
    recording.put(record::COMM, 0, |comm| {
        comm.u32(7).u32(7).c_string(b"server").u64(0).u64(0);
    });
    recording.put(record::MMAP2, misc::USER, |map| {
        map.u32(7).u32(7).u64(0x40_0000).u64(0x10_0000).u64(0);
        map.u32(0).u32(0).u64(5).u64(0).u32(5).u32(2);
        map.c_string(b"/gone/server").u64(0).u64(0);
    });
    let kernel = 0xffff_8000_0801_0000;
    for (mode, ip, chain) in [
        (misc::USER, 0x40_1234, &[][..]),
        (misc::KERNEL, kernel, &[callchain::KERNEL, kernel][..]),
    ] {
        recording.put(record::SAMPLE, mode, |sample| {
            sample.u64(ip).u32(7).u32(7).u64(100);
            sample.u64(chain.len() as u64);
            for &entry in chain {
                sample.u64(entry);
            }
            sample.u64(2);
            sample.u64(if mode == misc::USER { ip } else { 0x40_5678 });
            for _ in 1..RISCV64_REGS.count_ones() {
                sample.u64(0x40_0000);
            }
            sample.u64(64).bytes(&[0x40; 64]).u64(64);
        });
    }
    let features = Features {
        arch: arch.map(str::to_owned),
        ..Features::default()
    };
    recording.finish(features);
}

#[test]
fn stacks_of_riscv64_are_not_unwound_as_if_they_were_of_x86_64() {
    let Some(lab) = Lab::new() else { return };
    record_on_riscv64(&lab, Some("riscv64"));
    let script = lab.prof("script -F ip,sym", "riscv64.data").ok();
    let lines: Vec<_> = script.out.lines().map(str::trim).collect();
    let expected = [
        "",
        "1234 [unknown]",
        "",
        "",
        "ffff800008010000 [unknown]",
        "5678 [unknown]",
        "",
    ];
    assert_eq!(lines, expected);
    let said = "the user stacks of 2 samples are of riscv64 and are not unwound here";
    assert!(script.err.contains(said), "{}", script.err);

    // The registers alone tell that it is not x86-64.
    record_on_riscv64(&lab, None);
    let script = lab.prof("script -F ip,sym", "riscv64.data").ok();
    let said = "the user stacks of 2 samples are of another machine and are not unwound here";
    assert!(script.err.contains(said), "{}", script.err);
}

#[test]
fn a_module_has_the_name_that_perf_gives_it() {
    let Some(lab) = Lab::new() else { return };
    let attr = EventAttr {
        sample_type: sample::IP | sample::TID | sample::TIME,
        sample_period_or_freq: 1,
        ..EventAttr::default()
    };
    let mut recording = Handmade::create(lab.place.file("module.data"), "cycles", attr);
    let module = 0xffff_ffff_c060_0000_u64;
    for (start, len, pgoff, name) in [
        (
            0xffff_ffff_8100_0000,
            0x100_0000,
            0xffff_ffff_8100_0000,
            &b"[kernel.kallsyms]_text"[..],
        ),
        (
            module,
            0x8000,
            0,
            b"/lib/modules/6.1.0/kernel/net/my-net.ko.xz",
        ),
    ] {
        recording.put(record::MMAP, misc::KERNEL, |map| {
            map.u32(u32::MAX)
                .u32(0)
                .u64(start)
                .u64(len)
                .u64(pgoff)
                .c_string(name);
        });
    }
    recording.put(record::COMM, 0, |comm| {
        comm.u32(7).u32(7).c_string(b"server");
    });
    recording.put(record::SAMPLE, misc::KERNEL, |sample| {
        sample.u64(module + 0x123).u32(7).u32(7).u64(100);
    });
    let features = Features {
        arch: Some("x86_64".to_owned()),
        os_release: Some("6.1.0".to_owned()),
        ..Features::default()
    };
    recording.finish(features);
    let table = "report --stdio --no-children -g none -q --sort comm,dso";
    let (ours, theirs) = (
        lab.prof(table, "module.data"),
        lab.perf(table, "module.data"),
    );
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let ours = words(&ours.ok().out);
    assert_eq!(ours, words(&theirs.ok().out));
    assert_eq!(ours, ["100.00%", "server", "[my_net]"]);
    let line = "script -F comm,ip,dso";
    let (ours, theirs) = (lab.prof(line, "module.data"), lab.perf(line, "module.data"));
    assert_eq!(words(&ours.ok().out), words(&theirs.ok().out));
}

#[test]
fn attrs_of_older_and_newer_versions_of_perf_are_read() {
    let Some(lab) = Lab::new() else { return };
    assert!(lab.record("fp.data", "-F 999 -g"));
    let whole = lab.prof("script --ns", "fp.data").ok().out;
    let bytes = std::fs::read(lab.place.file("fp.data")).unwrap();
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let (stride, attrs) = (word(16) as usize, word(24) as usize);
    let (attr, ids) = bytes[attrs..attrs + stride].split_at(stride - 16);
    for size in [64, 72, 80, 96, 104, 112, 120, 128, 136, 144, 200_usize] {
        let mut other = bytes.clone();
        let mut attr = attr.to_vec();
        attr.resize(size, 0);
        attr[4..8].copy_from_slice(&(size as u32).to_le_bytes());
        let stride = size + 16;
        other[16..24].copy_from_slice(&(stride as u64).to_le_bytes());
        other[24..32].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        other[32..40].copy_from_slice(&(stride as u64).to_le_bytes());
        other.extend(attr);
        other.extend(ids);
        std::fs::write(lab.place.file("other.data"), other).unwrap();
        assert_eq!(
            lab.prof("script --ns", "other.data").ok().out,
            whole,
            "{size}"
        );
    }
}

#[test]
fn features_of_newer_versions_of_perf_are_passed_over() {
    let Some(lab) = Lab::new() else { return };
    assert!(lab.record("fp.data", "-F 999 -g"));
    let script = lab.prof("script --ns", "fp.data").ok();
    let bytes = std::fs::read(lab.place.file("fp.data")).unwrap();
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let table = (word(40) + word(48)) as usize;
    let known: Vec<usize> = (0..256)
        .filter(|bit| bytes[72 + bit / 8] >> (bit % 8) & 1 != 0)
        .collect();
    // The table grows by an entry; what lies behind it moves.
    let end = table + known.len() * 16;
    for bit in [33, 63, 64, 200, 255] {
        let mut other = bytes[..end].to_vec();
        other[72 + bit / 8] |= 1 << (bit % 8);
        for entry in other[table..].chunks_exact_mut(16) {
            let offset = u64::from_le_bytes(entry[..8].try_into().unwrap()) + 16;
            entry[..8].copy_from_slice(&offset.to_le_bytes());
        }
        other.extend((bytes.len() as u64 + 16).to_le_bytes());
        other.extend(24_u64.to_le_bytes());
        other.extend(&bytes[end..]);
        other.extend([0xaa; 24]);
        std::fs::write(lab.place.file("other.data"), other).unwrap();
        let other = lab.prof("script --ns", "other.data").ok();
        assert_eq!(other.out, script.out, "{bit}");
        assert_eq!(other.err.replace("other", "fp"), script.err, "{bit}");
    }
}

#[test]
fn the_first_version_of_the_format_is_refused_by_its_name() {
    let Some(lab) = Lab::new() else { return };
    for magic in [b"PERFFILE", b"ELIFFREP"] {
        let mut bytes = magic.to_vec();
        bytes.resize(104, 0);
        std::fs::write(lab.place.file("old.data"), bytes).unwrap();
        let ran = lab.prof("report", "old.data").failed(1);
        ran.says(&["the format of perf before 2.6.34"]);
    }
}
