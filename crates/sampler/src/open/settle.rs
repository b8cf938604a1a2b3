//! What the kernel grants of an event: it is opened for trial, and asked for less until it opens.

use std::io;

use prof_event::EventAttr;
use prof_event::abi::{event_type, flag, read_format, software};
use prof_model::Cpu;

use super::attrs::PlannedEvent;
use super::concessions::{is_forbidden, least_given_up};
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
    let mut open = |attr: &EventAttr| EventFd::open(attr, scope, cpu, None).map(drop);
    settle_by(event, notes, &mut open).map_err(|error| refused(event, scope, cpu, error))
}

/// As [`settle`], with `open` as the kernel's answer to an attr.
fn settle_by(
    event: &mut PlannedEvent,
    notes: &mut Vec<Note>,
    open: &mut dyn FnMut(&EventAttr) -> io::Result<()>,
) -> io::Result<()> {
    let mut note = |note: Note| {
        if !notes.contains(&note) {
            notes.push(note);
        }
    };
    loop {
        let Err(error) = open(&event.attr) else {
            return Ok(());
        };
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV) if event.may_become_cpu_clock => {
                event.may_become_cpu_clock = false;
                let used = event.name.replacen("cpu-cycles", "cycles", 1);
                let used = used.replacen("cycles", "cpu-clock", 1);
                let used = used.trim_end_matches('p').trim_end_matches(':').to_owned();
                note(Note::OtherEvent {
                    asked: std::mem::replace(&mut event.name, used.clone()),
                    used,
                });
                event.attr.kind = event_type::SOFTWARE;
                event.attr.config = software::CPU_CLOCK;
                event
                    .attr
                    .set(flag::PRECISE_IP_1 | flag::PRECISE_IP_2, false);
            }
            _ if is_forbidden(&error) => {
                let Some(permitted) = least_given_up(&event.attr, open) else {
                    return Err(error); // user code is no more allowed
                };
                let before = std::mem::replace(&mut event.attr, permitted);
                if event.attr.has(flag::EXCLUDE_KERNEL) && !before.has(flag::EXCLUDE_KERNEL) {
                    let ends_name = event.name.contains(':') || event.name.ends_with('/');
                    let separator = if ends_name { "" } else { ":" };
                    event.name = format!("{}{separator}u", event.name);
                    note(Note::UserOnly {
                        paranoid: host::paranoid(),
                    });
                } else if !event.attr.has(flag::EXCLUDE_KERNEL)
                    && event.attr.has(flag::EXCLUDE_CALLCHAIN_KERNEL)
                {
                    note(Note::NoKernelCallers);
                }
            }
            Some(libc::EINVAL) if event.counts_for_group() && event.attr.has(flag::INHERIT) => {
                event.attr.set(flag::INHERIT, false); // Linux before 6.13
                note(Note::GroupsNotInherited);
            }
            Some(libc::EINVAL) if event.attr.read_format & read_format::LOST != 0 => {
                event.attr.read_format &= !read_format::LOST; // Linux before 6.0
            }
            Some(libc::EINVAL) if event.attr.has(flag::KSYMBOL) => {
                event.attr.set(flag::KSYMBOL, false); // Linux before 5.1
            }
            _ => return Err(error),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use prof_event::EventSpec;
    use prof_event::abi::sample;

    /// What a kernel answers: `Ok`, or the number of an error.
    type Rule = fn(&EventAttr) -> Result<(), i32>;

    fn planned(event: &str) -> PlannedEvent {
        let spec = EventSpec::parse(event).unwrap();
        let mut attr = EventAttr {
            sample_type: sample::IP | sample::CALLCHAIN,
            flags: flag::KSYMBOL | flag::INHERIT,
            ..EventAttr::default()
        };
        spec.apply(&mut attr);
        PlannedEvent {
            name: spec.name,
            attr,
            small: None,
            deep: None,
            may_become_cpu_clock: event.starts_with("cycles"),
            leader: None,
            filter: None,
        }
    }

    fn settled(event: &str, rule: Rule) -> Result<(PlannedEvent, Vec<Note>), i32> {
        let (mut event, mut notes) = (planned(event), Vec::new());
        let mut open = |attr: &EventAttr| rule(attr).map_err(io::Error::from_raw_os_error);
        match settle_by(&mut event, &mut notes, &mut open) {
            Ok(()) => Ok((event, notes)),
            Err(error) => Err(error.raw_os_error().unwrap()),
        }
    }

    fn excludes(event: &PlannedEvent) -> [bool; 3] {
        let attr = &event.attr;
        let excludes = [flag::EXCLUDE_KERNEL, flag::EXCLUDE_CALLCHAIN_KERNEL];
        let [samples, callers] = excludes.map(|it| attr.has(it));
        [samples, callers, !attr.has(flag::KSYMBOL)]
    }

    fn is_user_only(notes: &[Note]) -> bool {
        matches!(notes, [Note::UserOnly { .. }])
    }

    /// Level 2 as of Linux 6.12.117 and 7.2.
    fn callers_too(attr: &EventAttr) -> Result<(), i32> {
        let callers =
            attr.sample_type & sample::CALLCHAIN != 0 && !attr.has(flag::EXCLUDE_CALLCHAIN_KERNEL);
        match attr.has(flag::EXCLUDE_KERNEL) && !callers {
            true => Ok(()),
            false => Err(libc::EACCES),
        }
    }

    /// The same of kernels before that.
    fn samples_only(attr: &EventAttr) -> Result<(), i32> {
        match attr.has(flag::EXCLUDE_KERNEL) {
            true => Ok(()),
            false => Err(libc::EACCES),
        }
    }

    #[test]
    fn a_kernel_that_refuses_its_callers_too_is_asked_for_neither() {
        for event in ["cycles", "cpu-clock"] {
            let (event, notes) = settled(event, callers_too).unwrap();
            assert_eq!(excludes(&event), [true, true, false]);
            assert!(event.name.ends_with(":u") && is_user_only(&notes));
        }
        for event in ["cycles:u", "cpu-clock:u"] {
            let (settled, notes) = settled(event, callers_too).unwrap();
            assert_eq!(excludes(&settled), [true, true, false]);
            assert_eq!((settled.name.as_str(), notes), (event, Vec::new()));
        }
    }

    #[test]
    fn no_more_is_given_up_than_has_to_be() {
        let (event, notes) = settled("cycles", samples_only).unwrap();
        assert_eq!(excludes(&event), [true, false, false]);
        assert!(is_user_only(&notes));
        let (event, notes) = settled("cycles:u", samples_only).unwrap();
        assert_eq!(
            (excludes(&event), notes),
            ([true, false, false], Vec::new())
        );
        let (event, notes) = settled("cycles", |_| Ok(())).unwrap();
        assert_eq!((excludes(&event), notes), ([false; 3], Vec::new()));
        let no_callers: Rule = |attr| match attr.has(flag::EXCLUDE_CALLCHAIN_KERNEL) {
            true => Ok(()),
            false => Err(libc::EPERM),
        };
        let (event, notes) = settled("cycles", no_callers).unwrap();
        assert_eq!(excludes(&event), [false, true, false]);
        assert_eq!(notes, [Note::NoKernelCallers]);
        let no_news: Rule = |attr| match attr.has(flag::KSYMBOL) {
            true => Err(libc::EACCES),
            false => callers_too(attr),
        };
        let (event, _) = settled("cycles", no_news).unwrap();
        assert_eq!(excludes(&event), [true; 3]);
    }

    #[test]
    fn a_machine_without_a_pmu_is_asked_for_time_with_what_it_permits() {
        let no_pmu: Rule = |attr| {
            callers_too(attr)?; // the attr is looked at before the hardware
            match attr.kind == event_type::SOFTWARE {
                true => Ok(()),
                false => Err(libc::ENOENT),
            }
        };
        let (event, notes) = settled("cycles", no_pmu).unwrap();
        assert_eq!(event.name, "cpu-clock:u");
        assert_eq!(excludes(&event), [true, true, false]);
        assert_eq!(notes.len(), 2);
    }

    #[test]
    fn what_is_forbidden_in_every_way_is_refused_as_it_was_asked_for() {
        assert_eq!(
            settled("cycles", |_| Err(libc::EPERM)).err(),
            Some(libc::EPERM)
        );
        assert_eq!(
            settled("cpu-clock:k", callers_too).err(),
            Some(libc::EACCES)
        );
    }
}
