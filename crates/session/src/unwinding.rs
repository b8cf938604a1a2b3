//! From a sample to its whole callchain.
//!
//! In: a sample with the kernel's callchain and, where they were copied, user registers and stack. Out:
//! an [`UnwoundChain`]. Elsewhere: walking the stack (`prof-unwinder`), the DSO of each address
//! ([`crate::placing`]).

use prof_event::abi::{callchain, registers_abi, sample};
use prof_event::{Event, EventSet, Sample, UserStack};
use prof_model::{AddressSpace, ChainEnd, CpuMode, DsoId, Pid, ProcessTable, Tid, VirtAddr};
use prof_sampler::read_memory;
use prof_unwinder::{Process, Regs, StackCopy, Unwinder, UserState};
use rustc_hash::FxHashSet;

use crate::deep_stacks::{DeepStacks, DeepThread, Rest};
use crate::files::{Files, Origin};
use crate::machine::Machine;
use crate::pace::Pace;
use crate::polled_memory::PolledMemory;
use crate::runtimes::Runtimes;
use crate::target_access::{MappedImages, TargetMemory};

/// A sample's whole callchain, valid until the next sample is unwound.
#[derive(Clone, Copy, Debug)]
pub struct UnwoundChain<'a> {
    /// Addresses, innermost first, with the kernel's context markers between the parts.
    pub entries: &'a [u64],
    /// Why there is no further one.
    pub end: ChainEnd,
}

/// Bytes of the stack of a thread that sleeps that are read at once.
const ASLEEP_COPY: usize = 8_192;

/// Whose stack is unwound, and as of when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SampledThread {
    /// Its process.
    pub(crate) pid: Pid,
    /// The thread.
    pub(crate) tid: Tid,
    /// In nanoseconds of the recording's clock.
    pub(crate) time: u64,
    /// Whether it was in the kernel.
    pub(crate) mode: CpuMode,
}

impl SampledThread {
    fn of(sample: &Sample<'_>) -> Self {
        Self {
            pid: sample.pid,
            tid: sample.tid,
            time: sample.time.unwrap_or(0),
            mode: sample.mode,
        }
    }
}

/// What unwinding needs of the rest.
pub(crate) struct Around<'a> {
    /// Which process has what mapped.
    pub(crate) processes: &'a ProcessTable,
    /// The files that are mapped.
    pub(crate) files: &'a mut Files,
    /// Learns how much of each stack it took.
    pub(crate) pace: &'a mut Pace,
}

/// Makes callchains whole: the kernel's part stays as it was recorded, the user's part is unwound where
/// the sample carries what that takes.
pub(crate) struct Unwinding {
    unwinder: Unwinder,
    machine: Machine,
    max_stack: usize,
    polled: Option<PolledMemory>, // of running processes; `None` for a recording
    /// The runtimes that generate code in running processes.
    pub(crate) runtimes: Runtimes,
    /// What lay behind the copies of stacks.
    pub(crate) deep: DeepStacks,
    starting: FxHashSet<Pid>, // in execve: not yet seen to run their new program
    foreign_stacks: u64,
    refused_stacks: u64,
    chain: Vec<u64>, // these three are reused from sample to sample
    user: Vec<VirtAddr>,
    kernel_walk: Vec<u64>,
}

impl Unwinding {
    /// For samples of these events, with user stacks of at most `max_stack` frames.
    pub(crate) fn new(
        events: &EventSet,
        origin: Origin,
        machine: Machine,
        max_stack: usize,
    ) -> Self {
        Self {
            unwinder: match origin {
                Origin::Live => Unwinder::live(),
                _ => Unwinder::new(),
            },
            machine,
            max_stack,
            polled: (origin == Origin::Live).then(|| PolledMemory::new(events)),
            runtimes: Runtimes::default(),
            deep: DeepStacks::default(),
            starting: FxHashSet::default(),
            foreign_stacks: 0,
            refused_stacks: 0,
            chain: Vec::new(),
            user: Vec::new(),
            kernel_walk: Vec::new(),
        }
    }

    /// The whole callchain of a sample.
    pub(crate) fn unwind(
        &mut self,
        event: &Event,
        sample: &Sample<'_>,
        around: Around<'_>,
    ) -> UnwoundChain<'_> {
        let end = self.build(event, sample, around);
        UnwoundChain {
            entries: &self.chain,
            end,
        }
    }

    /// The callchain of a thread that sleeps: these addresses in the kernel, and in user code what can be found from
    /// where it entered the kernel, an instruction and a stack pointer.
    pub(crate) fn unwind_asleep(
        &mut self,
        thread: SampledThread,
        kernel: &[u64],
        user: Option<(VirtAddr, VirtAddr)>,
        around: Around<'_>,
    ) -> UnwoundChain<'_> {
        self.chain.clear();
        self.kernel_walk.clear();
        if !kernel.is_empty() {
            self.chain.push(callchain::KERNEL);
            self.chain.extend(kernel);
        }
        let end = match (user, Machine::here()) {
            (Some((ip, sp)), Some((arch, mask))) => {
                let registers = Regs::from_perf(arch, mask, [sp.0, ip.0]);
                let mut bytes = vec![0; ASLEEP_COPY];
                let read = read_memory(thread.pid, thread.tid, sp, &mut bytes).unwrap_or(0);
                let stack = UserStack {
                    bytes: &bytes[..read],
                    capacity: ASLEEP_COPY,
                };
                self.walk(thread, &registers, stack, around)
            }
            _ => ChainEnd::NoUserState,
        };
        UnwoundChain {
            entries: &self.chain,
            end,
        }
    }

    /// Makes `self.chain` the callchain of `sample`, and tells why it ended.
    fn build(&mut self, event: &Event, sample: &Sample<'_>, around: Around<'_>) -> ChainEnd {
        self.chain.clear();
        let Some(recorded) = sample.callchain else {
            return ChainEnd::Unknown;
        };
        let unwinds = event.attr.sample_type & sample::STACK_USER != 0;
        let (Some(regs), Some(stack)) = (sample.user_regs, sample.user_stack) else {
            if !unwinds {
                self.chain.extend(recorded.iter());
                return ChainEnd::Unknown;
            }
            let kernel = recorded.iter();
            self.chain
                .extend(kernel.take_while(|&entry| entry != callchain::USER));
            return ChainEnd::NoUserState;
        };
        if regs.abi != registers_abi::BITS_64 {
            self.chain.extend(recorded.iter()); // a 32-bit program: the kernel's walk is all we have
            around
                .pace
                .copied(stack.capacity, None, false, ChainEnd::Unknown);
            return ChainEnd::FramePointersOnly;
        }
        let Some(arch) = self.machine.unwinds(&regs) else {
            self.foreign_stacks += 1;
            self.chain.extend(recorded.iter());
            if !self.chain.contains(&callchain::USER)
                && let Some(instruction) = self.machine.instruction(&regs)
            {
                self.chain.extend([callchain::USER, instruction.0]);
            }
            return ChainEnd::Unknown;
        };
        self.split_recorded(recorded.iter());
        let registers = Regs::from_perf(arch, regs.mask, regs.values.iter());
        self.walk(SampledThread::of(sample), &registers, stack, around)
    }

    /// Keeps all but the user's part in `self.chain`, and that part, which is the last one, as the
    /// kernel's own walk. What looks like a marker in it is a word of the user's stack.
    fn split_recorded(&mut self, recorded: impl Iterator<Item = u64>) {
        let mut in_user = false;
        self.kernel_walk.clear();
        for entry in recorded {
            in_user |= entry == callchain::USER;
            if !in_user {
                self.chain.push(entry);
            } else if entry < callchain::FIRST {
                self.kernel_walk.push(entry);
            }
        }
    }

    /// Walks the user's stack, from registers and a copy, and appends it to `self.chain`.
    fn walk(
        &mut self,
        thread: SampledThread,
        registers: &Regs,
        stack: UserStack<'_>,
        around: Around<'_>,
    ) -> ChainEnd {
        let Around {
            processes,
            files,
            pace,
        } = around;
        let start = VirtAddr(registers.sp().unwrap_or(0));
        let time = thread.time;
        let rest = self.deep.take(thread.tid, start, time, stack.bytes);
        let parts: Vec<_> = rest.iter().flat_map(Rest::parts).collect();
        let copy = StackCopy::new(start, stack.bytes, stack.bytes.len() == stack.capacity);
        let copy = copy.with_rest(&parts);
        let space = processes.space(thread.pid);
        let space = space.unwrap_or(AddressSpace::nowhere());
        if thread.mode == CpuMode::User {
            self.starting.remove(&thread.pid);
        } else if self.starting.contains(&thread.pid) {
            let ip = VirtAddr(registers.ip().unwrap_or(0));
            if space.find(ip).is_none() {
                return ChainEnd::NoUserState; // the registers are those of the old program
            }
        }
        let mut images = MappedImages {
            files,
            pid: thread.pid,
            space,
            dsos: &processes.dsos,
        };
        self.unwinder.pass_time(time);
        let runtime = self.runtimes.of(thread.pid);
        let mut memory = self
            .polled
            .as_mut()
            .map(|polled| TargetMemory::new(thread.pid, thread.tid, time, polled, runtime));
        let process = Process {
            space,
            live: memory.as_mut().map(|memory| memory as _),
            images: &mut images,
        };
        let state = UserState {
            regs: registers,
            stack: &copy,
            kernel_chain: &self.kernel_walk,
        };
        self.user.clear();
        let end = self
            .unwinder
            .unwind(process, state, self.max_stack, &mut self.user);
        if let Some(memory) = memory {
            if memory.was_read {
                pace.went_on_in_live_memory();
            }
            self.refused_stacks += u64::from(memory.was_refused && !end.is_whole());
        }
        let (task, found) = ((thread.pid, thread.tid), (images.files, &processes.dsos));
        self.runtimes.of(thread.pid).look(task, time, space, found);
        let (reach, is_cut) = (self.unwinder.reach(), self.unwinder.is_cut());
        pace.copied(stack.capacity, reach, is_cut, end);
        let deep = DeepThread {
            pid: thread.pid,
            tid: thread.tid,
            sp: start,
        };
        self.deep.note(deep, is_cut && rest.is_none());
        if let Some(rest) = rest {
            let was_needed = reach.is_some_and(|reach| reach > stack.bytes.len() as u64);
            self.deep.used(rest, was_needed);
        }
        self.chain.push(callchain::USER);
        self.chain.extend(self.user.iter().map(|addr| addr.0));
        end
    }

    /// A process runs another program from now on.
    pub(crate) fn executed(&mut self, pid: Pid) {
        self.starting.insert(pid);
        self.runtimes.forget(pid);
        self.deep.executed(pid);
        if let Some(polled) = &mut self.polled {
            polled.executed(pid);
        }
    }

    /// A process has ended long ago.
    pub(crate) fn forget_process(&mut self, pid: Pid) {
        self.runtimes.forget(pid);
    }

    /// A thread has ended.
    pub(crate) fn exited(&mut self, thread: (Pid, Tid)) {
        self.deep.exited(thread.0, thread.1);
        if thread.0.0 == thread.1.0 {
            self.runtimes.exited(thread.0);
        }
        if let Some(polled) = &mut self.polled {
            polled.exited(thread);
        }
    }

    /// Looks at the words of the target's memory that samples may ask for.
    pub(crate) fn finish_round(&mut self) {
        if let Some(polled) = &mut self.polled {
            polled.look(|pid, tid, addr, into: &mut [u8]| {
                read_memory(pid, tid, addr, into).unwrap_or(0)
            });
        }
    }

    /// Forgets what was read of a file that is closed now.
    pub(crate) fn forget(&mut self, dso: DsoId) {
        self.unwinder.forget(dso);
    }

    /// The machine whose stacks these are.
    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Samples whose copy of the stack is of a machine that cannot be unwound here.
    pub(crate) fn foreign_stacks(&self) -> u64 {
        self.foreign_stacks
    }

    /// Stacks that are not whole because the target's memory may not be read.
    pub(crate) fn refused_stacks(&self) -> u64 {
        self.refused_stacks
    }

    /// What unwinding took.
    pub(crate) fn stats(&self) -> &prof_unwinder::Stats {
        self.unwinder.stats()
    }
}
