//! Callchains at chosen moments: inside signal handlers, on other stacks, in threads, and in deep
//! recursions.

mod support;

use prof_model::ChainEnd;
use prof_unwinder::Unwinder;
use support::{FRAME_POINTER, NO_FRAME_POINTER, Recorded, WHOLE, record};

const STATIC: &[&str] = &["-O2", "-fomit-frame-pointer", "-static"];

fn names(recorded: &mut Recorded, index: usize) -> (Vec<String>, ChainEnd) {
    let (chain, end) = recorded.unwind(&mut Unwinder::new(), index);
    (recorded.names(&chain), end)
}

/// What the C library puts between `main` and `_start`, where it has symbols.
const TO_START: [&str; 4] = [
    "main",
    "__libc_start_call_main",
    "__libc_start_main_impl",
    "_start",
];

#[test]
fn a_signal_handlers_callchain_goes_on_with_the_interrupted_instruction() {
    for flags in [NO_FRAME_POINTER, FRAME_POINTER, STATIC] {
        let Some(mut recorded) = record(flags, "inside", WHOLE) else {
            return;
        };
        let mut unwinder = Unwinder::new();
        let interrupted = recorded.samples.iter().position(|s| !s.is_inside_handler);
        let inside = recorded.samples.iter().position(|s| s.is_inside_handler);
        let (outer, outer_end) = recorded.unwind(&mut unwinder, interrupted.unwrap());
        let (whole, end) = recorded.unwind(&mut unwinder, inside.unwrap());
        assert_eq!((outer_end, end), (ChainEnd::Root, ChainEnd::Root));
        assert_eq!(
            whole[whole.len() - outer.len()..],
            outer,
            "exact, not minus one"
        );
        let inner = &whole[..whole.len() - outer.len()];
        assert_eq!(recorded.names(&inner[..2]), ["dump_here", "on_trap"]);
        assert_eq!(inner.len(), 3);
        assert_eq!(
            recorded.code(inner[2])[..4],
            [0x48, 0xc7, 0xc0, 0x0f],
            "sigreturn"
        );
        if flags == STATIC {
            assert_eq!(recorded.names(&outer)[1..], TO_START);
        }
    }
}

#[test]
fn a_handler_on_another_stack_shows_what_it_interrupted_and_says_that_there_is_more() {
    let Some(mut recorded) = record(NO_FRAME_POINTER, "altstack", WHOLE) else {
        return;
    };
    let inside = recorded
        .samples
        .iter()
        .position(|s| s.is_inside_handler)
        .unwrap();
    let (names, end) = names(&mut recorded, inside);
    assert_eq!(
        (names[0].as_str(), names[1].as_str()),
        ("dump_here", "on_trap")
    );
    assert_eq!((names[3].as_str(), names.len()), ("trapped", 4));
    assert_eq!(end, ChainEnd::TruncatedCopy);
}

#[test]
fn the_kernels_chain_leads_back_from_another_stack() {
    let Some(mut recorded) = record(FRAME_POINTER, "altstack", WHOLE) else {
        return;
    };
    let inside = recorded
        .samples
        .iter()
        .position(|s| s.is_inside_handler)
        .unwrap();
    let (names, end) = names(&mut recorded, inside);
    assert_eq!(
        (names[0].as_str(), names[1].as_str()),
        ("dump_here", "on_trap")
    );
    // the C library has no frame pointers: its frame is the last that can be proven
    assert_eq!(names[3..], ["trapped", "main", "libc.so.6"]);
    assert_eq!(end, ChainEnd::TruncatedCopy);
}

#[test]
fn a_thread_ends_at_its_root() {
    for flags in [NO_FRAME_POINTER, FRAME_POINTER] {
        let Some(mut recorded) = record(flags, "thread", WHOLE) else {
            return;
        };
        let (names, end) = names(&mut recorded, 0);
        assert_eq!(names, ["dump_here", "in_thread", "libc.so.6", "libc.so.6"]);
        assert_eq!(end, ChainEnd::Root);
    }
    let Some(mut recorded) = record(STATIC, "thread", WHOLE) else {
        return;
    };
    let (names, end) = names(&mut recorded, 0);
    assert_eq!(names[..3], ["dump_here", "in_thread", "start_thread"]);
    assert_eq!(
        (names[3].contains("clone"), names.len(), end),
        (true, 4, ChainEnd::Root)
    );
}

#[test]
fn a_coroutine_ends_at_its_root() {
    for flags in [NO_FRAME_POINTER, FRAME_POINTER] {
        let Some(mut recorded) = record(flags, "context", WHOLE) else {
            return;
        };
        let (chain, end) = recorded.unwind(&mut Unwinder::new(), 0);
        let names = recorded.names(&chain);
        assert_eq!(
            (names.as_slice(), end),
            (
                &["dump_here", "in_context", "libc.so.6"].map(str::to_owned)[..],
                ChainEnd::Root
            )
        );
    }
}

fn deep(outermost: &[&str]) -> Vec<String> {
    let mut names = vec!["dump_here".to_owned()];
    names.extend(std::iter::repeat_n("deep".to_owned(), 100));
    names.extend(outermost.iter().map(|&name| name.to_owned()));
    names
}

#[test]
fn a_deep_recursion_is_whole_if_the_copy_is() {
    let Some(mut recorded) = record(STATIC, "deep", WHOLE) else {
        return;
    };
    assert_eq!(names(&mut recorded, 0), (deep(&TO_START), ChainEnd::Root));
}

#[test]
fn a_cut_copy_gives_the_innermost_frames_and_says_so() {
    let Some(mut recorded) = record(NO_FRAME_POINTER, "deep", 8192) else {
        return;
    };
    let (names, end) = names(&mut recorded, 0);
    assert_eq!(end, ChainEnd::TruncatedCopy);
    assert!((10..30).contains(&names.len()), "{}", names.len());
    assert_eq!(names, deep(&[])[..names.len()]);
}

#[test]
fn beyond_a_cut_copy_the_kernels_chain_goes_on_where_there_are_frame_pointers() {
    let Some(mut recorded) = record(FRAME_POINTER, "deep", 8192) else {
        return;
    };
    let expected = (deep(&["main", "libc.so.6"]), ChainEnd::TruncatedCopy);
    assert_eq!(names(&mut recorded, 0), expected);

    let with_kernel = recorded.unwind(&mut Unwinder::new(), 0).0;
    recorded.samples[0].kernel_chain.clear();
    let (without, end) = recorded.unwind(&mut Unwinder::new(), 0);
    assert_eq!(end, ChainEnd::TruncatedCopy);
    assert!(without.len() < 30);
    assert_eq!(without, with_kernel[..without.len()]);

    let recorded = record(FRAME_POINTER, "deep", WHOLE);
    let mut recorded = recorded.unwrap();
    let (whole, _) = names(&mut recorded, 0);
    assert_eq!(
        whole[..102],
        deep(&["main"]),
        "the same frames as from a whole copy"
    );
}

#[test]
fn a_kernel_chain_that_contradicts_the_copy_is_not_used() {
    let Some(mut recorded) = record(FRAME_POINTER, "deep", 8192) else {
        return;
    };
    recorded.samples[0].kernel_chain[2] += 1;
    let (chain, end) = recorded.unwind(&mut Unwinder::new(), 0);
    assert_eq!(end, ChainEnd::TruncatedCopy);
    assert!(chain.len() < 30);
}

#[test]
fn a_copy_that_ends_with_the_stack_is_not_called_truncated() {
    let Some(mut recorded) = record(NO_FRAME_POINTER, "deep", 8192) else {
        return;
    };
    recorded.samples[0].is_cut = false;
    assert_eq!(names(&mut recorded, 0).1, ChainEnd::BadFrame);
}

#[test]
fn the_innermost_frames_are_kept_up_to_the_limit() {
    let Some(mut recorded) = record(NO_FRAME_POINTER, "deep", WHOLE) else {
        return;
    };
    let samples = std::mem::take(&mut recorded.samples);
    let mut unwinder = Unwinder::new();
    let (all, end) = recorded.unwind_sample(&mut unwinder, &samples[0], 1000);
    assert_eq!(end, ChainEnd::Root);
    for limit in [0, 1, 7, all.len() - 1] {
        let (some, end) = recorded.unwind_sample(&mut unwinder, &samples[0], limit);
        assert_eq!((some.as_slice(), end), (&all[..limit], ChainEnd::TooDeep));
    }
    let (exactly, end) = recorded.unwind_sample(&mut unwinder, &samples[0], all.len());
    assert_eq!((exactly, end), (all, ChainEnd::Root));
}

#[test]
fn a_sample_without_registers_has_no_user_state() {
    let Some(mut recorded) = record(NO_FRAME_POINTER, "deep", WHOLE) else {
        return;
    };
    recorded.samples[0].regs = prof_unwinder::Regs::new(prof_unwinder::Arch::X86_64);
    let result = recorded.unwind(&mut Unwinder::new(), 0);
    assert_eq!(result, (vec![], ChainEnd::NoUserState));
}

#[test]
fn an_address_outside_every_mapping_is_the_only_frame() {
    let Some(mut recorded) = record(NO_FRAME_POINTER, "deep", WHOLE) else {
        return;
    };
    recorded.samples[0].regs.set(16, 0x10);
    let result = recorded.unwind(&mut Unwinder::new(), 0);
    assert_eq!(result, (vec![0x10], ChainEnd::NoMapping));
}

#[test]
fn a_second_unwind_of_the_same_stack_is_served_by_the_cache() {
    let Some(mut recorded) = record(NO_FRAME_POINTER, "deep", WHOLE) else {
        return;
    };
    let mut unwinder = Unwinder::new();
    let first = recorded.unwind(&mut unwinder, 0);
    let before = *unwinder.stats();
    assert_eq!(recorded.unwind(&mut unwinder, 0), first);
    let after = *unwinder.stats();
    assert_eq!(after.cache_misses, before.cache_misses);
    assert_eq!(after.cache_hits, before.cache_hits + first.0.len() as u64);
    assert_eq!(after.functions_compiled, before.functions_compiled);
    // dump_here, deep, main, two in libc, _start
    assert_eq!((after.functions_compiled, after.images), (6, 2));
}
