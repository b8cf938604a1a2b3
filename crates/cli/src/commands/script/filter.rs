//! Which samples `prof script` prints.

use prof_model::{CommId, Cpu, Pid, Resolution, Tid};
use prof_profile::{FrameId, Names, Profile};

use super::args::ScriptArgs;

/// Decides sample by sample.
pub struct Filter<'a> {
    args: &'a ScriptArgs,
    cpus: Option<Vec<Cpu>>,
    is_wanted: Vec<bool>, // by CommId
    names: &'a Names,
}

impl<'a> Filter<'a> {
    /// What the arguments ask for of `profile`; `cpus` of them are parsed.
    pub fn new(
        args: &'a ScriptArgs,
        cpus: Option<Vec<Cpu>>,
        profile: &Profile,
        names: &'a Names,
    ) -> Self {
        let wanted = &args.input.comms;
        let is_wanted = |comm: u32| {
            let name = profile.comms.display(CommId(comm));
            wanted.iter().any(|wanted| **wanted == name)
        };
        Self {
            args,
            cpus,
            is_wanted: (0..profile.comms.len() as u32).map(is_wanted).collect(),
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
        let input = &self.args.input;
        let is_wanted = |comm: CommId| self.is_wanted.get(comm.0 as usize) == Some(&true);
        (input.comms.is_empty() || comm.is_some_and(is_wanted))
            && (input.pid.is_empty() || input.pid.contains(&pid.0))
            && (input.tid.is_empty() || input.tid.contains(&tid.0))
            && self.has_cpu(cpu)
    }

    /// Whether what happened there is printed.
    pub fn has_cpu(&self, cpu: Option<Cpu>) -> bool {
        let is_among = |cpus: &Vec<Cpu>| cpu.is_some_and(|cpu| cpus.contains(&cpu));
        self.cpus.as_ref().is_none_or(is_among)
    }

    /// Whether samples with this stack, innermost first, are printed.
    pub fn has_stack(&self, frames: &[FrameId]) -> bool {
        let wanted = &self.args.symbols;
        let is_wanted = |frame: &FrameId| match self.names.get(*frame) {
            Resolution::Named { symbol, .. } => wanted.iter().any(|name| **name == *symbol.name),
            Resolution::Unresolved(_) => false,
        };
        wanted.is_empty() || frames.first().is_some_and(is_wanted)
    }
}
