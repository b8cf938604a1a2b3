//! The program as its users run it: on real processes, with real files.

mod bounds; // files that would take gigabytes
mod containers;
mod deep_stacks; // behind the copy
mod demo; // the first command of the README
mod doctor; // what works, and whether its remedies help
mod ends; // by signals
mod errors; // what goes wrong, and what is said about it
mod events; // terms, patterns, filters, and which there are
mod files; // what is left on disk
mod generated; // code that programs make
mod interop; // stock perf reads what prof wrote
mod mem; // what malloc keeps
mod moved_text; // programs that move their text into huge pages
mod names; // odd ones, and none
mod namespaces; // overlays, other roots, containers that run on
mod options; // the arguments of `prof record`
mod overwritten; // libraries that change while they are recorded
mod pictures; // flame graphs and folded stacks
mod rates; // high frequencies
mod starved; // more work than CPUs
mod strangers; // files that others made
mod support;
mod targets; // whom `-p`, `-t` and `-a` mean
mod waits; // time that threads wait
mod whom; // names, ports, containers, cgroups
mod why; // each statement against the kernel's counters
mod writing; // where files are written, and where they cannot be
