//! What `script` prints besides samples, and of samples when asked: perf's lines beside ours.

use prof_event::abi::{flag, misc, record, sample};
use prof_event::{EventAttr, RecordBuilder, SampleId};
use prof_perfdata::Features;

use crate::handmade::Handmade;
use crate::lab::Lab;

const TYPE: u64 = sample::IP | sample::TID | sample::TIME | sample::CPU | sample::IDENTIFIER;
const ALL: &str = "--show-task-events --show-mmap-events --show-lost-events --show-switch-events \
                   --show-namespace-events --show-bpf-events --show-text-poke-events \
                   --show-cgroup-events";

/// The same lines; says which one is not.
fn assert_same(ours: &str, theirs: &str, what: &str) {
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        assert_eq!(ours, theirs, "{what}");
    }
    assert_eq!(ours, theirs, "{what}");
}

/// Fills in what follows a record's header.
type Fill<'f> = dyn Fn(&mut RecordBuilder<'_>) + 'f;

/// One record of every kind that the kernel writes and a script is shown.
#[rustfmt::skip] // a table
fn every_kind() -> Vec<(u32, u16, Box<Fill<'static>>)> {
    fn kind(kind: u32, misc: u16, fill: impl Fn(&mut RecordBuilder<'_>) + 'static)
    -> (u32, u16, Box<Fill<'static>>) {
        (kind, misc, Box::new(fill))
    }
    vec![
        kind(record::MMAP, misc::KERNEL, |it| { it.u32(u32::MAX).u32(0).u64(0xffff_ffff_8100_0000).u64(0x1000).u64(0).c_string(b"[kernel.kallsyms]_text"); }),
        kind(record::COMM, 0, |it| { it.u32(7).u32(7).c_string(b"server"); }),
        kind(record::COMM, misc::COMM_EXEC, |it| { it.u32(7).u32(7).c_string(b"a server"); }),
        kind(record::MMAP, misc::USER, |it| { it.u32(7).u32(7).u64(0x40_0000).u64(0x1000).u64(0).c_string(b"/gone/server"); }),
        kind(record::MMAP, misc::USER | misc::MMAP_DATA, |it| { it.u32(7).u32(7).u64(0x50_0000).u64(0x1000).u64(0x2000).c_string(b"/gone/data"); }),
        kind(record::MMAP2, misc::USER, |it| { it.u32(7).u32(7).u64(0x60_0000).u64(0x1000).u64(0x3000).u32(0xfe).u32(16).u64(77).u64(3).u32(7).u32(1).c_string(b"/gone/shared"); }),
        kind(record::MMAP2, misc::USER, |it| { it.u32(7).u32(7).u64(0x70_0000).u64(0x1000).u64(0).u32(3).u32(1).u64(0).u64(0).u32(4).u32(2).c_string(b"//anon"); }),
        kind(record::MMAP2, misc::USER | misc::MMAP_BUILD_ID, |it| { it.u32(7).u32(7).u64(0x80_0000).u64(0x1000).u64(0).u32(20).bytes(&[0xab; 20]).u32(5).u32(2).c_string(b"/gone/identified"); }),
        kind(record::FORK, 0, |it| { it.u32(8).u32(7).u32(8).u32(7).u64(5); }),
        kind(record::COMM, 0, |it| { it.u32(8).u32(8).c_string(b"child"); }),
        kind(record::EXIT, 0, |it| { it.u32(8).u32(7).u32(8).u32(7).u64(5); }),
        kind(record::LOST, 0, |it| { it.u64(1).u64(42); }),
        kind(record::SWITCH, 0, |_| {}),
        kind(record::SWITCH, misc::SWITCH_OUT, |_| {}),
        kind(record::SWITCH, misc::SWITCH_OUT | misc::SWITCH_OUT_PREEMPT, |_| {}),
        kind(record::SWITCH_CPU_WIDE, 0, |it| { it.u32(9).u32(10); }),
        kind(record::SWITCH_CPU_WIDE, misc::SWITCH_OUT, |it| { it.u32(9).u32(10); }),
        kind(record::SWITCH_CPU_WIDE, misc::SWITCH_OUT | misc::SWITCH_OUT_PREEMPT, |it| { it.u32(9).u32(10); }),
        kind(record::NAMESPACES, 0, |it| { it.u32(7).u32(7).u64(7); for inode in 0..7 { it.u64(4).u64(0xeffffff0 + inode); } }),
        kind(record::KSYMBOL, 0, |it| { it.u64(0xffff_ffff_a000_0000).u32(0x80).u16(1).u16(0).c_string(b"bpf_prog_1234_x"); }),
        kind(record::BPF_EVENT, 0, |it| { it.u16(1).u16(0).u32(12).bytes(&[1, 2, 3, 4, 5, 6, 7, 8]); }),
        kind(record::BPF_EVENT, 0, |it| { it.u16(2).u16(0).u32(12).bytes(&[1, 2, 3, 4, 5, 6, 7, 8]); }),
        kind(record::KSYMBOL, 0, |it| { it.u64(0xffff_ffff_a000_0000).u32(0x80).u16(1).u16(1).c_string(b"bpf_prog_1234_x"); }),
        kind(record::CGROUP, 0, |it| { it.u64(3).c_string(b"/system.slice/a b"); }),
        kind(record::TEXT_POKE, misc::KERNEL, |it| { it.u64(0xffff_ffff_7000_0000).u16(5).u16(20).bytes(&[0x0f, 0x1f, 0x44, 0, 0]).bytes(&[0xe8; 20]).bytes(&[0; 3]); }),
        kind(record::SAMPLE, misc::USER, |it| { it.u64(1).u64(0x40_0010).u32(7).u32(7).u64(2_000_000_000).u32(1).u32(0); }),
    ]
}

fn write_every_kind(lab: &Lab) {
    let attr = EventAttr {
        kind: 1,
        sample_type: TYPE,
        flags: flag::SAMPLE_ID_ALL,
        sample_period_or_freq: 1000,
        ..EventAttr::default()
    };
    let mut recording = Handmade::create(lab.place.file("kinds.data"), "cpu-clock", attr);
    for (index, (kind, misc, fill)) in every_kind().into_iter().enumerate() {
        recording.put(kind, misc, |record| {
            fill(record);
            if kind != record::SAMPLE {
                let id = SampleId {
                    task: Some((7, 7)),
                    time: Some(1_000_000_000 + index as u64 * 1000),
                    id: Some(1),
                    cpu: Some(1),
                };
                record.sample_id(TYPE, &id);
            }
        });
    }
    let features = Features {
        arch: Some("x86_64".to_owned()),
        ..Features::default()
    };
    recording.finish(features);
}

#[test]
fn every_kind_of_record_has_the_line_that_perf_has_for_it() {
    let Some(lab) = Lab::new() else { return };
    write_every_kind(&lab);
    for options in [ALL.to_owned(), format!("-F comm,pid,tid,misc,time {ALL}")] {
        let options = format!("script {options}");
        let ours = lab.prof(&options, "kinds.data").ok().out;
        let theirs = lab.perf(&options, "kinds.data").ok().out;
        assert_same(&ours, &theirs, &options);
        assert_eq!(ours.matches("PERF_RECORD_").count(), every_kind().len() - 1);
    }
}

const EVERYWHERE: u64 = sample::IP | sample::TID | sample::TIME | sample::CPU | sample::PERIOD;
const BEHIND: u64 = sample::WEIGHT_STRUCT
    | sample::REGS_INTR
    | sample::PHYS_ADDR
    | sample::DATA_PAGE_SIZE
    | sample::CODE_PAGE_SIZE;

/// Samples with all the fields that few have, as perf on `arch` writes them.
fn write_full_samples(lab: &Lab, arch: &str, mask: u64) {
    let attr = EventAttr {
        kind: 1,
        sample_type: EVERYWHERE | sample::ADDR | sample::BRANCH_STACK | sample::REGS_USER | BEHIND,
        flags: flag::SAMPLE_ID_ALL,
        sample_period_or_freq: 1000,
        branch_sample_type: 1 << 3,
        sample_regs_user: mask,
        sample_regs_intr: mask,
        ..EventAttr::default()
    };
    let mut recording = Handmade::create(lab.place.file("full.data"), "cpu-clock", attr);
    for number in 0..4_u64 {
        let mode = [misc::USER, misc::KERNEL, misc::USER, misc::USER][number as usize];
        recording.put(record::SAMPLE, mode, |sample| {
            sample
                .u64(0x40_1000 + number)
                .u32(7)
                .u32(7)
                .u64(1_000_000 * number);
            sample.u64(0xdead_0000 * number).u32(1).u32(0).u64(1000);
            sample.u64(number * 5);
            for branch in 0..number * 5 {
                let flags = branch | 77 << 4 | branch << 20; // each kind
                sample.u64(0x40_2000 + branch).u64(0x40_3000).u64(flags);
            }
            let user_abi = number.min(2); // 0: a kernel thread
            sample.u64(user_abi);
            let count = u64::from(mask.count_ones());
            if user_abi != 0 {
                (0..count).for_each(|register| {
                    sample.u64(register * 0x1111);
                });
            }
            sample.u64(0x0002_0003_0000_0100 + number); // latency and weight
            sample.u64(2);
            (0..count).for_each(|register| {
                sample.u64(!register);
            });
            sample.u64(0x1234_5000 * number);
            sample
                .u64([0, 4096, 2 << 20, 1 << 30][number as usize])
                .u64(4096);
        });
    }
    let features = Features {
        arch: Some(arch.to_owned()),
        ..Features::default()
    };
    recording.finish(features);
}

#[test]
fn registers_branches_and_memory_accesses_are_printed_as_perf_prints_them() {
    let Some(lab) = Lab::new() else { return };
    const XMM0: u64 = 3 << 32;
    for (arch, mask) in [
        ("x86_64", prof_event::abi::X86_USER_REGS),
        ("x86_64", prof_event::abi::X86_USER_REGS | XMM0),
        ("aarch64", 0x1_ffff_ffff),
        ("aarch64", 1 << 46 | 0x1_ffff_ffff),
    ] {
        write_full_samples(&lab, arch, mask);
        for fields in [
            "ip,iregs",
            "comm,tid,uregs",
            "ip,brstack",
            "misc,time,ip,weight,ins_lat",
            "comm,ip,phys_addr",
            "ip,data_page_size,code_page_size",
            "comm,pid,tid,cpu,misc,time,period,event,addr,weight,ins_lat,ip,sym,iregs,uregs,\
             brstack,phys_addr,data_page_size,code_page_size",
        ] {
            let options = format!("script -F {fields}");
            let ours = lab.prof(&options, "full.data").ok().out;
            let theirs = lab.perf(&options, "full.data").ok().out;
            assert_same(&ours, &theirs, &format!("{arch} {fields}"));
        }
    }
}

#[test]
fn a_field_that_was_not_recorded_is_refused_with_how_to_record_it() {
    let Some(lab) = Lab::new() else { return };
    write_every_kind(&lab);
    for (field, option) in [("iregs", "--intr-regs"), ("weight", "-W"), ("addr", "-d")] {
        let ran = lab
            .prof(&format!("script -F ip,{field}"), "kinds.data")
            .failed(1);
        ran.says(&[&format!("`{field}`"), option]);
    }
    lab.prof("script -F ip,cpu", "kinds.data").ok();
}

#[test]
fn task_events_of_a_recording_stand_where_perf_has_them() {
    let Some(lab) = Lab::new() else { return };
    assert!(lab.record("fp.data", "-F 499 -g --switch-events --namespaces"));
    let options = "script --ns --no-inline -F comm,pid,tid,time,event --show-task-events \
                   --show-mmap-events --show-switch-events --show-namespace-events";
    let ours = lab.prof(options, "fp.data").ok().out;
    let theirs = lab.perf(options, "fp.data").ok().out;
    assert!(ours.contains("PERF_RECORD_COMM exec: work"), "{ours}");
    assert!(ours.contains("PERF_RECORD_SWITCH OUT"), "{ours}");
    assert_same(&ours, &theirs, options);

    let rounds = lab.prof("script --show-round-events", "fp.data").ok().out;
    let mut rounds = rounds.lines();
    assert!(rounds.any(|line| line == "PERF_RECORD_FINISHED_ROUND"));
}
