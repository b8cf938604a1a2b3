//! Callchains that are unwound from copies of the stack.

mod common;

use common::{
    IN_KERNEL, KERNEL_MODE, NOBODY, Program, Records, STACK, Sampled, TEXT, live, one_event,
    take_all, take_from_file, unwound_attr,
};
use prof_event::abi::callchain;
use prof_model::ChainEnd;
use prof_session::{Pipeline, StackCopySize};

#[test]
fn a_copy_of_the_stack_is_unwound_to_its_root_live_and_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::save(dir.path());
    let records = program.records(1);
    let live = take_all(&mut live(&records.events), &records);
    assert_eq!(live[0].chain, program.chain());
    assert_eq!(live[0].end, ChainEnd::Root);
    let places = [program.leaf + 6, program.calls[0] + 4, program.calls[1] + 4];
    assert_eq!(live[0].addresses(), places.map(|place| (place, place)));
    let (from_file, _) = take_from_file(&records, Some("x86_64"));
    assert_eq!(from_file, live);
}

#[test]
fn a_stack_has_no_more_frames_than_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::save(dir.path());
    let records = program.records(1);
    let mut pipeline = Pipeline::live(
        &records.events,
        &records.events,
        2,
        StackCopySize::default(),
    );
    let taken = take_all(&mut pipeline, &records);
    assert_eq!(taken[0].chain, program.chain()[..3]);
    assert_eq!(taken[0].end, ChainEnd::TooDeep);
}

#[test]
fn a_stack_that_goes_on_beyond_its_copy_is_cut_there() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::save(dir.path());
    let mut records = Records::of_nobody(one_event(unwound_attr()));
    records.map(0, NOBODY, TEXT, 0, program.path.to_str().unwrap());
    let mut sampled = program.sampled(1);
    let filler = 3_u64.to_le_bytes();
    sampled.stack.truncate(0x10);
    sampled.stack[..8].copy_from_slice(&(STACK + 0x200).to_le_bytes());
    sampled.stack.extend(filler.repeat(30)); // all of the 256 bytes
    let taken = take_from_file(records.sample(&sampled), None).0;
    assert_eq!(taken[0].chain, program.chain()[..3]);
    assert_eq!(taken[0].end, ChainEnd::TruncatedCopy);
}

#[test]
fn the_kernels_part_stays_in_front_of_the_stack_that_was_unwound() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::save(dir.path());
    let mut records = Records::of_nobody(one_event(unwound_attr()));
    records.map(0, NOBODY, TEXT, 0, program.path.to_str().unwrap());
    let kernel = [callchain::KERNEL, IN_KERNEL, IN_KERNEL + 0x50];
    let guessed = [callchain::USER, TEXT.start + 1, 0x33];
    records.sample(&Sampled {
        mode: KERNEL_MODE,
        chain: [&kernel[..], &guessed].concat(),
        ..program.sampled(1)
    });
    let taken = take_all(&mut live(&records.events), &records);
    let expected = [&kernel[..], &program.chain()].concat();
    assert_eq!(taken[0].chain, expected);
}

#[test]
fn a_word_of_the_stack_that_looks_like_a_marker_does_not_end_the_users_part_of_the_kernels_walk() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::save(dir.path());
    let mut records = Records::of_nobody(one_event(unwound_attr()));
    records.map(0, NOBODY, TEXT, 0, program.path.to_str().unwrap());
    for word in [callchain::KERNEL, callchain::GUEST, u64::MAX] {
        let walk = [callchain::USER, TEXT.start + 1, word, 0x44];
        records.sample(&Sampled {
            chain: walk.to_vec(),
            ..program.sampled(1)
        });
    }
    let taken = take_all(&mut live(&records.events), &records);
    let chains: Vec<_> = taken.iter().map(|it| &it.chain).collect();
    assert_eq!(chains, [&program.chain(); 3]);
}
