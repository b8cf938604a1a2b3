use std::panic;
use std::thread::{self, Builder, ScopedJoinHandle};

/// Does one thing here and another on a thread beside; one after the other where there can be no
/// further thread.
pub(crate) fn at_once<A, B: Send>(
    here: impl FnOnce() -> A,
    beside: impl Fn() -> B + Sync,
) -> (A, B) {
    thread::scope(|scope| {
        let other = Builder::new().spawn_scoped(scope, &beside);
        let here = here();
        let other = match other.map(ScopedJoinHandle::join) {
            Ok(done) => done.unwrap_or_else(|panic| panic::resume_unwind(panic)),
            Err(_) => beside(),
        };
        (here, other)
    })
}
