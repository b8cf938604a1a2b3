//! What one event of the kernel covers.

use prof_model::Tid;

/// What one event covers on its CPU. Every [`crate::Target`] is opened as one or more of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything that runs there.
    Everything,
    /// One thread, and what it starts if the event is inherited.
    Thread(Tid),
    /// What runs in a cgroup and below it: the descriptor of its folder, which the target keeps open.
    Cgroup(i32),
}
