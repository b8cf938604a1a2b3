//! What the kernel counted for processes, or for the whole machine, from one moment to another.
//!
//! In: process ids, or nothing for the machine. Out: plain values ([`Vitals`]): CPU time used and waited for,
//! quota and throttling, what blocked threads wait in, memory, time stolen, pressure. What could not be read is
//! `None`, never 0. Elsewhere: samples (`prof-session`), what is said about both (`prof-cli`).
#![forbid(unsafe_code)]

mod cgroup; // CPU quota, time throttled, memory limit
mod machine; // all CPUs, and who stalls
mod members; // the processes of a target
mod memory; // what processes have resident
mod meter; // from one moment to another
mod syscalls; // what system calls are called
mod task; // one process or thread
mod threads; // the threads of a target, look by look
mod waits; // what blocked threads wait in

pub use cgroup::{Bandwidth, Cgroup, Limits, MemoryUse, memory_use};
pub use machine::{MachineTime, Pressure, Stalls, machine_time};
pub use members::share_of_ended_children;
pub use memory::Memory;
pub use meter::{CpuUse, Growth, Meter, Quota, Subject, Vitals};
pub use task::allowed_cpus;
pub use threads::ThreadUse;
pub use waits::{Wait, Waits};
