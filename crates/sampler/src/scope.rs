//! What one event of the kernel covers.

use prof_model::Tid;

/// What one event covers on its CPU. Every [`crate::Target`] is opened as one or more of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything that runs there.
    Everything,
    /// One thread, and what it starts if the event is inherited.
    Thread(Tid),
}
