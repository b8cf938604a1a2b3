//! A ring for each CPU, as large as the memory-lock limit permits.

use std::io;

use prof_event::EventAttr;
use prof_event::abi::{event_type, flag, software};
use prof_model::{Cpu, Tid};

use super::attrs::PlannedEvent;
use super::error::OpenError;
use crate::host::raise_locked_limit;
use crate::options::{Clock, Note, Options};
use crate::ring::Ring;
use crate::scope::Scope;
use crate::sys::{EventFd, page_size};

const MIN_RING: usize = 512 << 10;
const MAX_RING: usize = 16 << 20;

/// One CPU's ring. It belongs to a dummy event on ourselves, which outlives every thread of the
/// target; the target's events write into it.
#[derive(Debug)]
pub(crate) struct CpuRing {
    pub(crate) cpu: Cpu,
    pub(crate) owner: EventFd,
    pub(crate) ring: Ring,
}

/// Bytes of a ring: room for about 150 ms of samples, so that a reader that is kept off the CPU that long loses
/// nothing.
fn ring_size(options: &Options, planned: &[PlannedEvent]) -> usize {
    options
        .ring_bytes
        .map_or_else(|| room_for(planned), whole_ring)
}

fn whole_ring(bytes: usize) -> usize {
    bytes.div_ceil(page_size()).next_power_of_two() * page_size()
}

/// Bytes for a seventh of a second.
fn room_for(planned: &[PlannedEvent]) -> usize {
    let per_second: u64 = planned
        .iter()
        .filter(|event| event.attr.sample_period_or_freq != 0)
        .map(|event| {
            let record = 1024 + u64::from(event.attr.sample_stack_user);
            event
                .attr
                .frequency()
                .unwrap_or(4000)
                .saturating_mul(record)
        })
        .fold(0, u64::saturating_add);
    let bytes = usize::try_from(per_second / 7).unwrap_or(MAX_RING);
    bytes.clamp(MIN_RING, MAX_RING).next_power_of_two()
}

pub(super) fn open_rings(
    options: &Options,
    planned: &[PlannedEvent],
    cpus: &[Cpu],
    notes: &mut Vec<Note>,
) -> Result<Vec<CpuRing>, OpenError> {
    let asked = ring_size(options, planned);
    let mut size = asked;
    raise_locked_limit();
    let mut rings = Vec::new();
    let mut cpus = cpus.to_vec();
    while let Some(&cpu) = cpus.get(rings.len()) {
        let owner = match open_owner(options.clock, size, cpu) {
            Ok(owner) => owner,
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) && cpus.len() > 1 => {
                cpus.remove(rings.len()); // it went offline
                continue;
            }
            Err(source) => {
                return Err(OpenError::Event {
                    event: planned[0].name.clone(),
                    scope: Scope::Everything,
                    cpu,
                    in_group: false,
                    source,
                });
            }
        };
        match Ring::map(&owner, size) {
            Ok(ring) => rings.push(CpuRing { cpu, owner, ring }),
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOMEM))
                    && size > page_size() =>
            {
                rings.clear(); // all alike: start again with half
                size /= 2;
            }
            Err(source) => {
                return Err(OpenError::Ring {
                    bytes: size,
                    cpu,
                    source,
                });
            }
        }
    }
    if size < asked {
        notes.push(Note::Rings { asked, used: size });
    }
    Ok(rings)
}

/// The event on ourselves that a ring of so many bytes belongs to.
fn open_owner(clock: Clock, size: usize, cpu: Cpu) -> io::Result<EventFd> {
    let attr = EventAttr {
        kind: event_type::SOFTWARE,
        config: software::DUMMY,
        flags: flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV | flag::USE_CLOCKID | flag::WATERMARK,
        clockid: clock.id,
        wakeup: (size / 4) as u32,
        ..EventAttr::default()
    };
    let ourselves = Scope::Thread(Tid(std::process::id() as i32));
    EventFd::open(&attr, ourselves, cpu, None)
}
