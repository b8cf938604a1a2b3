//! Opening events: which attrs, on which threads and CPUs, into which rings.

use std::io;

use prof_event::abi::{X86_USER_REGS, event_type, flag, read_format, sample};
use prof_event::{
    Event, EventAttr, EventGroup, EventKind, EventList, EventSet, EventSpec, GroupSpec,
};
use prof_model::{Cpu, Pid, Tid};

use crate::host;
use crate::options::{Note, Options, Rate, StackCapture, Target};
use crate::proc;
use crate::ring::Ring;
use crate::sys::EventFd;

/// What every sample has. One event alone needs no id by which it could be told from others.
const COMMON: u64 = sample::IP | sample::TID | sample::TIME | sample::PERIOD;
const MIN_RING: usize = 512 << 10;
const MAX_RING: usize = 16 << 20;
/// Switching between large and small copies takes 2 us for each instance of an event; with more of them
/// the rings would fill meanwhile.
const MOST_SWITCHED: u64 = 4000;
/// Files that the program needs besides events.
const SPARE_FILES: u64 = 128;

/// An event could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// `perf_event_open` refused.
    #[error("could not open event `{event}`{}{}", on_task(*.task), on_cpu(*.cpu))]
    Event {
        /// Its name.
        event: String,
        /// The thread or process; -1: all.
        task: i32,
        /// The CPU.
        cpu: Cpu,
        /// Whether it was to join a group.
        in_group: bool,
        /// The kernel's answer.
        source: io::Error,
    },
    /// There is no such process or thread.
    #[error("no process or thread with id {0}")]
    NoSuchTask(i32),
    /// A ring could not be mapped, not even the smallest.
    #[error("could not map a ring buffer of {bytes} bytes for CPU {cpu}")]
    Ring {
        /// How large.
        bytes: usize,
        /// Whose.
        cpu: Cpu,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A tracepoint is not in tracefs.
    #[error("no tracepoint `{system}:{name}`")]
    NoTracepoint {
        /// `sched`
        system: String,
        /// `sched_switch`
        name: String,
        /// Why its number could not be read.
        source: io::Error,
    },
    /// A CPU that was asked for is not there.
    #[error("CPU {0} is not online")]
    NoSuchCpu(Cpu),
    /// More descriptors than allowed.
    #[error(
        "sampling {tasks} threads on {cpus} CPUs needs {needed} open files and {limit} are allowed"
    )]
    TooManyFiles {
        /// Threads.
        tasks: usize,
        /// CPUs.
        cpus: usize,
        /// Threads x CPUs x events.
        needed: u64,
        /// `ulimit -n`.
        limit: u64,
    },
    /// Anything else.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn on_task(task: i32) -> String {
    if task < 0 {
        String::new()
    } else {
        format!(" for pid {task}")
    }
}

fn on_cpu(cpu: Cpu) -> String {
    format!(" on CPU {cpu}")
}

/// One CPU's ring. It belongs to a dummy event on ourselves, which outlives every thread of the
/// target; the target's events write into it.
#[derive(Debug)]
pub(crate) struct CpuRing {
    pub(crate) cpu: Cpu,
    pub(crate) owner: EventFd,
    pub(crate) ring: Ring,
}

/// What was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) rings: Vec<CpuRing>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) events: EventSet,
    pub(crate) notes: Vec<Note>,
    /// Set where whole CPUs are sampled and only these processes and their children are kept.
    pub(crate) keep: Option<Vec<Pid>>,
}

/// An event as it was opened on one thread and CPU.
#[derive(Debug)]
pub(crate) struct Instance {
    /// Of [`Opened::events`].
    pub(crate) event: usize,
    pub(crate) fd: EventFd,
    /// The same with a smaller copy of the stack. One of the two is enabled.
    pub(crate) small: Option<EventFd>,
}

impl Instance {
    /// What is open of it.
    pub(crate) fn fds(&self) -> impl Iterator<Item = &EventFd> {
        std::iter::once(&self.fd).chain(&self.small)
    }
}

/// An attr with its name while it is being settled.
struct Wanted {
    name: String,
    attr: EventAttr,
    /// The attr of its counterpart with a smaller copy of the stack.
    small: Option<EventAttr>,
    may_become_cpu_clock: bool,
    /// The first event of its group, unless that is itself.
    leader: Option<usize>,
}

impl Wanted {
    /// Whether its samples carry the counters of its group.
    fn counts_for_group(&self) -> bool {
        self.attr.sample_type & sample::READ != 0
    }
}

pub(crate) fn open(options: &Options) -> Result<Opened, OpenError> {
    let mut notes = Vec::new();
    let mut wanted = wanted_events(options, &mut notes)?;
    let cpus = cpus_of(options)?;
    let tasks = tasks_of(&options.target)?;
    let probe = tasks.first().copied().unwrap_or(-1);
    for event in &mut wanted {
        settle(event, probe, cpus[0], &mut notes)?;
    }

    let limit = host::raise_file_limit().saturating_sub(SPARE_FILES);
    let needed = (tasks.len().max(1) * cpus.len() * wanted.len()) as u64;
    let mut keep = None;
    let mut tasks = tasks;
    if needed > limit {
        let Target::Processes(pids) = &options.target else {
            return Err(too_many(&tasks, &cpus, needed, limit));
        };
        if wanted.iter().any(Wanted::counts_for_group) {
            return Err(too_many(&tasks, &cpus, needed, limit)); // a CPU counts for others, too
        }
        settle(&mut wanted[0], -1, cpus[0], &mut Vec::new())
            .map_err(|_| too_many(&tasks, &cpus, needed, limit))?;
        notes.push(Note::FilteredCpus { needed, limit });
        keep = Some(pids.clone());
        tasks = vec![-1];
    } else if matches!(options.target, Target::System) {
        tasks = vec![-1];
    }

    add_small_copies(options, &mut wanted, tasks.len() * cpus.len(), limit);
    let rings = open_rings(options, &wanted, &cpus, &mut notes)?;
    let mut opened = Opened {
        rings,
        instances: Vec::new(),
        events: EventSet::default(),
        notes,
        keep,
    };
    let mut ids = vec![Vec::new(); wanted.len()];
    let mut done = Vec::new();
    loop {
        // Threads that start meanwhile may have missed some CPUs' events: look again until no new
        // one is there.
        for &task in &tasks {
            open_task(&mut opened, &wanted, task, &mut ids)?;
        }
        done.extend_from_slice(&tasks);
        if !matches!(options.target, Target::Processes(_)) || opened.keep.is_some() {
            break;
        }
        tasks = tasks_of(&options.target)?;
        tasks.retain(|task| !done.contains(task));
        if tasks.is_empty() {
            break;
        }
    }
    if opened.instances.is_empty() {
        return Err(OpenError::NoSuchTask(probe)); // it exited meanwhile
    }
    opened.events.set_groups(groups(&options.events));
    for (wanted, ids) in wanted.into_iter().zip(ids) {
        opened.events.push(Event {
            attr: wanted.attr,
            name: wanted.name,
            ids,
        });
    }
    Ok(opened)
}

/// Gives events counterparts with smaller copies, where they may take turns and there are files enough
/// for that on `places` threads and CPUs.
fn add_small_copies(options: &Options, wanted: &mut [Wanted], places: usize, limit: u64) {
    let StackCapture::CopyAsNeeded { small, .. } = options.stacks else {
        return;
    };
    // What counts must not miss an event in between.
    let may_take_turns = |event: &Wanted| {
        event.leader.is_none()
            && event.attr.frequency().is_some()
            && event.attr.sample_type & sample::READ == 0
    };
    let instances = places as u64 * wanted.len() as u64;
    // Threads that start meanwhile need files, too.
    if instances > MOST_SWITCHED || 4 * instances > limit {
        return;
    }
    if !wanted.iter().all(may_take_turns) {
        return;
    }
    for event in wanted {
        if event.attr.sample_stack_user > small {
            let mut attr = event.attr.clone();
            attr.sample_stack_user = small;
            attr.set(flag::EXCLUDE_CALLCHAIN_USER, true);
            attr.set(flag::ENABLE_ON_EXEC, false);
            event.small = Some(attr);
        }
    }
}

fn too_many(tasks: &[i32], cpus: &[Cpu], needed: u64, limit: u64) -> OpenError {
    OpenError::TooManyFiles {
        tasks: tasks.len(),
        cpus: cpus.len(),
        needed,
        limit,
    }
}

fn wanted_events(options: &Options, notes: &mut Vec<Note>) -> Result<Vec<Wanted>, OpenError> {
    let cycles = || EventSpec::parse("cycles").expect("perf's default event");
    let list = match &options.events {
        list if list.events.is_empty() => &EventList::from(cycles()),
        list => list,
    };
    let rate = clamp_rate(options.rate, notes);
    // All events have the same fields in front of what is their own, see `Fields`.
    let mut common = COMMON;
    let is_tracepoint = |spec: &EventSpec| matches!(spec.kind, EventKind::Tracepoint { .. });
    if options.sample_cpu || list.events.iter().any(is_tracepoint) {
        common |= sample::CPU;
    }
    if list.events.len() > 1 {
        common |= sample::IDENTIFIER;
    }
    let mut wanted = Vec::new();
    for (index, spec) in list.events.iter().enumerate() {
        let mut attr = base_attr(options, index == 0);
        attr.sample_type |= common;
        spec.apply(&mut attr);
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
        if let EventKind::Tracepoint { system, name } = &spec.kind {
            attr.config = tracepoint_id(system, name)?;
            attr.sample_type |= sample::RAW;
        }
        if spec.exclude_user {
            attr.sample_type &= !(sample::REGS_USER | sample::STACK_USER);
            attr.sample_regs_user = 0;
            attr.sample_stack_user = 0;
        }
        wanted.push(Wanted {
            name: spec.name.clone(),
            may_become_cpu_clock: (attr.kind, attr.config) == (event_type::HARDWARE, 0),
            attr,
            small: None,
            leader: None,
        });
    }
    for group in &list.groups {
        join(&mut wanted, group);
    }
    Ok(wanted)
}

/// Makes the events of a group follow their leader, which starts and stops all of them.
fn join(wanted: &mut [Wanted], group: &GroupSpec) {
    let Some((leader, members)) = wanted[group.members.clone()].split_first_mut() else {
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
fn groups(list: &EventList) -> Vec<EventGroup> {
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
            notes.push(Note::Rate {
                asked: hz,
                used: limit,
            });
            Rate::Frequency(limit)
        }
        rate => rate,
    }
}

fn base_attr(options: &Options, tracks: bool) -> EventAttr {
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
        options.inherit && !matches!(options.target, Target::System),
    );
    attr.set(
        flag::ENABLE_ON_EXEC,
        matches!(options.target, Target::Command(_)),
    );
    const TRACKING: u64 =
        flag::MMAP | flag::MMAP2 | flag::COMM | flag::COMM_EXEC | flag::TASK | flag::KSYMBOL;
    attr.set(TRACKING, tracks);
    match options.stacks {
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

fn tracepoint_id(system: &str, name: &str) -> Result<u64, OpenError> {
    let read = |root: &str| std::fs::read_to_string(format!("{root}/events/{system}/{name}/id"));
    let text = read("/sys/kernel/tracing").or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => read("/sys/kernel/debug/tracing"), // where it was before Linux 4.1
        _ => Err(error),
    });
    text.and_then(|text| text.trim().parse().map_err(io::Error::other))
        .map_err(|source| OpenError::NoTracepoint {
            system: system.to_owned(),
            name: name.to_owned(),
            source,
        })
}

fn cpus_of(options: &Options) -> Result<Vec<Cpu>, OpenError> {
    let online = host::online_cpus();
    let Some(asked) = &options.cpus else {
        return Ok(online);
    };
    match asked.iter().find(|cpu| !online.contains(cpu)) {
        Some(&missing) => Err(OpenError::NoSuchCpu(missing)),
        None if asked.is_empty() => Ok(online),
        None => Ok(asked.clone()),
    }
}

/// The threads to open events on; none for the whole system.
fn tasks_of(target: &Target) -> Result<Vec<i32>, OpenError> {
    match target {
        Target::System => Ok(Vec::new()),
        Target::Command(pid) => Ok(vec![pid.0]),
        Target::Threads(tids) => Ok(tids.iter().map(|tid| tid.0).collect()),
        Target::Processes(pids) => {
            let mut tasks = Vec::new();
            for &pid in pids {
                let threads = proc::threads(pid).map_err(|_| OpenError::NoSuchTask(pid.0))?;
                tasks.extend(threads.into_iter().map(|Tid(tid)| tid));
            }
            Ok(tasks)
        }
    }
}

/// Finds what of an event the kernel grants, on one thread and CPU.
fn settle(event: &mut Wanted, task: i32, cpu: Cpu, notes: &mut Vec<Note>) -> Result<(), OpenError> {
    loop {
        let Err(error) = EventFd::open(&event.attr, task, cpu.0, None) else {
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
                event.attr.config = 0;
                event
                    .attr
                    .set(flag::PRECISE_IP_1 | flag::PRECISE_IP_2, false);
            }
            _ if is_forbidden(&error) && may_exclude_kernel => {
                event
                    .attr
                    .set(flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV, true);
                let again = EventFd::open(&event.attr, task, cpu.0, None).err();
                if again.is_some_and(|again| is_forbidden(&again)) {
                    return Err(refused(event, task, cpu, error)); // user code is no more allowed
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
            _ => return Err(refused(event, task, cpu, error)),
        }
    }
}

fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM))
}

fn refused(event: &Wanted, task: i32, cpu: Cpu, source: io::Error) -> OpenError {
    if source.raw_os_error() == Some(libc::ESRCH) {
        return OpenError::NoSuchTask(task);
    }
    OpenError::Event {
        event: event.name.clone(),
        task,
        cpu,
        in_group: event.leader.is_some(),
        source,
    }
}

/// Room for about 150 ms of samples: a reader that is kept off the CPU that long loses nothing.
fn ring_size(options: &Options, wanted: &[Wanted]) -> usize {
    if let Some(bytes) = options.ring_bytes {
        let pages = bytes.div_ceil(crate::sys::page_size());
        return pages.next_power_of_two() * crate::sys::page_size();
    }
    let per_second: u64 = wanted
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

fn open_rings(
    options: &Options,
    wanted: &[Wanted],
    cpus: &[Cpu],
    notes: &mut Vec<Note>,
) -> Result<Vec<CpuRing>, OpenError> {
    const DUMMY: u64 = 9;
    let asked = ring_size(options, wanted);
    let mut size = asked;
    let mut rings = Vec::new();
    let mut cpus = cpus.to_vec();
    while let Some(&cpu) = cpus.get(rings.len()) {
        let attr = EventAttr {
            kind: event_type::SOFTWARE,
            config: DUMMY,
            flags: flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV | flag::USE_CLOCKID | flag::WATERMARK,
            clockid: options.clock.id,
            wakeup: (size / 4) as u32,
            ..EventAttr::default()
        };
        let owner = match EventFd::open(&attr, std::process::id() as i32, cpu.0, None) {
            Ok(owner) => owner,
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) && cpus.len() > 1 => {
                cpus.remove(rings.len()); // it went offline
                continue;
            }
            Err(source) => {
                return Err(OpenError::Event {
                    event: wanted[0].name.clone(),
                    task: -1,
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
                    && size > crate::sys::page_size() =>
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

/// Opens every event of one thread on every CPU. A thread that is gone is no error.
fn open_task(
    opened: &mut Opened,
    wanted: &[Wanted],
    task: i32,
    ids: &mut [Vec<u64>],
) -> Result<(), OpenError> {
    for cpu_ring in &opened.rings {
        let of_cpu = opened.instances.len();
        let open = |attr: &EventAttr, leader: Option<&EventFd>| {
            let mut attr = attr.clone();
            attr.wakeup = (cpu_ring.ring.size() / 4) as u32;
            EventFd::open(&attr, task, cpu_ring.cpu.0, leader)
        };
        for (index, event) in wanted.iter().enumerate() {
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
                Err(source) => return Err(refused(event, task, cpu_ring.cpu, source)),
            };
            // Without it there are large copies.
            let small = event.small.as_ref().and_then(|attr| open(attr, None).ok());
            let instance = Instance {
                event: index,
                fd,
                small,
            };
            for fd in instance.fds() {
                fd.set_output(&cpu_ring.owner)?;
                ids[index].push(fd.id()?);
            }
            opened.instances.push(instance);
        }
    }
    Ok(())
}
