//! Who is meant.
//!
//! In: what people have of a service, as they type it: a number, a name, `:8080`, a container, a unit, a cgroup.
//! Out: processes, and a cgroup where there is one; facts about each process. Elsewhere: sampling them
//! (`prof-sampler`); choosing between several, and all that is printed (`prof-cli`).
#![forbid(unsafe_code)]

mod cgroups; // hierarchies, the groups of a process, folders
mod containers; // which there are, and what they are called
mod facts; // about one process
mod find; // what is asked to who is meant
mod follower; // who comes later
mod groups; // containers, units, cgroups
mod listeners; // who listens on a port
mod names; // what a process may be called
mod not_found; // what was looked for in vain
mod programs; // which processes belong together
mod runtimes; // the names that runtimes give to containers

pub use containers::{container_id, container_of};
pub use facts::{CpuShares, Facts, resident_bytes};
pub use find::{Candidate, Found, Wanted, find, is_process};
pub use follower::{Followed, Follower};
pub use names::near;
pub use not_found::NotFound;
