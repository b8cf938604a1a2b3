//! Files of stock perf read by `prof`, and files of `prof` read by others. The judge is the `perf` of
//! the machine: what it prints about the same file.
#![forbid(unsafe_code)]

mod aarch64; // stacks of another architecture
mod asked; // options and what the kernel is asked for
mod big_endian; // files of other machines
mod branches; // that CPUs took
mod cut_off; // recorders that did not end well
mod foreign; // other machines, other versions of perf
mod handmade; // recordings of machines that are not at hand
mod kernels; // names from the right file only
mod lab; // a program to record, and what prints about a recording
mod many_samples; // more than are kept
mod matrix; // every kind of file that perf writes
mod memory; // accesses to it
mod names_of_others; // that are orders to a terminal
mod orders; // rows and their order, by keys, columns and filters
mod others; // what perf and inferno make of our files
mod pipes; // through pipes and perf inject
mod rules; // where `prof` says something else than perf, and why
mod script; // `perf script` beside `prof script`
mod script_events; // the records beside the samples
mod table; // `perf report` beside `prof report`
mod tracepoints; // formats as no kernel writes them

#[path = "../../../unwinder/tests/support/emulator.rs"]
mod emulator; // runs programs of another architecture

#[allow(dead_code)] // of the end-to-end tests
#[path = "../e2e/support.rs"]
mod support;
