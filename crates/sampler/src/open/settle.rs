//! What the kernel grants of an event: it is opened for trial, and asked for less until it opens.

use std::io;

use prof_event::abi::{event_type, flag, read_format, software};
use prof_model::Cpu;

use super::attrs::PlannedEvent;
use super::error::OpenError;
use crate::host;
use crate::options::Note;
use crate::scope::Scope;
use crate::sys::EventFd;

/// Finds what of an event the kernel grants, on one CPU.
pub(super) fn settle(
    event: &mut PlannedEvent,
    scope: Scope,
    cpu: Cpu,
    notes: &mut Vec<Note>,
) -> Result<(), OpenError> {
    loop {
        let Err(error) = EventFd::open(&event.attr, scope, cpu, None) else {
            return Ok(());
        };
        let may_exclude_kernel = !event.attr.has(flag::EXCLUDE_KERNEL)
            && !event.attr.has(flag::EXCLUDE_USER)
            && event.attr.kind != event_type::TRACEPOINT;
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV) if event.may_become_cpu_clock => {
                event.may_become_cpu_clock = false;
                let used = event.name.replacen("cpu-cycles", "cycles", 1);
                let used = used.replacen("cycles", "cpu-clock", 1);
                let used = used.trim_end_matches('p').trim_end_matches(':').to_owned();
                notes.push(Note::OtherEvent {
                    asked: std::mem::replace(&mut event.name, used.clone()),
                    used,
                });
                event.attr.kind = event_type::SOFTWARE;
                event.attr.config = software::CPU_CLOCK;
                event
                    .attr
                    .set(flag::PRECISE_IP_1 | flag::PRECISE_IP_2, false);
            }
            _ if is_forbidden(&error) && may_exclude_kernel => {
                event
                    .attr
                    .set(flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV, true);
                let again = EventFd::open(&event.attr, scope, cpu, None).err();
                if again.is_some_and(|again| is_forbidden(&again)) {
                    return Err(refused(event, scope, cpu, error)); // user code is no more allowed
                }
                let separator = if event.name.contains(':') { "" } else { ":" };
                event.name = format!("{}{separator}u", event.name);
                let note = Note::UserOnly {
                    paranoid: host::paranoid(),
                };
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
            Some(libc::EINVAL) if event.counts_for_group() && event.attr.has(flag::INHERIT) => {
                event.attr.set(flag::INHERIT, false); // Linux before 6.13
                if !notes.contains(&Note::GroupsNotInherited) {
                    notes.push(Note::GroupsNotInherited);
                }
            }
            Some(libc::EINVAL) if event.attr.read_format & read_format::LOST != 0 => {
                event.attr.read_format &= !read_format::LOST; // Linux before 6.0
            }
            Some(libc::EINVAL) if event.attr.has(flag::KSYMBOL) => {
                event.attr.set(flag::KSYMBOL, false); // Linux before 5.1
            }
            _ => return Err(refused(event, scope, cpu, error)),
        }
    }
}

fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM))
}

pub(super) fn refused(
    event: &PlannedEvent,
    scope: Scope,
    cpu: Cpu,
    source: io::Error,
) -> OpenError {
    if let (Scope::Thread(tid), Some(libc::ESRCH)) = (scope, source.raw_os_error()) {
        return OpenError::NoSuchTask(tid);
    }
    OpenError::Event {
        event: event.name.clone(),
        scope,
        cpu,
        in_group: event.leader.is_some(),
        source,
    }
}
