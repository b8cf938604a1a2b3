//! Where the addresses of a callchain lie.

mod common;

use common::{
    Frame, IN_KERNEL, KERNEL_MODE, NOBODY, Records, Sampled, TEXT, attr, event_set, live,
    one_event, take_all,
};
use prof_event::abi::{callchain, flag, record, sample};
use prof_event::{EventAttr, EventSet, Record};
use prof_model::{CpuMode, VirtAddr};
use prof_profile::Profile;
use prof_session::{Callers, faulted_data};

const KALLSYMS: &str = "[kernel.kallsyms]";

fn chain(time: u64, entries: &[u64]) -> Sampled {
    Sampled {
        time,
        mode: KERNEL_MODE,
        chain: entries.to_vec(),
        ..Sampled::default()
    }
}

/// Two frames of the kernel and three of the program.
fn whole_chain(time: u64) -> Sampled {
    let kernel = [callchain::KERNEL, IN_KERNEL, IN_KERNEL + 0x50];
    let user = [callchain::USER, TEXT.start + 0x10, TEXT.start + 0x20];
    chain(time, &[&kernel[..], &user, &[TEXT.start + 0x30]].concat())
}

fn kernel(shown: u64, lookup: u64) -> Frame {
    (CpuMode::Kernel, KALLSYMS.to_owned(), shown, lookup)
}

fn user(path: &str, shown: u64, lookup: u64) -> Frame {
    (CpuMode::User, path.to_owned(), shown, lookup)
}

/// What the kernel's walk says with user callers excluded is what an unwinder has made.
fn call_sites() -> EventSet {
    let attr = attr(0);
    one_event(EventAttr {
        flags: attr.flags | flag::EXCLUDE_CALLCHAIN_USER,
        ..attr
    })
}

#[test]
fn a_return_address_is_looked_up_a_byte_before_it_and_the_innermost_one_of_a_part_is_none() {
    let mut records = Records::of_nobody(one_event(attr(0)));
    let taken = take_all(&mut live(&records.events), records.sample(&whole_chain(1)));
    assert_eq!(
        taken[0].frames,
        [
            kernel(IN_KERNEL, IN_KERNEL),
            kernel(IN_KERNEL + 0x50, IN_KERNEL + 0x4f),
            user("/bin/a", 0x10, 0x10),
            user("/bin/a", 0x20, 0x1f),
            user("/bin/a", 0x30, 0x2f),
        ]
    );
}

#[test]
fn a_call_site_is_looked_up_where_it_is_while_the_kernels_callers_are_return_addresses() {
    let mut records = Records::of_nobody(call_sites());
    let taken = take_all(&mut live(&records.events), records.sample(&whole_chain(1)));
    let lookups: Vec<_> = taken[0].addresses().iter().map(|it| it.1).collect();
    let kernel = [IN_KERNEL, IN_KERNEL + 0x4f];
    assert_eq!(lookups, [&kernel[..], &[0x10, 0x20, 0x30]].concat());
}

#[test]
fn what_an_event_says_of_its_callers_is_its_own() {
    let excluded = call_sites().events()[0].attr.clone();
    let events = event_set([("a", attr(0)), ("b", excluded)]);
    let callers: Vec<_> = events.events().iter().map(Callers::of).collect();
    assert_eq!(callers, [Callers::ReturnAddresses, Callers::CallSites]);
}

#[test]
fn a_call_that_ends_its_mapping_lies_in_it_and_not_in_the_next_one() {
    let mut records = Records::of_nobody(one_event(attr(0)));
    records.map(0, NOBODY, TEXT.end..TEXT.end + 0x1000, 0x5000, "/bin/b");
    let user = [callchain::USER, TEXT.end, TEXT.end];
    let taken = take_all(&mut live(&records.events), records.sample(&chain(1, &user)));
    assert_eq!(taken[0].paths(), ["/bin/b", "/bin/a"]);
    assert_eq!(taken[0].addresses(), [(0x5000, 0x5000), (0x1_0000, 0xffff)]);
}

#[test]
fn a_sample_without_a_callchain_is_at_its_instruction() {
    let mut records = Records::of_nobody(one_event(attr(0)));
    records.sample(&Sampled {
        ip: TEXT.start + 0x77,
        ..Sampled::default()
    });
    records.sample(&Sampled {
        ip: 0x10,
        ..Sampled::default()
    });
    let taken = take_all(&mut live(&records.events), &records);
    assert_eq!(taken[0].frames, [user("/bin/a", 0x77, 0x77)]);
    assert_eq!(taken[1].frames, [user("-", 0x10, 0x10)]);
}

#[test]
fn a_part_of_the_kernel_that_comes_again_has_the_frames_that_it_had() {
    let mut records = Records::of_nobody(one_event(attr(0)));
    records.sample(&whole_chain(1)).sample(&whole_chain(2));
    records.sample(&chain(3, &[callchain::KERNEL, IN_KERNEL + 0x50]));
    let mut pipeline = live(&records.events);
    let taken = take_all(&mut pipeline, &records);
    assert_eq!(taken[0].inner, Some((0, 2)));
    assert_eq!(taken[1], taken[0]);
    assert_eq!(taken[2].inner, Some((1, 1)));
    let alone = kernel(IN_KERNEL + 0x50, IN_KERNEL + 0x50); // it ran there, and called nothing
    assert_eq!(taken[2].frames, [alone]);
}

#[test]
fn a_profile_has_the_same_stacks_whether_the_kernels_parts_are_apart_or_not() {
    let mut records = Records::of_nobody(one_event(attr(0)));
    records.sample(&whole_chain(1)).sample(&whole_chain(2));
    records.sample(&chain(3, &[callchain::KERNEL, IN_KERNEL + 0x50]));
    let mut pipeline = live(&records.events);
    let mut plain = Profile::new(pipeline.profile.events.clone());
    for raw in records.iter() {
        let decoded = records.events.decode(raw).unwrap();
        let Some(taken) = pipeline.take(&records.events, &decoded, None) else {
            continue;
        };
        let frames: Vec<_> = taken.placed.all_frames().map(|(frame, _)| *frame).collect();
        let processes = &taken.tracker.processes;
        plain.add(&prof_profile::Sample {
            event: 0,
            pid: taken.sample.pid,
            tid: taken.sample.tid,
            comm: processes.comm_of(taken.sample.pid, taken.sample.tid),
            cpu: taken.sample.cpu,
            time: taken.sample.time,
            period: 1,
            inner: None,
            frames: &frames,
            end: taken.end,
        });
    }
    let stacks = common::entries(&pipeline.profile);
    assert_eq!(stacks, common::entries(&plain));
    let sizes: Vec<_> = stacks
        .iter()
        .map(|(_, weight, it)| (weight.samples, it.len()))
        .collect();
    assert_eq!(sizes, [(2, 5), (1, 1)]);
}

#[test]
fn kernel_code_that_is_loaded_between_two_samples_is_in_the_second_one_only() {
    const MODULE: u64 = 0xffff_ffff_c000_0000;
    let at = chain(0, &[callchain::KERNEL, MODULE + 8]);
    let mut records = Records::of_nobody(one_event(attr(0)));
    records.sample(&Sampled {
        time: 1,
        ..at.clone()
    });
    records.kernel_text(2, MODULE..MODULE + 0x1000, "[module]");
    records.sample(&Sampled {
        time: 3,
        ..at.clone()
    });
    records.put(4, (record::KSYMBOL, 0), |record| {
        record.u64(MODULE + 0x2000).u32(0x100).u16(1).u16(0);
        record.c_string(b"bpf_prog_1");
    });
    let program = chain(5, &[callchain::KERNEL, MODULE + 0x2008]);
    records.sample(&program).sample(&Sampled { time: 6, ..at });
    let taken = take_all(&mut live(&records.events), &records);
    let paths: Vec<_> = taken.iter().map(|it| it.paths()[0]).collect();
    assert_eq!(paths, ["-", "[module]", "bpf_prog_1", "[module]"]);
}

#[test]
fn a_mapping_that_is_replaced_between_two_samples_is_the_files_that_each_of_them_saw() {
    let at = [callchain::USER, TEXT.start + 0x10];
    let mut records = Records::of_nobody(one_event(attr(0)));
    records.sample(&chain(1, &at));
    records.map(2, NOBODY, TEXT, 0x3000, "/bin/b");
    records.sample(&chain(3, &at));
    let taken = take_all(&mut live(&records.events), &records);
    assert_eq!(taken[0].frames, [user("/bin/a", 0x10, 0x10)]);
    assert_eq!(taken[1].frames, [user("/bin/b", 0x3010, 0x3010)]);
}

#[test]
fn addresses_of_a_kernel_that_hides_where_it_lies_are_the_kernels_all_the_same() {
    let mut records = Records::of(one_event(attr(0)));
    records.sample(&chain(1, &[callchain::KERNEL, IN_KERNEL]));
    let taken = take_all(&mut live(&records.events), &records);
    assert_eq!(taken[0].frames, [kernel(IN_KERNEL, IN_KERNEL)]);
}

#[test]
fn a_callchain_brings_no_addresses_that_its_frames_tell_and_an_instruction_alone_does() {
    let without = EventAttr {
        sample_type: attr(0).sample_type & !sample::CALLCHAIN,
        ..attr(0)
    };
    let mut records = Records::of_nobody(event_set([("a", attr(0)), ("b", without)]));
    let anonymous = 0x7000_0000..0x7000_1000;
    records.map(0, NOBODY, anonymous.clone(), 0, "//anon");
    let in_both = [callchain::USER, anonymous.start + 8, TEXT.start + 4];
    records.sample(&whole_chain(1)).sample(&chain(2, &in_both));
    records.sample(&Sampled {
        id: 2,
        ip: TEXT.start + 8,
        ..Sampled::default()
    });
    let mut pipeline = live(&records.events);
    let mut own = Vec::new();
    for raw in records.iter() {
        let decoded = records.events.decode(raw).unwrap();
        if let Some(taken) = pipeline.take(&records.events, &decoded, None) {
            let event = &records.events.events()[decoded.event];
            let dsos = &taken.tracker.processes.dsos;
            own.push(taken.placed.own_addresses(event, dsos));
        }
    }
    assert_eq!(own, [vec![], vec![], vec![VirtAddr(TEXT.start + 8)]]);
}

#[test]
fn the_data_of_a_page_fault_lies_where_its_address_says_and_other_events_have_none() {
    const DATA: u64 = 0x60_0000;
    let of = |config| EventAttr {
        config,
        ..attr(sample::ADDR)
    };
    let events = event_set([
        ("page-faults", of(2)),
        ("cpu-clock", of(0)),
        ("major-faults", of(6)),
    ]);
    let mut records = Records::of_nobody(events);
    records.map(0, NOBODY, DATA..DATA + 0x1000, 0x2000, "/lib/data");
    for (id, addr) in [(1, DATA + 5), (2, DATA + 5), (3, IN_KERNEL), (1, 0x10)] {
        records.sample(&Sampled {
            id,
            addr,
            ..Sampled::default()
        });
    }
    let mut pipeline = live(&records.events);
    let mut found = Vec::new();
    for raw in records.iter() {
        let decoded = records.events.decode(raw).unwrap();
        pipeline.take(&records.events, &decoded, None);
        if let Record::Sample(sample) = &decoded.record {
            let event = &records.events.events()[decoded.event];
            let data = faulted_data(&pipeline.tracker, event, sample);
            let dsos = &pipeline.tracker.processes.dsos;
            found.push(data.map(|(addr, place)| {
                let path = place.dso.map(|dso| dsos.get(dso).long_name().into_owned());
                (addr.0, place.mode, path, place.shown, place.lookup)
            }));
        }
    }
    let in_file = Some("/lib/data".to_owned());
    let in_kernel = Some(KALLSYMS.to_owned());
    assert_eq!(
        found,
        [
            Some((DATA + 5, CpuMode::User, in_file, 0x2005, 0x2005)),
            None,
            Some((IN_KERNEL, CpuMode::Kernel, in_kernel, IN_KERNEL, IN_KERNEL)),
            Some((0x10, CpuMode::User, None, 0x10, 0x10)),
        ]
    );
}
