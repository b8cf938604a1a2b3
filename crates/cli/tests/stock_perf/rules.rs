//! Where `prof` says something else than perf, each with its reason. What no rule explains is a
//! mistake of `prof`.

use std::collections::BTreeSet;

pub(crate) use crate::support::Aliases;

/// Why a name or a stack is not perf's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rule {
    /// A return address is looked up one byte before, where the call is. Where the call was a
    /// function's last instruction, perf names the next function, at its offset 0.
    ReturnAddress,
    /// Several symbols have the same address. perf takes the last of `/proc/kallsyms`, and in files
    /// what its order of insertion makes of it.
    Alias,
    /// perf numbers PLT stubs by the order of the relocations, which is not that of the stubs.
    PltStub,
    /// perf keeps a process's mappings when it runs another program; they are gone.
    MapsAfterExec,
    /// A word of the user's stack that looks like a context marker makes perf drop the whole
    /// callchain.
    MarkerOnStack,
    /// perf names kernel addresses only behind the record that tells where the kernel lies, which
    /// `--tail-synthesize` writes last.
    KernelToldLast,
    /// A thread that no record named has its process's name; for perf it is `:TID`.
    NamelessThread,
    /// perf learns too late that the tracepoints of a pipe have callchains, and leaves out offsets
    /// and modules.
    TracepointsOfPipe,
    /// perf skips functions without a frame pointer, or stops early, where its unwinder finds no
    /// table.
    LongerStack,
    /// Where its unwinder finds no table, perf follows the frame pointer even where it points to no
    /// frame, and ends with an address that is none.
    FollowedNonsense,
}

/// What differed and was explained, for tables that have no addresses to explain it again.
#[derive(Default)]
pub(crate) struct Explained {
    pub(crate) rules: BTreeSet<Rule>,
    /// Function names that a rule has replaced, of both sides.
    pub(crate) names: BTreeSet<String>,
}

impl Explained {
    pub(crate) fn add(&mut self, rule: Rule, names: [&str; 2]) {
        self.rules.insert(rule);
        self.names.extend(names.map(str::to_owned));
    }

    /// Whether a line of a table or a call graph has one of the names.
    pub(crate) fn touches(&self, line: &str) -> bool {
        self.names.iter().any(|name| line.contains(name.as_str()))
    }
}
