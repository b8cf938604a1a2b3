//! Opens perf events on a target and drains its ring buffers.
//!
//! In: whom to sample, what to count. Out: raw records in time order, lent to a [`Sink`]; first those
//! that tell what was there before. Elsewhere: decoding (`prof-event`), unwinding, files. The target
//! is never stopped, traced or changed.
#![deny(unsafe_code)]

mod bytes; // single numbers
mod cgroup; // as a target
mod deep_stacks; // what lies behind the copies of stacks
mod descendants; // children of processes
mod host; // CPUs and limits of this machine
mod joining; // who joins while others are sampled
mod kept; // whose records are passed on
mod launch; // a command, held before it begins
mod lineage; // who was forked from whom
mod memory; // of a process that runs
mod newcomers; // who moves into a cgroup
mod open; // what is asked, what the kernel grants, rings, threads x CPUs
mod options; // what is asked, what was done differently
mod priority; // what the draining thread has of the CPU before others
pub mod proc; // what /proc tells
#[allow(unsafe_code)] // memory that the kernel writes
mod ring; // the kernel's ring buffer
mod sampler; // rounds and time order
mod scope; // what one event covers
mod shared_memory; // whose mappings are others', too
mod synthesize; // records for what was there before
#[allow(unsafe_code)] // what no crate makes safe
mod sys; // system calls
mod tracefs; // tracepoints
mod unseen_mappings; // made by who is not sampled

pub use cgroup::Cgroup;
pub use deep_stacks::{NoDeepStacks, StackPart};
pub use host::{max_sample_rate, online_cpus, paranoid, parse_cpu_list};
pub use joining::Joined;
pub use launch::{ExitStatus, HeldCommand, RunningCommand};
pub use lineage::forked_from;
pub use memory::read_memory;
pub use open::{OpenError, is_here as event_is_here};
pub use options::{Clock, Note, Options, Rate, StackCapture, StackCopies, Switches, Target};
pub use priority::Priority;
pub use sampler::{Sampler, Sink};
pub use scope::Scope;
pub use sys::{page_size, perf_is_filtered};
pub use tracefs::{matches_pattern, tracepoint_format, tracepoints};
