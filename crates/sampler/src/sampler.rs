//! Draining the rings, in time order.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use prof_event::abi::{read_format, record, sample};
use prof_event::{Event, EventSet, RawRecord, RecordBuilder, SampleId};
use prof_model::{KernelLayout, Pid, Tid, VirtAddr};

use crate::bytes::u64_at;
use crate::cgroup::by_processes_if_needed;
use crate::deep_stacks::{DeepStacks, NoDeepStacks, StackPart};
use crate::descendants::{Child, Descendants};
use crate::joining::{Joined, Joining};
use crate::kept::KeptProcesses;
use crate::newcomers::Newcomers;
use crate::open::{CpuRing, Instance, OpenError, Opened, can_join, open, open_further};
use crate::options::{Clock, Note, Options, StackCapture, StackCopies, Switches, Target};
use crate::priority::{Priority, Raised, cpu_time};
use crate::proc;
use crate::shared_memory::SharedMemory;
use crate::synthesize::Synthesizer;
use crate::sys;
use crate::unseen_mappings::UnseenMappings;

/// Takes the records of a recording, in time order.
pub trait Sink {
    /// One record, lent for the call.
    ///
    /// # Errors
    /// Ends the recording.
    fn record(&mut self, raw: RawRecord<'_>) -> io::Result<()>;

    /// A sample with counters of its group from before the recording begins: only what they stand at
    /// is of interest.
    ///
    /// # Errors
    /// Ends the recording.
    fn skipped(&mut self, _raw: RawRecord<'_>) -> io::Result<()> {
        Ok(())
    }

    /// What lay behind a sample's copy of the stack. Comes before the sample.
    ///
    /// # Errors
    /// Ends the recording.
    fn stack_part(&mut self, _part: StackPart<'_>) -> io::Result<()> {
        Ok(())
    }

    /// Every ring was visited; what comes later is later in time.
    ///
    /// # Errors
    /// Ends the recording.
    fn finish_round(&mut self) -> io::Result<()>;
}

/// Samples a target. Made disabled: [`Self::start`] begins.
#[derive(Debug)]
pub struct Sampler {
    opened: Opened,
    options: Options,
    exits: Vec<OwnedFd>, // readable when a target process has exited
    started_at: u64,
    rounds: Rounds,
    kept: Option<KeptProcesses>,
    newcomers: Option<Newcomers>, // where a whole cgroup is sampled
    has_had_members: bool,        // the cgroup
    joining: Joining,
    shared: SharedMemory,
    unseen: UnseenMappings,
    scratch: Vec<Vec<u8>>, // for each ring
    early: Vec<u8>,        // records that came while /proc was being read
    turns: Turns,
    samples_switches: bool,
    priority: Option<Raised>,
    fullness: f64,
}

/// Which of the events of each instance is enabled.
#[derive(Debug, Default)]
struct Turns {
    copies: StackCopies,
    /// When to enable and disable once more.
    repeat_at: Option<Instant>,
    /// Whether there are so many threads that a switch takes long.
    are_slow: bool,
}

/// A thread that is being started has its events by then.
const UNTIL_STARTED: Duration = Duration::from_millis(2);
/// A switch goes through all threads that were started since the events were opened; samples are counted
/// twice while it does, and the rings wait. It is CPU time: that others were let run meanwhile says nothing.
const SLOW_SWITCH: Duration = Duration::from_millis(10);

/// What a sample takes in a ring beside the copy of its stack, roughly.
const OTHER_FIELDS: u32 = 512;

/// Which records may be passed on: those from before the previous round began. A record's time is
/// taken a little before the record is complete, so the newest ones may still have company to come.
#[derive(Debug, Default)]
struct Rounds {
    previous: u64,
}

impl Sampler {
    /// Opens the events.
    ///
    /// # Errors
    /// [`OpenError`]; nothing stays open.
    pub fn open(mut options: Options) -> Result<Self, OpenError> {
        options.target = options.target.by_process();
        let by_processes = by_processes_if_needed(&mut options)?;
        let mut opened = open(&options)?;
        opened.notes.splice(0..0, by_processes);
        let exits = match &options.target {
            Target::Processes(pids) => pids.clone(),
            Target::Threads(tids) => tids
                .iter()
                .filter_map(|tid| proc::process_of(tid.0))
                .collect(),
            Target::Command(_) | Target::System | Target::Cgroup(_) => Vec::new(),
        };
        let exits = exits
            .iter()
            .filter_map(|pid| sys::pidfd_open(pid.0).ok())
            .collect();
        let keep = opened.keep.as_ref();
        Ok(Self {
            kept: keep.map(|pids| KeptProcesses::new(pids, &opened.events)),
            newcomers: matches!(options.target, Target::Cgroup(_))
                .then(|| Newcomers::new(&opened.events)),
            has_had_members: false,
            joining: Joining::default(),
            shared: SharedMemory::default(),
            unseen: UnseenMappings::default(),
            scratch: Vec::new(),
            opened,
            options,
            exits,
            started_at: 0,
            rounds: Rounds::default(),
            early: Vec::new(),
            turns: Turns::default(),
            samples_switches: true,
            priority: None,
            fullness: 0.0,
        })
    }

    /// The events as they were opened.
    pub fn events(&self) -> &EventSet {
        &self.opened.events
    }

    /// What was done differently than asked.
    pub fn notes(&self) -> &[Note] {
        &self.opened.notes
    }

    /// Bytes of each CPU's ring, the largest where there are several.
    pub fn ring_bytes(&self) -> usize {
        let sizes = self.opened.rings.iter().map(|ring| ring.ring.size());
        sizes.max().unwrap_or(0)
    }

    /// How many CPUs are sampled.
    pub fn cpu_count(&self) -> usize {
        let cpus = self.opened.rings.iter().map(|ring| ring.cpu);
        cpus.collect::<BTreeSet<_>>().len()
    }

    /// How full the fullest ring was when the last round began, 1 being full. While copies are small: how
    /// full it would have been with large ones.
    pub fn fullness(&self) -> f64 {
        self.fullness
    }

    /// The clock of all times.
    pub fn clock(&self) -> Clock {
        self.options.clock
    }

    /// Starts sampling and tells the sink what is there already: the kernel, names, mappings.
    /// Samples from before all that was told, and from the first `delay`, are not passed on.
    ///
    /// A command's sampling starts when its program begins; release it after this.
    ///
    /// # Errors
    /// The sink's, or the kernel's on enabling.
    pub fn start(
        &mut self,
        kernel: Option<&KernelLayout>,
        delay: Duration,
        sink: &mut dyn Sink,
    ) -> io::Result<()> {
        let on_exec = matches!(self.options.target, Target::Command(_));
        if !on_exec {
            // Before /proc is read, so that no mapping made in between is missed.
            for instance in &self.opened.instances {
                instance.fd.enable()?;
            }
            self.started_at = u64::MAX;
        }
        let mut bytes = Vec::new();
        self.synthesizer(&mut bytes).kernel(kernel);
        emit(&bytes, sink)?;
        let mut drained = Instant::now();
        let mut present = Vec::new();
        for (pid, named) in self.present()? {
            present.push(pid);
            if let Some(kept) = &mut self.kept {
                kept.add(pid);
            }
            if let Some(newcomers) = &mut self.newcomers {
                newcomers.add(pid);
            }
            self.joining.is_sampled(pid);
            self.shared.add(pid);
            bytes.clear();
            let lineage = matches!(self.options.target, Target::System | Target::Cgroup(_))
                || self.kept.is_some();
            let readable = self.synthesizer(&mut bytes).process(pid, lineage);
            if !readable && named {
                self.opened.notes.push(Note::UnreadableMaps { pid });
            }
            emit(&bytes, sink)?;
            if drained.elapsed() > Duration::from_millis(20) {
                self.keep_early()?;
                drained = Instant::now();
            }
        }
        self.unseen = UnseenMappings::of(match self.options.target {
            Target::Threads(_) => present,
            _ => self.shared.with_others(&present),
        });
        let now = self.options.clock.now();
        let delay = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        self.started_at = match (on_exec, delay) {
            (true, 0) => 0,
            _ => now.saturating_add(delay),
        };
        let early = std::mem::take(&mut self.early);
        for raw in records_of(&early) {
            let raw = raw?;
            match raw.kind {
                record::SAMPLE => sink.skipped(raw)?,
                _ => sink.record(raw)?,
            }
        }
        sink.finish_round()
    }

    /// The processes whose state is to be told, and whether the user named them. Children are looked for when
    /// their turn comes, for that may take long.
    fn present(&self) -> io::Result<impl Iterator<Item = (Pid, bool)> + use<>> {
        let (named, parents) = match &self.options.target {
            Target::Command(_) | Target::System => (Vec::new(), Vec::new()),
            Target::Cgroup(cgroup) => (cgroup.members(), Vec::new()),
            Target::Processes(pids) if self.options.inherit => (pids.clone(), pids.clone()),
            Target::Processes(pids) => (pids.clone(), Vec::new()),
            Target::Threads(tids) => {
                let mut pids: Vec<_> = tids
                    .iter()
                    .filter_map(|tid| proc::process_of(tid.0))
                    .collect();
                pids.sort();
                pids.dedup();
                (pids, Vec::new())
            }
        };
        let others = match &self.options.target {
            Target::System => proc::processes()?,
            _ => Vec::new(),
        };
        let children = Descendants::of(&parents).filter(Child::is_running);
        let children = children.map(|child| child.pid);
        let named = named.into_iter().map(|pid| (pid, true));
        let others = others.into_iter().chain(children).map(|pid| (pid, false));
        Ok(named.chain(others))
    }

    fn synthesizer<'b>(&self, out: &'b mut Vec<u8>) -> Synthesizer<'b> {
        let sample_type = self.opened.events.events()[0].attr.sample_type;
        Synthesizer { out, sample_type }
    }

    /// Empties the rings while `/proc` is being read: samples are dropped, the rest waits its turn.
    fn keep_early(&mut self) -> io::Result<()> {
        struct Early<'a>(&'a mut Vec<u8>);
        impl Sink for Early<'_> {
            fn record(&mut self, raw: RawRecord<'_>) -> io::Result<()> {
                self.0.extend_from_slice(raw.bytes);
                Ok(())
            }
            fn skipped(&mut self, raw: RawRecord<'_>) -> io::Result<()> {
                self.record(raw)
            }
            fn finish_round(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut early = std::mem::take(&mut self.early);
        let result = self.round(&mut Early(&mut early));
        self.early = early;
        result.map(|_| ())
    }

    /// Has the calling thread, which is to empty the rings, come before others that are ready to run, until
    /// [`Self::finish`]: with a real-time priority (`SCHED_FIFO`, 1 to 99) if one is given, else as far as is
    /// permitted. What the thread starts does not inherit it. Where it takes more than a fifth of a CPU, it is
    /// as all others for a second.
    ///
    /// # Errors
    /// The kernel's, of a real-time priority; else what is not permitted is gone without.
    pub fn raise_priority(&mut self, realtime: Option<u8>) -> io::Result<()> {
        match Raised::new(realtime) {
            Ok(raised) => self.priority = Some(raised),
            Err(error) if realtime.is_some() => return Err(error),
            Err(_) => {}
        }
        Ok(())
    }

    /// What was granted to the thread that empties the rings.
    pub fn priority(&self) -> Priority {
        let raised = self.priority.as_ref();
        raised.map_or(Priority::Unchanged, Raised::granted)
    }

    /// How often the thread that empties the rings took more of a CPU than one that comes before others may.
    pub fn priority_lowered(&self) -> u64 {
        self.priority.as_ref().map_or(0, Raised::lowered)
    }

    /// Bytes of the stack in a small copy; `None` where all are large.
    pub fn small_copy(&self) -> Option<u32> {
        let mut instances = self.opened.instances.iter();
        match self.options.stacks {
            StackCapture::CopyAsNeeded { small, .. } => instances
                .any(|instance| instance.small.is_some())
                .then_some(small),
            _ => None,
        }
    }

    /// Whether stacks can be read behind their copies, and if not, why.
    ///
    /// # Errors
    /// The reason.
    pub fn reads_deep_stacks(&self) -> Result<(), &NoDeepStacks> {
        self.opened.deep.as_ref().map(drop)
    }

    /// Has what lies behind the copies of a thread's stack read from now on, while copies are
    /// [`StackCopies::Deep`]. `sp` is a stack pointer that it had. The other threads of its process are read,
    /// too, though not to their ends before they were named.
    ///
    /// # Errors
    /// The kernel's. The process may be gone; nothing is read then.
    pub fn read_behind_copies(&mut self, pid: Pid, tid: Tid, sp: VirtAddr) -> io::Result<()> {
        let Ok(deep) = &mut self.opened.deep else {
            return Ok(());
        };
        match deep.begin() {
            Ok(reading) => reading.add(pid, tid, sp),
            Err(error) => {
                self.opened.deep = Err(NoDeepStacks::Refused(error));
                Ok(())
            }
        }
    }

    /// From now on takes samples with these copies of the stack, where there are such; else with large ones.
    /// Samples that were taken before are still to come. Call it after each round, also if nothing is to
    /// change: a thread that was started during a switch may have come out with the wrong one of its events
    /// enabled.
    ///
    /// # Errors
    /// The kernel's on enabling and disabling.
    pub fn use_copies(&mut self, copies: StackCopies) -> io::Result<()> {
        let turns = &mut self.turns;
        if copies != turns.copies && !(copies != StackCopies::Large && turns.are_slow) {
            turns.copies = copies;
            let before = cpu_time();
            self.switch()?;
            self.turns.are_slow |= cpu_time().saturating_sub(before) > SLOW_SWITCH;
            self.turns.repeat_at = Some(Instant::now() + UNTIL_STARTED);
        } else if turns.repeat_at.is_some_and(|at| at <= Instant::now()) {
            turns.repeat_at = None;
            self.switch()?;
        }
        Ok(())
    }

    /// Whether there are samples from now on of threads that stop running, and of who wakes them, where switches are
    /// recorded. Records of switches are not stopped by this.
    ///
    /// # Errors
    /// The kernel's on enabling and disabling.
    pub fn sample_switches(&mut self, are_wanted: bool) -> io::Result<()> {
        if self.options.switches == Switches::Unrecorded || self.samples_switches == are_wanted {
            return Ok(());
        }
        self.samples_switches = are_wanted;
        let of_waits = self
            .opened
            .instances
            .iter()
            .filter(|it| self.is_of_waits(it.event));
        for instance in of_waits {
            match are_wanted {
                true => instance.fd.enable()?,
                false => instance.fd.disable()?,
            }
        }
        Ok(())
    }

    /// Whether an event is one of the last ones, of switches and of who wakes.
    fn is_of_waits(&self, event: usize) -> bool {
        let of_waits = 1 + usize::from(self.options.wakers);
        event + of_waits >= self.opened.events.events().len()
    }

    fn switch(&self) -> io::Result<()> {
        for instance in &self.opened.instances {
            if instance.fds().count() == 1 {
                continue;
            }
            let used = instance.with(self.turns.copies);
            // In this order, so that no mapping goes unseen: it may be told twice.
            used.enable()?;
            for other in instance.fds() {
                if !std::ptr::eq(used, other) {
                    other.disable()?;
                }
            }
        }
        Ok(())
    }

    /// Waits until a ring is a quarter full, a target process exits, one of `also` is readable, or
    /// the time is over.
    ///
    /// # Errors
    /// The kernel's; an interruption by a signal is none.
    pub fn wait(&self, timeout: Duration, also: &[BorrowedFd<'_>]) -> io::Result<()> {
        let rings = self
            .opened
            .rings
            .iter()
            .map(|ring| ring.owner.file().as_fd());
        let exits = self.exits.iter().map(AsFd::as_fd);
        let deep = self.opened.deep.iter().flat_map(DeepStacks::fds);
        let mut fds: Vec<_> = rings
            .chain(exits)
            .chain(deep)
            .chain(also.iter().copied())
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
            .collect();
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether all target processes have exited: of a cgroup, whether those that were in it are gone. Never for a
    /// whole system.
    pub fn target_exited(&mut self) -> bool {
        if let Target::Cgroup(cgroup) = &self.options.target {
            let has_members = cgroup.has_members();
            self.has_had_members |= has_members;
            return self.has_had_members && !has_members;
        }
        if self.exits.is_empty() {
            return false;
        }
        self.exits.retain(|fd| {
            let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
            !matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..))
        });
        self.exits.is_empty()
    }

    /// Passes on what may be passed on. Returns whether a ring is still more than a quarter full:
    /// then call again soon.
    ///
    /// # Errors
    /// The sink's, or a corrupt ring.
    pub fn round(&mut self, sink: &mut dyn Sink) -> io::Result<bool> {
        let mut unseen = Vec::new();
        self.unseen.look(&mut Synthesizer {
            out: &mut unseen,
            sample_type: self.opened.events.events()[0].attr.sample_type,
        });
        emit(&unseen, sink)?;
        self.fullness = self.look_how_full();
        let limit = std::mem::replace(&mut self.rounds.previous, self.options.clock.now());
        self.drain(limit, sink)?;
        while let Some(pid) = self.joining.next_due(limit) {
            let result = self.join(pid, sink)?;
            self.joining.joined.push(Joined { pid, result });
        }
        sink.finish_round()?;
        if let Some(priority) = &mut self.priority {
            priority.watch();
        }
        let full = self.opened.rings.iter().any(|CpuRing { ring, .. }| {
            ring.head().wrapping_sub(ring.tail()) > ring.size() as u64 / 4
        });
        Ok(full)
    }

    fn look_how_full(&self) -> f64 {
        let rings = self.opened.rings.iter().map(|ring| &ring.ring);
        let small = self.small_copy();
        let small = small.filter(|_| self.turns.copies == StackCopies::Small);
        let large_ring = self.ring_bytes();
        let fullness = rings.map(|ring| {
            let bytes = ring.head().wrapping_sub(ring.tail()) as f64;
            match small {
                None => bytes / ring.size() as f64,
                Some(small) => {
                    let large = self.opened.events.events()[0].attr.sample_stack_user;
                    let larger = f64::from(large + OTHER_FIELDS) / f64::from(small + OTHER_FIELDS);
                    bytes * larger / large_ring as f64
                }
            }
        });
        fullness.fold(0.0, f64::max)
    }

    /// Has a further process sampled soon, with its threads, and its children where events are inherited, unless it
    /// is sampled already. Only a list of processes can have further ones, and only with a single event: others
    /// are not heeded.
    pub fn follow(&mut self, pid: Pid) {
        if self.can_follow() {
            self.joining.add(pid, self.options.clock.now());
        }
    }

    /// Whether [`Self::follow`] is of use.
    pub fn can_follow(&self) -> bool {
        matches!(self.options.target, Target::Processes(_)) && can_join(&self.opened)
    }

    /// Which further processes are sampled since this was last asked, and which cannot be.
    pub fn joined(&mut self) -> Vec<Joined> {
        std::mem::take(&mut self.joining.joined)
    }

    /// Samples a further process from now on, and tells the sink what is there already.
    fn join(&mut self, pid: Pid, sink: &mut dyn Sink) -> io::Result<Result<(), OpenError>> {
        if self.kept.is_none() {
            let is_sampled = |pid| self.joining.has(pid);
            let first = match open_further(&mut self.opened, &self.options, pid, is_sampled) {
                Ok(first) => first,
                Err(error) => return Ok(Err(error)),
            };
            for instance in &self.opened.instances[first..] {
                instance.with(self.turns.copies).enable()?;
            }
        }
        self.exits.extend(sys::pidfd_open(pid.0).ok());
        let parents = if self.options.inherit {
            &[pid][..]
        } else {
            &[]
        };
        let children = Descendants::of(parents).filter(Child::is_running);
        let processes: Vec<_> = [pid].into_iter().chain(children.map(|it| it.pid)).collect();
        for pid in processes {
            if let Some(kept) = &mut self.kept {
                kept.add(pid);
            }
            self.joining.is_sampled(pid);
            self.shared.add(pid);
            let mut bytes = Vec::new();
            let lineage = self.kept.is_some();
            self.synthesizer(&mut bytes).process(pid, lineage);
            emit(&bytes, sink)?;
        }
        Ok(Ok(()))
    }

    /// Stops sampling, passes on the rest, and tells what was lost.
    ///
    /// # Errors
    /// The sink's, or a corrupt ring.
    pub fn finish(&mut self, sink: &mut dyn Sink) -> io::Result<()> {
        for fd in self.opened.instances.iter().flat_map(Instance::fds) {
            fd.disable()?;
        }
        self.drain(u64::MAX, sink)?;
        sink.finish_round()?;
        if let Some(priority) = &mut self.priority {
            priority.give_back();
        }
        let lost = self.lost_samples();
        emit(&lost, sink)
    }

    /// A LOST_SAMPLES record for every event that the kernel could not store all samples of.
    fn lost_samples(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let instances = self.opened.instances.iter();
        let fds = instances.flat_map(|instance| instance.fds().map(|fd| (instance.event, fd)));
        for (event, fd) in fds {
            let attr = &self.opened.events.events()[event].attr;
            if attr.read_format & read_format::LOST == 0 {
                continue;
            }
            // Value, id, lost; of a group all events, behind their number. Only the first one, the
            // leader, takes samples then.
            let is_group = attr.read_format & read_format::GROUP != 0;
            let counters = if is_group {
                self.opened.events.events().len()
            } else {
                1
            };
            let start = if is_group { 8 } else { 0 };
            let mut values = vec![0; start + counters * 24];
            let read = fd.file().read(&mut values).unwrap_or(0);
            let takes_samples = attr.sample_period_or_freq != 0;
            let (id, lost) = (u64_at(&values, start + 8), u64_at(&values, start + 16));
            if read < start + 24 || !takes_samples || lost == 0 {
                continue;
            }
            let id = SampleId {
                id: Some(id),
                ..SampleId::default()
            };
            let mut record = RecordBuilder::new(&mut bytes, record::LOST_SAMPLES, 0);
            record.u64(lost).sample_id(attr.sample_type, &id);
            record.finish().expect("a record of 64 bytes");
        }
        bytes
    }

    fn drain(&mut self, limit: u64, sink: &mut dyn Sink) -> io::Result<()> {
        let Opened {
            rings,
            events,
            deep,
            ..
        } = &mut self.opened;
        let scratch = &mut self.scratch;
        scratch.resize_with(rings.len(), Vec::new);
        let has_counters = |event: &Event| event.attr.sample_type & sample::READ != 0;
        let has_counters = events.events().iter().any(has_counters);
        let heads: Vec<_> = rings.iter().map(|ring| ring.ring.head()).collect();
        // What belongs to a sample was written before the sample was complete.
        if let Ok(deep) = deep {
            deep.drain(&mut |part| sink.stack_part(part))?;
        }
        let mut next = BinaryHeap::new();
        for (index, (cpu_ring, scratch)) in rings.iter().zip(&mut *scratch).enumerate() {
            let ring = &cpu_ring.ring;
            if let Some(time) = time_at(events, ring, ring.tail(), heads[index], scratch)? {
                next.push(Reverse((time, index)));
            }
        }
        while let Some(Reverse((time, index))) = next.pop() {
            if time >= limit {
                break;
            }
            let ring = &mut rings[index].ring;
            let (scratch, head) = (&mut scratch[index], heads[index]);
            // The other rings may have nothing before this one's next few records.
            let until = next
                .peek()
                .map_or(limit, |Reverse((time, _))| limit.min(*time));
            let mut time = time;
            loop {
                let at = ring.tail();
                let raw = ring.record(at, head, scratch).ok_or_else(corrupt)?;
                let len = raw.bytes.len() as u64;
                let is_early = raw.kind == record::SAMPLE && time < self.started_at;
                if let Some(pid) = self.newcomers.as_mut().and_then(|it| it.find(raw)) {
                    self.shared.add(pid);
                    let mut out = Vec::new();
                    let sample_type = events.events()[0].attr.sample_type;
                    let mut synthesizer = Synthesizer {
                        out: &mut out,
                        sample_type,
                    };
                    synthesizer.process(pid, true);
                    emit(&out, sink)?;
                }
                if !is_early && self.kept.as_mut().is_none_or(|kept| kept.include(raw)) {
                    let inherit = self.options.inherit || self.kept.is_some();
                    self.joining.take(raw, inherit);
                    sink.record(raw)?;
                } else if has_counters && raw.kind == record::SAMPLE {
                    sink.skipped(raw)?;
                }
                for copy in self.shared.take(raw) {
                    let raw = RawRecord::parse(&copy).map_err(io::Error::other)?;
                    if self.kept.as_mut().is_none_or(|kept| kept.include(raw)) {
                        sink.record(raw)?;
                    }
                }
                ring.release(at + len);
                match time_at(events, ring, at + len, head, scratch)? {
                    None => break,
                    Some(later) if later < until => time = later,
                    Some(later) => {
                        next.push(Reverse((later, index)));
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

fn emit(bytes: &[u8], sink: &mut dyn Sink) -> io::Result<()> {
    records_of(bytes).try_for_each(|raw| sink.record(raw?))
}

fn records_of(mut bytes: &[u8]) -> impl Iterator<Item = io::Result<RawRecord<'_>>> {
    std::iter::from_fn(move || {
        let raw = RawRecord::parse(bytes).map_err(io::Error::other);
        let len = raw.as_ref().map_or(bytes.len(), |raw| raw.bytes.len());
        let is_end = bytes.is_empty();
        bytes = &bytes[len..];
        (!is_end).then_some(raw)
    })
}

fn corrupt() -> io::Error {
    io::Error::other("the kernel's ring buffer holds bytes that are no record")
}

/// The time of the record at `position`; `None` at the end of the ring.
fn time_at(
    events: &EventSet,
    ring: &crate::ring::Ring,
    position: u64,
    head: u64,
    scratch: &mut Vec<u8>,
) -> io::Result<Option<u64>> {
    if position == head {
        return Ok(None);
    }
    let raw = ring.record(position, head, scratch).ok_or_else(corrupt)?;
    Ok(Some(events.time_of(raw).unwrap_or(0)))
}
