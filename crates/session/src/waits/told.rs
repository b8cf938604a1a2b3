//! The event that waits are told as, and its records. No kernel sends them: they are made here, in the layout of
//! the other events.

use prof_event::abi::{callchain, event_type, flag, misc, record, sample, software};
use prof_event::{Event as SampledEvent, EventAttr, EventSet, RecordBuilder};
use prof_model::{Cpu, Pid, Tid};

use crate::wakers::is_of_wakings;

/// The event's name, perf's for the same.
pub(crate) const OFFCPU_TIME: &str = "offcpu-time";
/// Its id. The kernel counts ids from 1 on.
const ID: u64 = 1 << 62;

/// The events of a sampler as records are read by them: those that are sampled, the one that waits are told as, and
/// last what makes waits of it. Without switches they are as they were.
pub(crate) fn with_waits(sampled: &EventSet) -> EventSet {
    let tells = sampled
        .events()
        .first()
        .is_some_and(|it| it.attr.has(flag::CONTEXT_SWITCH));
    let Some((switches, others)) = sampled.events().split_last().filter(|_| tells) else {
        return sampled.clone();
    };
    if sampled.by_id(ID).is_some() {
        return sampled.clone();
    }
    let is_tracking = |event: &&SampledEvent| {
        (event.attr.kind, event.attr.config) == (event_type::SOFTWARE, software::DUMMY)
    };
    let (wakings, others) = match others.split_last() {
        Some((last, others)) if is_of_wakings(last) => (Some(last), others),
        _ => (None, others),
    };
    let waits = SampledEvent {
        attr: attr(&switches.attr),
        name: OFFCPU_TIME.to_owned(),
        ids: vec![ID],
    };
    let mut events = EventSet::default();
    events.set_groups(sampled.groups().to_vec());
    let others = others.iter();
    others
        .clone()
        .filter(|it| !is_tracking(it))
        .for_each(|it| events.push(it.clone()));
    events.push(waits);
    wakings.into_iter().for_each(|it| events.push(it.clone()));
    events.push(switches.clone());
    others
        .filter(is_tracking)
        .for_each(|it| events.push(it.clone()));
    events
}

/// Whether a file has no samples of this event of these, because they are told as waits.
pub(crate) fn is_told_otherwise(events: &EventSet, index: usize) -> bool {
    let is_behind = events.by_id(ID).is_some_and(|waits| index > waits);
    is_behind && !events.events().get(index).is_some_and(is_of_wakings)
}

/// perf has its own waits as output of a BPF program.
fn attr(switches: &EventAttr) -> EventAttr {
    let mut attr = switches.clone();
    attr.kind = event_type::SOFTWARE;
    attr.config = software::BPF_OUTPUT;
    attr.sample_type &= !(sample::REGS_USER | sample::STACK_USER);
    attr.sample_type |= sample::PERIOD | sample::CALLCHAIN;
    attr.sample_regs_user = 0;
    attr.sample_stack_user = 0;
    attr.set(flag::EXCLUDE_CALLCHAIN_USER, true); // the user's part is unwound: callers are call sites
    attr.set(flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV, false);
    attr
}

/// The event.
pub(super) struct Event {
    attr: EventAttr,
}

/// What a wait's sample says.
pub(super) struct Fields<'a> {
    /// The flags of the switch record that began the wait.
    pub(super) misc: u16,
    /// Who waited.
    pub(super) task: (Pid, Tid),
    /// When the wait ended.
    pub(super) time: u64,
    /// Where it stopped running.
    pub(super) cpu: Option<Cpu>,
    /// What it lasted, in nanoseconds.
    pub(super) period: u64,
    /// From where.
    pub(super) chain: &'a [u64],
}

impl Event {
    /// That of these events and its index, if it is one of them.
    pub(super) fn of(events: &EventSet) -> Option<(usize, Self)> {
        let index = events.by_id(ID)?;
        let attr = events.events().get(index)?.attr.clone();
        Some((index, Self { attr }))
    }

    /// A sample's record. `None` if its callchain is too long for one.
    pub(super) fn record(&self, fields: &Fields<'_>) -> Option<Vec<u8>> {
        let has = |bit: u64| self.attr.sample_type & bit != 0;
        let is_kernel = |entry: &&u64| **entry == callchain::KERNEL;
        let mode = match fields.chain.first().filter(is_kernel) {
            Some(_) => misc::KERNEL,
            None => misc::USER,
        };
        let mut addresses = fields
            .chain
            .iter()
            .filter(|&&entry| entry < callchain::FIRST);
        let mut out = Vec::new();
        let mut made = RecordBuilder::new(&mut out, record::SAMPLE, mode | fields.misc);
        made.u64(ID);
        made.u64(addresses.next().copied().unwrap_or(0));
        made.u32(fields.task.0.0 as u32).u32(fields.task.1.0 as u32);
        made.u64(fields.time);
        if has(sample::CPU) {
            made.u32(fields.cpu.map_or(0, |cpu| cpu.0)).u32(0);
        }
        made.u64(fields.period);
        made.u64(fields.chain.len() as u64);
        for &entry in fields.chain {
            made.u64(entry);
        }
        made.finish().ok()?;
        Some(out)
    }
}
