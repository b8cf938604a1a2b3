//! Callchains of samples whose registers are of no use, or tell only a part.

mod common;

use common::{
    IN_KERNEL, KERNEL_MODE, NOBODY, Records, STACK, Sampled, TEXT, Taken, live, one_event, regs,
    take_all, take_from_file, unwound_attr,
};
use prof_event::abi::callchain;
use prof_model::ChainEnd;

/// What a recording that runs makes of the samples.
fn taken_live(records: &Records) -> Vec<Taken> {
    take_all(&mut live(&records.events), records)
}

#[test]
fn between_execve_and_the_new_programs_first_step_a_sample_is_in_the_kernel_only() {
    let old = TEXT.start + 0x100;
    let in_kernel = |time| Sampled {
        time,
        mode: KERNEL_MODE,
        chain: vec![callchain::KERNEL, IN_KERNEL, callchain::USER, old],
        regs: regs(old, STACK, 0),
        stack: vec![0; 16],
        ..Sampled::default()
    };
    let in_program = |time| Sampled {
        mode: Sampled::default().mode,
        chain: vec![callchain::USER, old],
        ..in_kernel(time)
    };
    let mut records = Records::of_nobody(one_event(unwound_attr()));
    records.sample(&in_kernel(1));
    records.comm(2, (NOBODY, NOBODY), "next", true);
    records.sample(&in_kernel(3));
    records.sample(&in_program(4)).sample(&in_kernel(5));
    let taken = taken_live(&records);
    let with_user = [callchain::KERNEL, IN_KERNEL, callchain::USER, old];
    let all: Vec<_> = taken.iter().map(|it| (&it.chain[..], it.end)).collect();
    assert_eq!(
        all,
        [
            (&with_user[..], ChainEnd::NoRule), // there is no such file
            (&with_user[..2], ChainEnd::NoUserState),
            (&with_user[2..], ChainEnd::NoMapping),
            (&with_user[..], ChainEnd::NoMapping),
        ]
    );
}

#[test]
fn a_new_program_that_is_mapped_already_has_its_registers() {
    let start = TEXT.start + 0x100;
    let mut records = Records::of_nobody(one_event(unwound_attr()));
    records.comm(1, (NOBODY, NOBODY), "next", true);
    records.map(2, NOBODY, TEXT, 0, "/bin/next");
    records.sample(&Sampled {
        time: 3,
        mode: KERNEL_MODE,
        chain: vec![callchain::KERNEL, IN_KERNEL],
        regs: regs(start, STACK, 0),
        stack: vec![0; 16],
        ..Sampled::default()
    });
    let taken = taken_live(&records);
    let expected = [callchain::KERNEL, IN_KERNEL, callchain::USER, start];
    assert_eq!(taken[0].chain, expected);
}

#[test]
fn a_32_bit_program_keeps_the_kernels_walk() {
    let chain = vec![callchain::USER, TEXT.start + 5, TEXT.start + 9];
    let mut records = Records::of_nobody(one_event(unwound_attr()));
    let values = regs(TEXT.start + 5, STACK, STACK).unwrap().1;
    records.sample(&Sampled {
        chain: chain.clone(),
        regs: Some((1, values)),
        stack: vec![1; 64],
        ..Sampled::default()
    });
    let taken = taken_live(&records);
    assert_eq!(
        (&taken[0].chain, taken[0].end),
        (&chain, ChainEnd::FramePointersOnly)
    );
}

#[test]
fn a_sample_without_user_registers_is_in_the_kernel_only() {
    let mut records = Records::of_nobody(one_event(unwound_attr()));
    records.sample(&Sampled {
        mode: KERNEL_MODE,
        chain: vec![callchain::KERNEL, IN_KERNEL, callchain::USER, 0x33],
        ..Sampled::default()
    });
    let taken = taken_live(&records);
    assert_eq!(taken[0].chain, [callchain::KERNEL, IN_KERNEL]);
    assert_eq!(taken[0].end, ChainEnd::NoUserState);
}

#[test]
fn a_walk_of_the_kernels_alone_stays_as_it_is_and_its_end_is_not_known() {
    let chain = [callchain::KERNEL, IN_KERNEL, callchain::USER, TEXT.start];
    let mut records = Records::of_nobody(one_event(common::attr(0)));
    records.sample(&Sampled {
        chain: chain.to_vec(),
        ..Sampled::default()
    });
    let taken = taken_live(&records);
    assert_eq!(taken[0].chain, chain);
    assert_eq!(taken[0].end, ChainEnd::Unknown);
}

#[test]
fn stacks_of_another_machine_are_counted_and_show_the_instruction_at_least() {
    let mut records = Records::of_nobody(one_event(unwound_attr()));
    let mut values = regs(0, STACK, 0).unwrap().1;
    values[0] = TEXT.start + 0x40; // riscv64 has the instruction first
    let mut sampled = Sampled {
        chain: vec![callchain::KERNEL, IN_KERNEL],
        regs: Some((2, values)),
        stack: vec![1; 64],
        ..Sampled::default()
    };
    records.sample(&sampled);
    sampled.chain = vec![callchain::USER, TEXT.start + 0x44];
    records.sample(&sampled);
    let (taken, pipeline) = take_from_file(&records, Some("riscv64"));
    let kernel = [callchain::KERNEL, IN_KERNEL];
    let user = [callchain::USER, TEXT.start + 0x40];
    assert_eq!(taken[0].chain, [kernel, user].concat());
    assert_eq!(taken[1].chain, sampled.chain);
    assert_eq!(taken[0].end, ChainEnd::Unknown);
    assert_eq!(pipeline.foreign_stacks(), 2);
    assert_eq!(pipeline.machine().name(), "riscv64");
}

#[test]
fn why_a_callchain_ended_is_what_the_recording_says_where_it_says_so() {
    let mut records = Records::of_nobody(one_event(common::attr(0)));
    records.sample(&Sampled::default());
    let mut pipeline = live(&records.events);
    for raw in records.iter() {
        let decoded = records.events.decode(raw).unwrap();
        pipeline.take(&records.events, &decoded, Some(ChainEnd::BadFrame));
    }
    let ends = pipeline.profile.ends();
    assert_eq!(ends[ChainEnd::BadFrame as usize], 1);
    assert_eq!(ends.iter().sum::<u64>(), 1);
}
