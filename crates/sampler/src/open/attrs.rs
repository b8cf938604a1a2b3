//! What is asked for, as attrs. Whether the kernel grants them is seen in `settle.rs`.

use prof_event::abi::{X86_USER_REGS, event_type, flag, hardware, read_format, sample, software};
use prof_event::{
    EventAttr, EventGroup, EventKind, EventList, EventRate, EventSpec, EventStacks, GroupSpec,
};
use prof_model::Cpu;

use super::error::OpenError;
use super::pmu;
use crate::deep_stacks::{DeepStacks, NoDeepStacks};
use crate::host;
use crate::options::{
    Clock, Note, Options, Rate, SWITCHES, StackCapture, Switches, Target, WAKINGS,
};
use crate::tracefs::tracepoint_id;

/// What every sample has. One event alone needs no id by which it could be told from others.
const COMMON: u64 = sample::IP | sample::TID | sample::TIME | sample::PERIOD;
/// Switching between large and small copies takes 2 us for each instance of an event; with more of them
/// the rings would fill meanwhile.
const MAX_SWITCHED: u64 = 4000;
/// Bytes of the stack of a thread that stops running.
const SWITCH_COPY: u32 = 8_192;

/// An event that is to be opened, while it is being settled what it is.
#[derive(Debug)]
pub(super) struct PlannedEvent {
    pub(super) name: String,
    pub(super) attr: EventAttr,
    /// The attr of its counterpart with a smaller copy of the stack.
    pub(super) small: Option<EventAttr>,
    /// The attr of its counterpart that has what lies behind the copy read.
    pub(super) deep: Option<EventAttr>,
    pub(super) may_become_cpu_clock: bool,
    /// The first event of its group, unless that is itself.
    pub(super) leader: Option<usize>,
    /// Which hits of a tracepoint count.
    pub(super) filter: Option<String>,
}

impl PlannedEvent {
    /// Whether it shows where threads stop running, or who wakes them.
    fn is_of_waits(&self) -> bool {
        let is_of = (self.attr.kind, self.attr.config);
        let is_of_switches = is_of == (event_type::SOFTWARE, software::CONTEXT_SWITCHES)
            && self.attr.frequency().is_none();
        is_of_switches || self.name == wakings_name()
    }

    /// Whether its samples carry the counters of its group.
    pub(super) fn counts_for_group(&self) -> bool {
        self.attr.sample_type & sample::READ != 0
    }
}

pub(super) fn plan_events(
    options: &Options,
    notes: &mut Vec<Note>,
) -> Result<Vec<PlannedEvent>, OpenError> {
    let cycles = || EventSpec::parse("cycles").expect("perf's default event");
    let list = match &options.events {
        _ if options.switches == Switches::Alone => &EventList::default(),
        list if list.events.is_empty() => &EventList::from(cycles()),
        list => list,
    };
    let rate = clamp_rate(options.rate, notes);
    // All events have the same fields in front of what is their own: `EventSet::time_of` and
    // `KeptProcesses` find times and processes without asking which event a record belongs to.
    let mut common = COMMON;
    let is_tracepoint = |spec: &EventSpec| matches!(spec.kind, EventKind::Tracepoint { .. });
    if options.sample_cpu || list.events.iter().any(is_tracepoint) {
        common |= sample::CPU;
    }
    if options.addresses {
        common |= sample::ADDR;
    }
    if list.events.len() > 1 || options.switches != Switches::Unrecorded {
        common |= sample::IDENTIFIER; // waits are told as an event of their own
    }
    let mut planned = Vec::new();
    for (index, spec) in list.events.iter().enumerate() {
        let mut attr = base_attr(options, stacks_of(spec, options), index == 0);
        attr.sample_type |= common;
        spec.apply(&mut attr);
        let rate = match spec.rate {
            None => rate,
            Some(EventRate::Period(period)) => Rate::Period(period),
            Some(EventRate::Frequency(hz)) => clamp_rate(Rate::Frequency(hz), notes),
        };
        match rate {
            Rate::Period(period) => {
                attr.sample_period_or_freq = period;
                // Asked for periods, the kernel samples every software event, each with its own.
                attr.sample_type &= !if period > 1 { sample::PERIOD } else { 0 };
            }
            Rate::Frequency(hz) if attr.kind != event_type::TRACEPOINT => {
                attr.set(flag::FREQ, true);
                attr.sample_period_or_freq = hz;
            }
            _ => attr.sample_period_or_freq = 1,
        }
        match &spec.kind {
            EventKind::Config { .. } => {}
            EventKind::Pmu { pmu, terms } => pmu::configure(&mut attr, pmu, terms)?,
            EventKind::Tracepoint { system, name } => {
                let id = tracepoint_id(system, name);
                attr.config = id.map_err(|source| OpenError::NoTracepoint {
                    system: system.clone(),
                    name: name.clone(),
                    source,
                })?;
                attr.sample_type |= sample::RAW;
            }
        }
        if spec.exclude_user {
            attr.sample_type &= !(sample::REGS_USER | sample::STACK_USER);
            attr.sample_regs_user = 0;
            attr.sample_stack_user = 0;
        }
        planned.push(PlannedEvent {
            name: spec.name.clone(),
            may_become_cpu_clock: (attr.kind, attr.config)
                == (event_type::HARDWARE, hardware::CPU_CYCLES),
            attr,
            small: None,
            deep: None,
            leader: None,
            filter: spec.filter.clone(),
        });
    }
    for group in &list.groups {
        join(&mut planned, group);
    }
    if options.switches == Switches::Alone {
        planned.push(plan_tracking(options, common));
    }
    if options.switches != Switches::Unrecorded {
        if options.wakers {
            planned.push(plan_wakings(options, common)?);
        }
        planned.push(plan_switches(options, common));
        planned[0].attr.set(flag::CONTEXT_SWITCH, true);
    }
    Ok(planned)
}

/// An event without samples, which tells of mappings, tasks and switches, also while samples are not wanted.
fn plan_tracking(options: &Options, common: u64) -> PlannedEvent {
    let mut attr = base_attr(options, StackCapture::None, true);
    attr.kind = event_type::SOFTWARE;
    attr.config = software::DUMMY;
    attr.sample_type |= common;
    attr.sample_period_or_freq = 1;
    planned_alone("dummy", attr)
}

/// A sample whenever a thread stops running. What lies behind its copy of the stack is still there when it is
/// looked for, since the thread waits.
fn plan_switches(options: &Options, common: u64) -> PlannedEvent {
    let stacks = match options.stacks {
        StackCapture::Copy(_) | StackCapture::CopyAsNeeded { .. } => {
            StackCapture::Copy(SWITCH_COPY)
        }
        stacks => stacks,
    };
    let mut attr = base_attr(options, stacks, false);
    attr.kind = event_type::SOFTWARE;
    attr.config = software::CONTEXT_SWITCHES;
    attr.sample_type |= common;
    attr.sample_period_or_freq = 1;
    planned_alone(SWITCHES, attr)
}

fn wakings_name() -> String {
    format!("{}:{}", WAKINGS.0, WAKINGS.1)
}

/// A sample whenever a thread wakes another one. It may come so often as those of switches do.
fn plan_wakings(options: &Options, common: u64) -> Result<PlannedEvent, OpenError> {
    let (system, name) = WAKINGS;
    let mut planned = plan_switches(options, common);
    planned.attr.kind = event_type::TRACEPOINT;
    planned.attr.config =
        tracepoint_id(system, name).map_err(|source| OpenError::NoTracepoint {
            system: system.to_owned(),
            name: name.to_owned(),
            source,
        })?;
    planned.attr.sample_type |= sample::RAW;
    planned.name = wakings_name();
    Ok(planned)
}

fn planned_alone(name: &str, attr: EventAttr) -> PlannedEvent {
    PlannedEvent {
        name: name.to_owned(),
        attr,
        small: None,
        deep: None,
        may_become_cpu_clock: false,
        leader: None,
        filter: None,
    }
}

/// Makes the events of a group follow their leader, which starts and stops all of them.
fn join(planned: &mut [PlannedEvent], group: &GroupSpec) {
    let Some((leader, members)) = planned[group.members.clone()].split_first_mut() else {
        return;
    };
    let leader_samples = group.leader_samples && !members.is_empty();
    if leader_samples {
        leader.attr.sample_type |= sample::READ;
        leader.attr.read_format |= read_format::GROUP;
    }
    for member in members {
        member.leader = Some(group.members.start);
        let attr = &mut member.attr;
        attr.set(flag::DISABLED | flag::ENABLE_ON_EXEC, false);
        if leader_samples {
            // It takes no samples of its own: those of the leader stand for its own.
            attr.set(flag::FREQ, false);
            attr.sample_period_or_freq = 0;
            attr.sample_type = leader.attr.sample_type;
            attr.sample_regs_user = leader.attr.sample_regs_user;
            attr.sample_stack_user = leader.attr.sample_stack_user;
            attr.read_format = leader.attr.read_format;
        }
    }
}

/// What the file says about groups: one event alone is none.
pub(super) fn groups(list: &EventList) -> Vec<EventGroup> {
    let groups = list.groups.iter();
    let groups = groups.filter(|group| group.members.len() > 1);
    let group = |group: &GroupSpec| EventGroup {
        name: group.name.clone().unwrap_or("{anon_group}".to_owned()),
        leader: group.members.start as u32,
        members: group.members.len() as u32,
    };
    groups.map(group).collect()
}

fn clamp_rate(rate: Rate, notes: &mut Vec<Note>) -> Rate {
    let limit = host::max_sample_rate();
    match rate {
        Rate::MaxFrequency => Rate::Frequency(limit),
        Rate::Frequency(hz) if hz > limit => {
            let note = Note::Rate {
                asked: hz,
                used: limit,
            };
            if !notes.contains(&note) {
                notes.push(note);
            }
            Rate::Frequency(limit)
        }
        rate => rate,
    }
}

/// Gives events counterparts with smaller copies, where they may take turns and there are files enough
/// for that on `places` threads and CPUs.
pub(super) fn add_small_copies(
    options: &Options,
    planned: &mut [PlannedEvent],
    places: usize,
    limit: u64,
) {
    let StackCapture::CopyAsNeeded { small, .. } = options.stacks else {
        return;
    };
    let are_sampled = |event: &&PlannedEvent| !event.is_of_waits();
    let take_turns = planned.iter().filter(are_sampled).all(may_take_turns);
    if are_too_many(planned, places, limit, 2) || !take_turns {
        return;
    }
    for event in planned.iter_mut().filter(|event| !event.is_of_waits()) {
        if event.attr.sample_stack_user > small {
            let mut attr = event.attr.clone();
            attr.sample_stack_user = small;
            attr.set(flag::EXCLUDE_CALLCHAIN_USER, true);
            attr.set(flag::ENABLE_ON_EXEC, false);
            event.small = Some(attr);
        }
    }
}

/// Gives the event a counterpart that has what lies behind the copies of stacks read, and loads what reads it.
pub(super) fn add_deep_copies(
    options: &Options,
    planned: &mut [PlannedEvent],
    cpus: &[Cpu],
    places: usize,
    limit: u64,
) -> Result<DeepStacks, NoDeepStacks> {
    if are_too_many(planned, places, limit, 3) {
        return Err(NoDeepStacks::TooMany);
    }
    // What was read is known by thread and time, so that samples of other events might be given it.
    let [event] = planned else {
        return Err(NoDeepStacks::OtherEvents);
    };
    if event.attr.sample_type & sample::STACK_USER == 0 {
        return Err(NoDeepStacks::NoCopies);
    }
    if !may_take_turns(event) || options.clock != Clock::MONOTONIC {
        return Err(NoDeepStacks::OtherEvents);
    }
    let deep = DeepStacks::load(cpus, event.attr.sample_stack_user)?;
    let mut attr = event.attr.clone();
    attr.set(flag::ENABLE_ON_EXEC, false);
    event.deep = Some(attr);
    Ok(deep)
}

/// What counts must not miss an event in between.
fn may_take_turns(event: &PlannedEvent) -> bool {
    event.leader.is_none()
        && event.attr.frequency().is_some()
        && event.attr.sample_type & sample::READ == 0
}

/// Whether there are too many events to have them take turns, `variants` of each.
fn are_too_many(planned: &[PlannedEvent], places: usize, limit: u64, variants: u64) -> bool {
    let instances = places as u64 * planned.len() as u64;
    // Threads that start meanwhile need files, too.
    instances > MAX_SWITCHED || 2 * variants * instances > limit
}

/// What of the user's stack an event takes.
fn stacks_of(spec: &EventSpec, options: &Options) -> StackCapture {
    match (spec.stacks, options.stacks) {
        (None, stacks) => stacks,
        (Some(EventStacks::None), _) => StackCapture::None,
        (Some(EventStacks::FramePointers), _) => StackCapture::FramePointers,
        (Some(EventStacks::Copy), StackCapture::None | StackCapture::FramePointers) => {
            StackCapture::for_rate(options.rate)
        }
        (Some(EventStacks::Copy), stacks) => stacks,
    }
}

fn base_attr(options: &Options, stacks: StackCapture, tracks: bool) -> EventAttr {
    let mut attr = EventAttr {
        read_format: read_format::ID | read_format::LOST,
        flags: flag::DISABLED
            | flag::SAMPLE_ID_ALL
            | flag::EXCLUDE_GUEST
            | flag::USE_CLOCKID
            | flag::WATERMARK,
        clockid: options.clock.id,
        ..EventAttr::default()
    };
    attr.set(
        flag::INHERIT,
        options.inherit && !matches!(options.target, Target::System | Target::Cgroup(_)),
    );
    attr.set(
        flag::ENABLE_ON_EXEC,
        matches!(options.target, Target::Command(_)),
    );
    const TRACKING: u64 =
        flag::MMAP | flag::MMAP2 | flag::COMM | flag::COMM_EXEC | flag::TASK | flag::KSYMBOL;
    attr.set(TRACKING, tracks);
    match stacks {
        StackCapture::None => {}
        StackCapture::FramePointers => attr.sample_type |= sample::CALLCHAIN,
        StackCapture::Copy(bytes) | StackCapture::CopyAsNeeded { large: bytes, .. } => {
            attr.sample_type |= sample::CALLCHAIN | sample::REGS_USER | sample::STACK_USER;
            attr.sample_regs_user = X86_USER_REGS;
            attr.sample_stack_user = bytes;
        }
    }
    attr
}
