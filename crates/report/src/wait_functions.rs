//! Where a thread waited and who woke it, as a person would say it: a few functions of the program.
//!
//! In: the frames of a stack, innermost first, and their names. Out: the innermost functions that are the program's own.

use prof_profile::{FrameId, Profile};

use crate::{Places, SymbolInfo};

/// How many functions of a place are named.
const NAMED: usize = 4;

/// What stands for a thread of Go's that looks for work: goroutines wait in user space, and it for one of them.
const NO_GOROUTINE: &str = "[a thread of Go without a goroutine to run]";
const GO_SCHEDULER: [&str; 2] = ["runtime.findRunnable", "runtime.findrunnable"];

/// The innermost functions of a stack that are the program's own, not of the libraries by which it waits, or where
/// there are none those of the libraries.
pub(crate) fn wait_functions(
    profile: &Profile,
    places: &Places,
    frames: impl Iterator<Item = FrameId>,
) -> Vec<String> {
    let is_known = |frame: &FrameId| {
        let key = profile.frame(*frame);
        key.dso.is_some() || key.lookup != 0
    };
    let all = frames
        .filter(is_known)
        .flat_map(|frame| places.of_frame(frame));
    let symbols = all.map(|place| places.symbol_at(place));
    let all: Vec<&SymbolInfo> = symbols.collect();
    let user = all.iter().copied();
    let user: Vec<&SymbolInfo> = user.filter(|symbol| symbol.level() != 'k').collect();
    if user
        .iter()
        .any(|symbol| GO_SCHEDULER.contains(&&*symbol.name))
    {
        return vec![NO_GOROUTINE.to_owned()];
    }
    let is_library =
        |symbol: &&SymbolInfo| is_c_library(places.dso_name(symbol)) || is_of_runtime(&symbol.name);
    let is_start = |symbol: &&SymbolInfo| is_library(symbol) || starts_threads(&symbol.name);
    let shown = match user.is_empty() {
        true => &all[..], // a thread of the kernel
        false => own_part(&user, is_library, is_start),
    };
    let mut functions: Vec<String> = Vec::new();
    for symbol in shown {
        if functions.len() == NAMED {
            break;
        }
        let name = match symbol.is_named() {
            true => symbol.name.to_string(),
            false => symbol.in_chain(),
        };
        if functions.last() != Some(&name) {
            functions.push(name);
        }
    }
    functions
}

/// What is between the libraries by which a program waits, which are innermost, and those that started it. All if
/// there is nothing.
fn own_part<T>(
    frames: &[T],
    is_library: impl Fn(&T) -> bool,
    is_start: impl Fn(&T) -> bool,
) -> &[T] {
    let library = frames.iter().take_while(|it| is_library(it)).count();
    let starts = frames.iter().rev().take_while(|it| is_start(it)).count();
    let own = frames.get(library..frames.len() - starts);
    own.filter(|own| !own.is_empty()).unwrap_or(frames)
}

/// Whether this is a library that programs wait by.
fn is_c_library(module: &str) -> bool {
    let starts = [
        "libc.so",
        "libc-",
        "libc.musl",
        "ld-musl",
        "ld-linux",
        "libpthread",
        "libjvm.so",
        "[vdso]",
    ];
    starts.iter().any(|start| module.starts_with(start))
}

/// How functions begin that programs wait by: of the runtimes and standard libraries of Go, Rust, C++ and Java.
const WAITED_BY: [&str; 20] = [
    "runtime.",
    "runtime/internal/",
    "internal/runtime/",
    "internal/poll.",
    "sync.",
    "std::sys::",
    "<std::sys::",
    "std::sync::",
    "<std::sync::",
    "std::thread::",
    "<std::thread::",
    "core::ptr::drop_in_place",
    "parking_lot",
    "lock_api::",
    "std::mutex::",
    "std::condition_variable::",
    "__gthread_",
    "monitorenter_",
    "monitorexit_",
    "jdk.internal.misc.Unsafe.park",
];

/// Whether a program or a thread begins in a function, which is none of the program's own.
fn starts_threads(function: &str) -> bool {
    let starts = ["core::ops::function::", "Interpreter", "StubRoutines"];
    function == "_start" || starts.iter().any(|start| function.starts_with(start))
}

/// Whether a function is of what a language's programs wait by.
fn is_of_runtime(function: &str) -> bool {
    WAITED_BY.iter().any(|start| function.starts_with(start))
}

/// Functions of the kernel by which an interrupt begins, which has nothing to do with the thread that it stops.
const INTERRUPTS: [&str; 5] = [
    "asm_sysvec_",
    "asm_common_interrupt",
    "common_interrupt",
    "el0_irq",
    "el1_irq",
];
/// What an interrupt is told as, by parts of names of the kernel's functions in it.
const BY_INTERRUPT: [(&str, &str); 6] = [
    ("hrtimer_", "[timer]"),
    ("run_timer_", "[timer]"),
    ("net_rx_action", "[network]"),
    ("napi_", "[network]"),
    ("blk_", "[disk]"),
    ("bio_", "[disk]"),
];

/// What a waker's frames, innermost first, are told as.
pub(crate) fn waker_functions(
    profile: &Profile,
    places: &Places,
    frames: impl Iterator<Item = FrameId>,
) -> Vec<String> {
    let frames: Vec<_> = frames.collect();
    let symbols = frames.iter().flat_map(|&frame| places.of_frame(frame));
    let symbols: Vec<_> = symbols.map(|place| places.symbol_at(place)).collect();
    let kernel = || {
        let symbols = symbols.iter().filter(|symbol| symbol.level() == 'k');
        symbols.map(|symbol| &*symbol.name)
    };
    let is_interrupt = |name: &str| INTERRUPTS.iter().any(|start| name.starts_with(start));
    if kernel().any(is_interrupt) {
        let by = BY_INTERRUPT.iter();
        let told = by
            .clone()
            .find(|(part, _)| kernel().any(|name| name.contains(part)));
        return vec![told.map_or("[interrupt]", |(_, told)| told).to_owned()];
    }
    wait_functions(profile, places, frames.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_language_waits_by_is_not_the_programs_own() {
        for function in [
            "std::sync::poison::mutex::Mutex<T>::lock",
            "<std::sync::mpmc::context::Context>::wait_until",
            "monitorenter_nofpu Runtime1 stub",
            "sync.(*Mutex).Lock",
        ] {
            assert!(is_of_runtime(function), "{function}");
        }
        for function in ["cv::Cache::get", "synchronize", "Srv.get", "std::vector"] {
            assert!(!is_of_runtime(function), "{function}");
        }
    }

    #[test]
    fn a_programs_own_part_lies_between_libraries_and_where_there_is_none_all_is_shown() {
        let own = |frames: &'static str| {
            let frames: Vec<char> = frames.chars().collect();
            let own = own_part(&frames, |it| *it == 'l', |it| matches!(it, 'l' | 's'));
            own.iter().collect::<String>()
        };
        assert_eq!(own("llablls"), "ab");
        assert_eq!(own("alb"), "alb");
        assert_eq!(own("lls"), "lls"); // before main
        assert_eq!(own("ll"), "ll");
        assert_eq!(own(""), "");
    }
}
