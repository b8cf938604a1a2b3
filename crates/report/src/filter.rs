use prof_model::{Cpu, Pid, Tid};
use prof_profile::{Names, Profile, SampleKey};

use crate::thread_state::StatesOfFrames;
use crate::{Places, SymbolKind, ThreadState};

/// Which samples a report is about. A sample passes if every list that is not empty has an entry
/// for it. Modules and functions are those of the interrupted instruction.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Filter {
    /// Thread names.
    pub comms: Vec<String>,
    /// Modules, by file name or by path.
    pub dsos: Vec<String>,
    /// Functions, by name or by an address in them (`0x12e9`, as the module numbers it).
    pub symbols: Vec<String>,
    /// A part of the function's name; empty for any.
    pub symbol_part: String,
    /// Processes.
    pub pids: Vec<Pid>,
    /// Threads.
    pub tids: Vec<Tid>,
    /// CPUs.
    pub cpus: Vec<Cpu>,
    /// What threads do or wait for.
    pub states: Vec<ThreadState>,
}

impl Filter {
    /// Whether every sample passes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What tells whether a sample passes. `inline` as in [`Places::new`].
    pub fn test<'a>(
        &'a self,
        profile: &'a Profile,
        names: &Names,
        inline: bool,
    ) -> impl Fn(&SampleKey) -> bool + 'a {
        let compiled =
            (!self.is_empty()).then(|| self.compile(profile, &Places::new(profile, names, inline)));
        move |key| {
            compiled
                .as_ref()
                .is_none_or(|filter| filter.passes(profile, key))
        }
    }

    /// Looks up the lists' words once, so that a sample costs no string comparison.
    pub(crate) fn compile<'a>(&'a self, profile: &Profile, places: &Places) -> CompiledFilter<'a> {
        CompiledFilter {
            filter: self,
            frame_passes: profile
                .frames()
                .map(|(frame, _)| self.passes_code(profile, places, frame))
                .collect(),
            states: (!self.states.is_empty()).then(|| StatesOfFrames::of(profile, places)),
        }
    }

    fn passes_code(
        &self,
        profile: &Profile,
        places: &Places,
        frame: prof_profile::FrameId,
    ) -> bool {
        let symbol = places.symbol_at(places.physical(frame));
        let address = profile.frame(frame).lookup;
        let dso = symbol.dso.map(|dso| profile.dsos.get(dso));
        let is_dso = |wanted: &String| match dso {
            Some(dso) => *wanted == dso.short_name() || *wanted == dso.long_name(),
            None => wanted == "[unknown]",
        };
        let is_symbol = |wanted: &String| {
            let by_address = wanted
                .strip_prefix("0x")
                .and_then(|hex| u64::from_str_radix(hex, 16).ok())
                .is_some_and(|addr| match symbol.kind {
                    SymbolKind::Unresolved(_) | SymbolKind::Unnamed => {
                        addr == symbol.start || addr == address
                    }
                    _ => addr
                        .checked_sub(symbol.start)
                        .is_some_and(|offset| offset < symbol.size),
                });
            by_address || (symbol.is_named() && **wanted == *symbol.name)
        };
        (self.dsos.is_empty() || self.dsos.iter().any(is_dso))
            && (self.symbols.is_empty() || self.symbols.iter().any(is_symbol))
            && (self.symbol_part.is_empty() || symbol.name.contains(&self.symbol_part))
    }
}

/// A filter that knows which of a profile's frames pass it.
pub(crate) struct CompiledFilter<'a> {
    filter: &'a Filter,
    frame_passes: Vec<bool>,
    states: Option<StatesOfFrames>,
}

impl CompiledFilter<'_> {
    pub(crate) fn passes(&self, profile: &Profile, key: &SampleKey) -> bool {
        let Filter {
            comms,
            pids,
            tids,
            cpus,
            states,
            ..
        } = self.filter;
        let of_frames = self.states.as_ref();
        let state_passes = |of: &StatesOfFrames| states.contains(&of.of_sample(profile, key));
        let comm_passes = || {
            let name = comm_label(profile, key);
            comms.contains(&name)
        };
        (pids.is_empty() || pids.contains(&key.pid))
            && (tids.is_empty() || tids.contains(&key.tid))
            && (cpus.is_empty() || key.cpu.is_some_and(|cpu| cpus.contains(&cpu)))
            && (comms.is_empty() || comm_passes())
            && of_frames.is_none_or(state_passes)
            && match profile.stacks().frames(key.stack).next() {
                Some(frame) => self.frame_passes[frame.index()],
                None => true,
            }
    }
}

/// The thread's name, or perf's `:TID` where no record gave one.
pub(crate) fn comm_label(profile: &Profile, key: &SampleKey) -> String {
    match key.comm {
        Some(comm) => prof_model::printable(&profile.comms.display(comm)).into_owned(),
        None => format!(":{}", key.tid),
    }
}
