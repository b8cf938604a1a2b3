//! Which samples `prof script` prints.

use prof_model::{CommId, Cpu, Pid, Resolution, Tid};
use prof_profile::{FrameId, Names, Profile};
use prof_report::Filter;

/// Decides sample by sample.
pub struct SampleFilter<'a> {
    wanted: Filter,
    is_wanted: Vec<bool>, // by CommId
    names: &'a Names,
}

impl<'a> SampleFilter<'a> {
    /// For the samples of `profile` that are `wanted`.
    pub fn new(wanted: Filter, profile: &Profile, names: &'a Names) -> Self {
        let is_wanted = |comm: u32| {
            let name = profile.comms.display(CommId(comm));
            wanted.comms.iter().any(|wanted| **wanted == name)
        };
        Self {
            is_wanted: (0..profile.comms.len() as u32).map(is_wanted).collect(),
            wanted,
            names,
        }
    }

    /// Whether a thread's samples on a CPU are printed.
    pub fn has_thread(
        &self,
        comm: Option<CommId>,
        (pid, tid): (Pid, Tid),
        cpu: Option<Cpu>,
    ) -> bool {
        let wanted = &self.wanted;
        let is_wanted = |comm: CommId| self.is_wanted.get(comm.0 as usize) == Some(&true);
        (wanted.comms.is_empty() || comm.is_some_and(is_wanted))
            && (wanted.pids.is_empty() || wanted.pids.contains(&pid))
            && (wanted.tids.is_empty() || wanted.tids.contains(&tid))
            && self.has_cpu(cpu)
    }

    /// Whether what happened there is printed.
    pub fn has_cpu(&self, cpu: Option<Cpu>) -> bool {
        let cpus = &self.wanted.cpus;
        cpus.is_empty() || cpu.is_some_and(|cpu| cpus.contains(&cpu))
    }

    /// Whether samples with this stack, innermost first, are printed.
    pub fn has_stack(&self, frames: &[FrameId]) -> bool {
        let wanted = &self.wanted.symbols;
        let is_wanted = |frame: &FrameId| match self.names.get(*frame) {
            Resolution::Named { symbol, .. } => wanted.iter().any(|name| **name == *symbol.name),
            Resolution::Unresolved(_) => false,
        };
        wanted.is_empty() || frames.first().is_some_and(is_wanted)
    }
}
