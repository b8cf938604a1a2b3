//! Takes records in time order and makes a profile of them: what recording and reading share.
//!
//! In: decoded records. Out: what became of each sample ([`TakenSample`]), and the profile. Elsewhere:
//! the steps themselves, a file each: [`crate::unwinding`], [`crate::finishing`], [`crate::placing`],
//! [`crate::aggregation`]; where records come from ([`crate::record`], [`crate::load`]).

use std::time::Duration;

use prof_event::abi::{event_type, flag, sample};
use prof_event::{Decoded, Event, EventSet, Mmap, RawRecord, ReadValues, Record, Sample, Tracker};
use prof_model::{
    AddressSpace, ChainEnd, CpuMode, DsoId, DsoTable, FileId, Pid, Reason, Tid, VirtAddr,
};
use prof_profile::{EventInfo, FrameKey, Profile, Unit};
use prof_sampler::{StackCopies, StackPart};
use prof_symbolizer::Symbolizer;

use crate::aggregation::{Aggregation, Keep};
use crate::branches::{BranchUse, Branches, END_OF_BRANCH, PlacedBranch, keep_branch};
use crate::build_ids::BuildIds;
use crate::crowding::Crowding;
use crate::deep_stacks::DeepThread;
use crate::files::{Files, Origin};
use crate::finishing::{FinishedSamples, Finishing};
use crate::generated::GeneratedCode;
use crate::machine::Machine;
use crate::pace::Pace;
use crate::placing::{PlacedChain, Placing};
use crate::stack_copy_size::StackCopySize;
use crate::unwinding::{Around, SampledThread, Unwinding, UnwoundChain};
use crate::waits::OFFCPU_TIME;
use crate::wakers::Wakers;

/// The most frames that are kept of a stack, if not told otherwise.
pub const DEFAULT_MAX_STACK: usize = 4096;

/// Takes records in time order and aggregates the samples.
pub struct Pipeline {
    /// Names and mappings as of the last record.
    pub tracker: Tracker,
    /// The files that samples hit.
    pub files: Files,
    /// What JIT compilers tell about their code.
    pub generated: GeneratedCode,
    /// The samples so far; after [`Pipeline::aggregate_beside`] only once they are all there.
    pub profile: Profile,
    aggregation: Option<Aggregation>,
    unwinding: Unwinding,
    finishing: Finishing,
    placing: Placing,
    branches: Branches,
    wakers: Wakers,
    pace: Pace,
    waiting_pace: Pace, // of threads that wait, whose stacks do not run away
    build_ids: BuildIds,
    last_time: u64,
    is_monotonic: bool, // times are of the clock that the wall's can be told from
}

/// What became of a sample that was taken in, valid until the next record is.
#[derive(Clone, Copy)]
pub struct TakenSample<'a> {
    /// The sample as it arrived.
    pub sample: &'a Sample<'a>,
    /// Its whole callchain with the kernel's context markers, innermost first.
    pub chain: &'a [u64],
    /// Why the callchain has no further entry.
    pub end: ChainEnd,
    /// The frames of the callchain.
    pub placed: PlacedChain<'a>,
    /// Its branches, the newest first, where somebody wants to know.
    pub branches: &'a [PlacedBranch],
    /// For each finished sample its event, as an index, and its weight in the event's unit.
    pub weights: &'a [(usize, u64)],
    /// Names and mappings at that moment.
    pub tracker: &'a Tracker,
    counters: Option<ReadValues<'a>>,
}

impl<'a> TakenSample<'a> {
    /// The sample as a file has it: with counters that every reader understands.
    pub fn written(&self) -> Sample<'a> {
        let mut sample = *self.sample;
        sample.read = self.counters;
        sample
    }
}

impl Pipeline {
    /// A pipeline for running processes, with the copies of stacks that the sampler has to choose from. The
    /// profile has the first ones of the events, `shown`.
    pub fn live(
        events: &EventSet,
        shown: &EventSet,
        max_stack: usize,
        copies: StackCopySize,
    ) -> Self {
        let machine = Machine::default();
        let (files, generated) = (Files::live(), GeneratedCode::live());
        let rates = events.events().iter();
        let hz = rates.filter_map(|event| event.attr.frequency()).max();
        Self {
            profile: Profile::new(event_infos(shown)),
            ..Self::new(
                events,
                files,
                generated,
                machine,
                max_stack,
                Pace::new(copies, hz.unwrap_or(0)),
            )
        }
    }

    /// A pipeline for a recording of `machine`. `generated` is what it kept of generated code,
    /// `build_ids` are those of its files.
    pub fn recorded(
        events: &EventSet,
        max_stack: usize,
        files: Files,
        generated: GeneratedCode,
        machine: Machine,
        build_ids: BuildIds,
    ) -> Self {
        let pace = Pace::new(StackCopySize::default(), 0);
        Self {
            build_ids,
            ..Self::new(events, files, generated, machine, max_stack, pace)
        }
    }

    fn new(
        events: &EventSet,
        files: Files,
        generated: GeneratedCode,
        machine: Machine,
        max_stack: usize,
        pace: Pace,
    ) -> Self {
        Self {
            tracker: Tracker::default(),
            generated,
            profile: Profile::new(event_infos(events)),
            aggregation: None,
            unwinding: Unwinding::new(events, files.origin(), machine, max_stack),
            files,
            finishing: Finishing::default(),
            placing: Placing::default(),
            branches: Branches::default(),
            wakers: Wakers::of(events),
            pace,
            waiting_pace: Pace::new(StackCopySize::default(), 0),
            build_ids: BuildIds::default(),
            last_time: 0,
            is_monotonic: is_monotonic(events),
        }
    }

    /// Aggregates on a thread of its own from now on, until [`Pipeline::finish`].
    pub fn aggregate_beside(&mut self) {
        self.aggregation = Aggregation::start(&self.profile.events);
    }

    /// What becomes of the branches of samples from now on; unless told, nothing.
    pub fn use_branches(&mut self, usage: BranchUse) {
        self.branches = Branches::new(usage);
    }

    /// Takes a record in. `end` says why its callchain ended, where the recording tells; otherwise that
    /// is found out here. Returns what became of a sample.
    pub fn take<'a>(
        &'a mut self,
        events: &EventSet,
        decoded: &'a Decoded<'a>,
        end: Option<ChainEnd>,
    ) -> Option<TakenSample<'a>> {
        self.take_as(events, decoded, end, |_, _, _| Keep::Sample)
    }

    /// As [`Pipeline::take`]. `keep` decides what becomes of each finished sample, by its event's index
    /// and its frames.
    pub fn take_as<'a>(
        &'a mut self,
        events: &EventSet,
        decoded: &'a Decoded<'a>,
        end: Option<ChainEnd>,
        keep: impl FnMut(usize, &PlacedChain<'_>, &Tracker) -> Keep,
    ) -> Option<TakenSample<'a>> {
        self.last_time = self.last_time.max(decoded.id.time.unwrap_or(0));
        match &decoded.record {
            Record::Sample(sample) => {
                return Some(self.take_sample(events, decoded.event, sample, end, keep));
            }
            Record::Lost { lost, .. } => self.profile.losses.lost_records += lost,
            Record::LostSamples { lost } => self.profile.losses.lost_samples += lost,
            Record::Throttle { resumed: false } => self.profile.losses.throttled += 1,
            record => self.apply(events, record),
        }
        None
    }

    /// The callchain of a sample of a thread that waits from now on. What becomes of it shows when the wait ends.
    pub(crate) fn unwind_waiting(
        &mut self,
        event: &Event,
        sample: &Sample<'_>,
    ) -> UnwoundChain<'_> {
        self.tracker.processes.own_generated_code(sample.pid);
        let around = Around {
            processes: &self.tracker.processes,
            files: &mut self.files,
            pace: &mut self.waiting_pace,
        };
        self.unwinding.unwind(event, sample, around)
    }

    /// The same of a thread that sleeps since before the recording began.
    pub(crate) fn unwind_asleep(
        &mut self,
        thread: SampledThread,
        kernel: &[u64],
        user: Option<(VirtAddr, VirtAddr)>,
    ) -> UnwoundChain<'_> {
        let around = Around {
            processes: &self.tracker.processes,
            files: &mut self.files,
            pace: &mut self.waiting_pace,
        };
        self.unwinding.unwind_asleep(thread, kernel, user, around)
    }

    #[inline]
    fn take_sample<'a>(
        &'a mut self,
        events: &EventSet,
        event_index: usize,
        sample: &'a Sample<'a>,
        end: Option<ChainEnd>,
        mut keep: impl FnMut(usize, &PlacedChain<'_>, &Tracker) -> Keep,
    ) -> TakenSample<'a> {
        self.pace.sampled();
        self.tracker.processes.own_generated_code(sample.pid);
        if let Some(time) = sample.time.filter(|_| self.is_monotonic) {
            self.files.note_sample(time);
        }
        let event = &events.events()[event_index];
        let around = Around {
            processes: &self.tracker.processes,
            files: &mut self.files,
            pace: &mut self.pace,
        };
        let unwound = self.unwinding.unwind(event, sample, around);
        let end = end.unwrap_or(unwound.end);
        let FinishedSamples { weights, counters } =
            self.finishing.take(events, event_index, sample);
        let placed = self.placing.place(
            event,
            sample,
            unwound.entries,
            &mut self.tracker,
            &mut self.generated,
        );
        let waker = self.wakers.take(event_index, sample, &placed);
        let tracker = &mut self.tracker;
        self.branches.place(sample, tracker, &mut self.generated);
        let mut finished = prof_profile::Sample {
            event: 0,
            pid: sample.pid,
            tid: sample.tid,
            comm: self.tracker.processes.comm_of(sample.pid, sample.tid),
            cpu: sample.cpu,
            time: sample.time,
            period: 0,
            inner: placed.inner,
            frames: placed.frames,
            end,
        };
        let mut add = |finished: &prof_profile::Sample<'_>, keep: Keep| match &mut self.aggregation
        {
            Some(aggregation) => aggregation.add(finished, keep),
            None => keep.add(finished, &mut self.profile),
        };
        if self.branches.are_counted() {
            let keep = keep(event_index, &placed, &self.tracker);
            for branch in self.branches.placed() {
                let counted = prof_profile::Sample {
                    event: event_index as u16,
                    period: 1,
                    inner: None,
                    frames: &branch.frames(),
                    end: END_OF_BRANCH,
                    ..finished
                };
                add(&counted, keep_branch(&keep, branch.branch.flags));
            }
        } else {
            for &(event, weight) in weights {
                finished.event = event as u16;
                finished.period = weight;
                let keep = keep(event, &placed, &self.tracker);
                let keep = match &waker {
                    Some(waker) => keep.woken_by(waker),
                    None => keep,
                };
                add(&finished, keep);
            }
        }
        if self.files.origin() == Origin::Live {
            let space = self.tracker.processes.space(sample.pid);
            let space = space.unwrap_or(AddressSpace::nowhere());
            let dsos = &self.tracker.processes.dsos;
            open_hit_files(
                &mut self.files,
                &self.generated,
                (sample.pid, space),
                dsos,
                placed.frames,
            );
        }
        for mapping in placed.doubtful.iter().chain(self.branches.doubtful()) {
            if !self.files.is_program(mapping.dso) && !self.generated.is_dump(mapping.dso) {
                self.generated.hit_file(sample.pid, mapping);
            }
        }
        TakenSample {
            sample,
            chain: unwound.entries,
            end,
            placed,
            branches: self.branches.placed(),
            weights,
            tracker: &self.tracker,
            counters,
        }
    }

    fn apply(&mut self, events: &EventSet, record: &Record<'_>) {
        if let Record::Comm {
            pid, exec: true, ..
        } = record
        {
            self.unwinding.executed(*pid);
            self.generated.executed(*pid);
        }
        if let Record::Fork(task) | Record::Exit(task) = record {
            self.finishing.forget(task.tid);
            let lifetimes = &mut self.profile.lifetimes;
            let task_id = (task.pid, task.tid);
            match record {
                _ if task.time == 0 => {} // it was there before
                Record::Exit(_) => lifetimes.end(task_id, task.time),
                _ => lifetimes.start(task_id, task.time),
            }
        }
        if matches!(record, Record::Ksymbol(_))
            || matches!(record, Record::Mmap(mmap) if mmap.mode == CpuMode::Kernel)
        {
            self.placing.kernel_changed();
        }
        let known = self.tracker.processes.dsos.len();
        self.tracker.apply(record);
        let dsos = &mut self.tracker.processes.dsos;
        if dsos.len() > known
            && let Some(doubtful) = self.build_ids.note(DsoId(known as u32), dsos)
        {
            self.files.forget(doubtful);
        }
        match record {
            Record::Mmap(mmap) => self.note_dump(events, mmap),
            Record::Exit(task) => {
                self.unwinding.exited((task.pid, task.tid));
                if task.pid.0 == task.tid.0 {
                    self.generated.exited(task.pid);
                }
            }
            Record::Fork(task) if task.pid != task.ppid && !task.made_up => {
                self.generated.forked(task.ppid, task.pid);
            }
            _ => {}
        }
    }

    fn note_dump(&mut self, events: &EventSet, mmap: &Mmap<'_>) {
        if mmap.mode == CpuMode::Kernel {
            return;
        }
        let processes = &self.tracker.processes;
        let space = processes.space(mmap.pid);
        if let Some(mapping) = space.and_then(|space| space.find(VirtAddr(mmap.addr))) {
            let dso = processes.dsos.get(mapping.dso);
            let monotonic = is_monotonic(events);
            self.generated.mapped(mmap.pid, mapping, dso, monotonic);
        }
    }

    /// Whether a process maps a file now that has other contents than when a sample hit it last. Then nothing is
    /// asked of that DSO any more.
    pub(crate) fn is_written_over(&mut self, pid: Pid, path: &[u8], file: FileId) -> bool {
        let Some(id) = self.tracker.file(path, file) else {
            return false;
        };
        let dso = self.tracker.processes.dsos.get(id);
        let is_over = self.files.is_written_over(id, pid, dso);
        if is_over {
            self.unwinding.forget(id);
        }
        is_over
    }

    /// Events that a pipe told only while its records were read.
    pub fn set_events(&mut self, events: &EventSet) {
        self.profile.events = event_infos(events);
        self.wakers = Wakers::of(events);
    }

    /// Takes note of a sample that is not one of the profile, because it is from before the recording or
    /// was not chosen: what its counters stand at belongs to no later one.
    pub fn skip(&mut self, events: &EventSet, sample: &Sample<'_>) {
        self.finishing.skip(events, sample);
    }

    /// As [`Pipeline::skip`], of a record as the kernel wrote it.
    pub fn skip_raw(&mut self, events: &EventSet, raw: RawRecord<'_>) {
        if let Ok(decoded) = events.decode(raw)
            && let Record::Sample(sample) = &decoded.record
        {
            self.skip(events, sample);
        }
    }

    /// A round of the rings is over: what comes from now on is newer.
    pub fn finish_round(&mut self) {
        self.pace.finish_round();
        self.generated.refresh();
        self.unwinding.finish_round();
        for (pid, told) in self.unwinding.runtimes.take_told() {
            self.generated.told(pid, told);
        }
    }

    /// Forgets a thread that ended long ago, and its process with the first one: their numbers may be
    /// others' by now.
    pub fn forget(&mut self, pid: Pid, tid: Tid) {
        self.tracker.processes.forget(pid, tid);
        if pid.0 == tid.0 {
            self.generated.forget(pid);
            self.unwinding.forget_process(pid);
        }
    }

    /// Closes the files that no sample has hit since the last call, and forgets what was read of them;
    /// returns which. One that is hit again is opened again. Only for running processes.
    pub fn close_unused_files(&mut self) -> Vec<DsoId> {
        let unused = self.files.take_unused();
        unused.iter().for_each(|&dso| self.unwinding.forget(dso));
        unused
    }

    /// Hands the open files and jitdumps to a symbolizer, which names addresses from the very files that
    /// ran.
    pub fn give_files_to(&self, symbolizer: &mut Symbolizer) {
        for (id, file) in self.files.opened() {
            symbolizer.keep(id, file.clone());
        }
        for (id, dump) in self.generated.dumps() {
            symbolizer.keep(id, dump);
        }
        for (pid, mapping) in self.generated.files() {
            symbolizer.may_be_generated(pid, mapping);
        }
        for id in self.files.written_over() {
            symbolizer.refuse(id, Reason::FileReplaced);
        }
        for (pid, ancestors) in self.generated.ancestors() {
            symbolizer.use_ancestors(pid, ancestors.to_vec());
        }
    }

    /// How soon the rings should be looked at again, if at once, see [`Pipeline::longest_wait`].
    pub fn races(&self) -> Option<Duration> {
        self.pace.races()
    }

    /// How long samples may wait in the rings, which is `usual` at most.
    pub fn longest_wait(&self, usual: Duration) -> Duration {
        self.pace.longest_wait(usual)
    }

    /// How much of the stacks should be copied.
    pub fn stack_copies(&self) -> &StackCopySize {
        self.pace.copies()
    }

    /// Tells how full the rings were, as [`prof_sampler::Sampler::fullness`] has it.
    pub fn look_at_rings(&mut self, fullness: f64) {
        self.pace.look_at_rings(fullness);
    }

    /// Which copies of the stack the next samples should have.
    pub fn next_copies(&self) -> StackCopies {
        self.pace.next_copies()
    }

    /// How often the rings were about to be full, and what that took.
    pub fn crowding(&self) -> &Crowding {
        self.pace.crowding()
    }

    /// Takes what lay behind a copy of the stack, before the sample comes.
    pub fn take_stack_part(&mut self, part: StackPart<'_>) {
        self.unwinding.deep.add(part);
    }

    /// Names threads whose stacks were found to be larger than their copies, each of them once, for as long as
    /// that is a small part of the time.
    pub fn name_deep_threads(&mut self, name: impl FnMut(DeepThread)) {
        self.unwinding.deep.name(name);
    }

    /// How many callchains were finished with what lay behind the copy of the stack at that moment.
    pub fn deep_stacks(&self) -> u64 {
        self.unwinding.deep.count()
    }

    /// The machine where the samples were taken.
    pub fn machine(&self) -> &Machine {
        self.unwinding.machine()
    }

    /// The latest time of any record, in nanoseconds of the recording's clock.
    pub fn last_time(&self) -> u64 {
        self.last_time
    }

    /// Samples whose copy of the stack is of a machine that cannot be unwound here.
    pub fn foreign_stacks(&self) -> u64 {
        self.unwinding.foreign_stacks()
    }

    /// Stacks that are not whole because the target's memory may not be read.
    pub fn refused_stacks(&self) -> u64 {
        self.unwinding.refused_stacks()
    }

    /// What unwinding took.
    pub fn unwinder_stats(&self) -> &prof_unwinder::Stats {
        self.unwinding.stats()
    }

    /// Fills in what the profile's ids refer to.
    pub fn finish(&mut self) {
        if self.files.origin() == Origin::Live {
            self.files.look_at_all(&self.tracker.processes.dsos);
        }
        if let Some(aggregation) = self.aggregation.take() {
            let here = std::mem::replace(&mut self.profile, aggregation.finish());
            self.profile.events = here.events;
            self.profile.losses = here.losses;
            self.profile.lifetimes = here.lifetimes;
        }
        let mut dsos = self.tracker.processes.dsos.clone();
        if self.files.origin() == Origin::Live {
            for (id, build_id) in self.files.build_ids() {
                dsos.set_build_id(id, Some(build_id));
            }
        }
        self.profile.dsos = dsos;
        self.profile.comms = self.tracker.processes.comms.clone();
    }
}

/// Opens the files that a sample hit and that the unwinder did not need: the target may be gone when
/// their names are wanted.
fn open_hit_files(
    files: &mut Files,
    generated: &GeneratedCode,
    (pid, space): (Pid, &AddressSpace),
    dsos: &DsoTable,
    frames: &[FrameKey],
) {
    for dso in frames.iter().filter_map(|frame| frame.dso) {
        let is_new = !files.mark_used(dso);
        if is_new && dsos.get(dso).kind.is_file_relative() && !generated.is_dump(dso) {
            files.get(pid, space, dsos, dso);
        }
    }
}

/// Whether the times of the records are of the clock that JIT compilers use.
fn is_monotonic(events: &EventSet) -> bool {
    let mut attrs = events.events().iter().map(|event| &event.attr);
    attrs.all(|attr| attr.has(flag::USE_CLOCKID) && attr.clockid == libc::CLOCK_MONOTONIC)
}

/// What reports, screens and pictures want to know of events.
pub fn event_infos(events: &EventSet) -> Vec<EventInfo> {
    events.events().iter().map(event_info).collect()
}

/// What samples may tell of an access to memory.
const OF_MEMORY: u64 = sample::ADDR
    | sample::DATA_SRC
    | sample::WEIGHT
    | sample::WEIGHT_STRUCT
    | sample::PHYS_ADDR
    | sample::DATA_PAGE_SIZE
    | sample::CODE_PAGE_SIZE;

fn event_info(event: &Event) -> EventInfo {
    let attr = &event.attr;
    let has = |bit: u64| attr.sample_type & bit != 0;
    EventInfo {
        name: event.name.clone(),
        unit: match attr.is_cpu_time() {
            _ if event.name == OFFCPU_TIME => Unit::WaitTime,
            true => Unit::CpuTime,
            false => Unit::Count,
        },
        is_tracepoint: attr.kind == event_type::TRACEPOINT,
        is_memory: attr.kind == event_type::RAW && has(OF_MEMORY),
        has_callchain: has(sample::CALLCHAIN),
        has_cpu: has(sample::CPU),
        sample_freq: attr.frequency(),
        sample_period: match attr.frequency() {
            Some(_) => None,
            None => Some(attr.sample_period_or_freq),
        },
    }
}
