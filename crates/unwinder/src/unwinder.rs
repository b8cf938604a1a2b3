//! What callers see: a process and a thread's user state in, the callchain and why it ended out. Keeps
//! what was learnt on the way, for the next sample. The walk itself is in `walk`.

use prof_model::{AddressSpace, ChainEnd, DsoId, VirtAddr};
use rustc_hash::FxHashMap;

use crate::allowance::Allowance;
use crate::arch::with_cpu;
use crate::cache::{AtSp, Cache, Place};
use crate::module::Modules;
use crate::tables::rule::RuleStore;
use crate::walk::cgo::CallOfC;
use crate::walk::live_stack::Buffers;
use crate::walk::{Chain, Walk};
use crate::{Images, LiveMemory, Regs, StackMemory, Stats};

/// The process that a sample is of.
pub struct Process<'a> {
    /// Its mappings when the sample was taken.
    pub space: &'a AddressSpace,
    /// Its mapped files.
    pub images: &'a mut dyn Images,
    /// Its memory as it is now, if it can be read. Serves only where the copied stack ends, and only
    /// where it is shown that the thread has stayed in the frames beyond. The word by which the last
    /// copied frame is returned to, and all bytes from there (4 KiB at least) to the end of the copy, are
    /// the same before and after reading. That alone says little: they stay so when the thread leaves,
    /// until it comes as deep again. So they have to be the same in a few samples of the thread in a row,
    /// and between all of them the words read beyond as well.
    pub live: Option<&'a mut dyn LiveMemory>,
}

/// A thread's user state, as it was sampled.
pub struct UserState<'a, S: ?Sized> {
    /// Its registers.
    pub regs: &'a Regs,
    /// Its stack.
    pub stack: &'a S,
    /// What the kernel's own walk along the frame pointers found: raw user addresses, the first one
    /// being the instruction pointer; may be empty. It serves only where the copied stack ends, and
    /// only where its entries provably continue the callchain.
    pub kernel_chain: &'a [u64],
}

/// Unwinds stacks, and remembers what it learns about the code on the way. Serves any number of
/// processes whose mappings name DSOs of one [`prof_model::DsoTable`].
pub struct Unwinder {
    pub(crate) modules: Modules,
    pub(crate) rules: RuleStore,
    pub(crate) cache: Cache,
    pub(crate) stats: Stats,
    pub(crate) allowance: Allowance,
    /// Where the return address is, by places in generated code where its bytes have told it.
    pub(crate) generated: FxHashMap<Place, AtSp>,
    /// Who made them, by the number of what was watched then.
    pub(crate) calls_of_c: FxHashMap<u64, CallOfC>,
    buffers: Buffers,
    reach: Option<u64>,
    pub(crate) is_cut: bool,
}

impl Default for Unwinder {
    fn default() -> Self {
        Self::new()
    }
}

impl Unwinder {
    /// Without any knowledge yet, for samples that wait until it is their turn, as those of a file.
    pub fn new() -> Self {
        Self::with_allowance(Allowance::unlimited())
    }

    /// Without any knowledge yet, for samples that come whether they are waited for or not. How much code
    /// without tables is looked at is limited by the time that passes ([`Unwinder::pass_time`]), and goes on
    /// with later samples. Until then callchains end there ([`ChainEnd::NotYet`]).
    pub fn live() -> Self {
        Self::with_allowance(Allowance::limited())
    }

    fn with_allowance(allowance: Allowance) -> Self {
        Self {
            allowance,
            modules: Modules::default(),
            rules: RuleStore::default(),
            cache: Cache::default(),
            stats: Stats::default(),
            generated: FxHashMap::default(),
            calls_of_c: FxHashMap::default(),
            buffers: Buffers::default(),
            reach: None,
            is_cut: false,
        }
    }

    /// The recording has come to the time of the next sample, in nanoseconds since any moment. Matters to
    /// [`Unwinder::live`] alone.
    pub fn pass_time(&mut self, now: u64) {
        self.allowance.pass_time(now);
    }

    /// Forgets what it read of a file; a sample that hits it again has it read again.
    pub fn forget(&mut self, dso: DsoId) {
        self.modules.forget(dso);
    }

    /// What it did so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// How many bytes above the stack pointer the last callchain's outermost frame begins: a copy a
    /// little larger than that gives the same callchain. `None` if it goes on beyond the copy, with
    /// what else is known or not at all, for goroutines and coroutines, whose callchains often do, and where
    /// the kernel's walk, which small copies come without, told a caller.
    pub fn reach(&self) -> Option<u64> {
        self.reach
    }

    /// Whether the last callchain needed words that lie behind the captured bytes of its stack.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Finds the callchain of a sample, innermost first, and why it ends.
    ///
    /// `out` is cleared. It gets where the code was interrupted and where it called: the sampled
    /// instruction exactly, and each return address - 1. The instruction that a signal interrupted
    /// and the trampoline that the handler returns to are exact as well, since nothing called there.
    /// At most `max_frames` are kept, the innermost ones.
    pub fn unwind<S: StackMemory + ?Sized>(
        &mut self,
        process: Process<'_>,
        state: UserState<'_, S>,
        max_frames: usize,
        out: &mut Vec<VirtAddr>,
    ) -> ChainEnd {
        out.clear();
        self.stats.chains += 1;
        self.is_cut = false;
        let mut buffers = std::mem::take(&mut self.buffers);
        let start = state.regs.sp();
        let mut chain = Chain::new(out, max_frames);
        let (end, reached) = with_cpu!(state.regs.arch(), C => {
            Walk::<C, S>::new(self, process, &state, &mut buffers).run(&state, &mut chain)
        });
        self.reach = reached.and_then(|reached| reached.checked_sub(start?));
        self.buffers = buffers;
        self.stats.frames += out.len() as u64;
        end
    }
}
