//! The reports beside `prof report`: compared with those of stock perf, on fresh recordings.

mod annotate; // instructions with shares
mod diff; // two recordings of programs with known shares
mod lists; // evlist, buildid-list
mod options; // options of perf: taken as perf takes them, or refused with what to do instead
mod support;
