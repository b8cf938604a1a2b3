//! Events as they are opened, each of them on every CPU.

use prof_event::EventAttr;

use super::Opened;
use super::attrs::PlannedEvent;
use super::error::OpenError;
use super::settle::refused;
use crate::options::StackCopies;
use crate::scope::Scope;
use crate::sys::EventFd;

/// An event as it was opened for one scope on one CPU.
#[derive(Debug)]
pub(crate) struct Instance {
    /// Of [`Opened::events`].
    pub(crate) event: usize,
    pub(crate) fd: EventFd,
    /// The same with a smaller copy of the stack. One of all is enabled.
    pub(crate) small: Option<EventFd>,
    /// The same with what lies behind the copy.
    pub(crate) deep: Option<EventFd>,
}

impl Instance {
    /// What is open of it.
    pub(crate) fn fds(&self) -> impl Iterator<Item = &EventFd> {
        std::iter::once(&self.fd)
            .chain(&self.small)
            .chain(&self.deep)
    }

    /// The one of these copies; without it the one of large copies.
    pub(crate) fn with(&self, copies: StackCopies) -> &EventFd {
        let other = match copies {
            StackCopies::Large => None,
            StackCopies::Small => self.small.as_ref(),
            StackCopies::Deep => self.deep.as_ref(),
        };
        other.unwrap_or(&self.fd)
    }
}

/// Opens every event of one scope on every CPU. A thread that is gone is no error.
pub(super) fn open_scope(
    opened: &mut Opened,
    planned: &[PlannedEvent],
    scope: Scope,
    ids: &mut [Vec<u64>],
) -> Result<(), OpenError> {
    for cpu_ring in &opened.rings {
        let of_cpu = opened.instances.len();
        let open = |attr: &EventAttr, leader: Option<&EventFd>| {
            let mut attr = attr.clone();
            attr.wakeup = (cpu_ring.ring.size() / 4) as u32;
            EventFd::open(&attr, scope, cpu_ring.cpu, leader)
        };
        for (index, event) in planned.iter().enumerate() {
            let leader = match event.leader {
                None => None,
                Some(leader) => {
                    let mut instances = opened.instances[of_cpu..].iter();
                    let Some(leader) = instances.find(|instance| instance.event == leader) else {
                        continue; // this CPU went offline
                    };
                    Some(&leader.fd)
                }
            };
            let fd = match open(&event.attr, leader) {
                Ok(fd) => fd,
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => continue,
                Err(source) => return Err(refused(event, scope, cpu_ring.cpu, source)),
            };
            // Without it there are large copies.
            let small = event.small.as_ref().and_then(|attr| open(attr, None).ok());
            let deep = event.deep.as_ref().and_then(|attr| {
                let fd = open(attr, None).ok()?;
                opened.deep.as_ref().ok()?.attach(&fd).ok()?;
                Some(fd)
            });
            let instance = Instance {
                event: index,
                fd,
                small,
                deep,
            };
            for fd in instance.fds() {
                if let Some(filter) = &event.filter {
                    let refused = |source| OpenError::Filter {
                        event: event.name.clone(),
                        filter: filter.clone(),
                        source,
                    };
                    fd.set_filter(filter).map_err(refused)?;
                }
                fd.set_output(&cpu_ring.owner)?;
                ids[index].push(fd.id()?);
            }
            opened.instances.push(instance);
        }
    }
    Ok(())
}
