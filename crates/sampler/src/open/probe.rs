//! Whether an event is here at all.

use prof_event::abi::flag;
use prof_event::{EventAttr, EventSpec};
use prof_model::Tid;

use crate::host;
use crate::scope::Scope;
use crate::sys::EventFd;

/// Whether this machine can sample an event that needs nothing but its attr: it is opened for trial, on this
/// process's user code. One that only lacks permission is here.
pub fn is_here(spec: &EventSpec) -> bool {
    let mut attr = EventAttr {
        sample_period_or_freq: 1 << 20,
        ..EventAttr::default()
    };
    spec.apply(&mut attr);
    attr.set(
        flag::DISABLED | flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV,
        true,
    );
    let ourselves = Scope::Thread(Tid(std::process::id() as i32));
    let cpu = host::online_cpus()[0];
    match EventFd::open(&attr, ourselves, cpu, None) {
        Ok(_) => true,
        Err(error) => !matches!(
            error.raw_os_error(),
            Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV | libc::EINVAL)
        ),
    }
}
