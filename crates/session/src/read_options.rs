//! How a recording is to be read.

use std::path::PathBuf;

use crate::time_slices::TimeSlices;

/// Where inlined functions are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InlinedFunctions {
    /// In callchains that were unwound. As in perf not in those that the kernel walked along frame
    /// pointers: finding them there takes more time than the rest of a report.
    #[default]
    WhereUnwound,
    /// In all callchains.
    Everywhere,
    /// Nowhere.
    Nowhere,
}

/// Which recording is read, and where names for it come from.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// The recording; `-` for stdin.
    pub path: PathBuf,
    /// Look for files below this directory.
    pub symfs: Option<PathBuf>,
    /// Name kernel addresses by this copy of `/proc/kallsyms`.
    pub kallsyms: Option<PathBuf>,
    /// Name kernel addresses by this kernel, and read its code from it. Wins over `kallsyms`.
    pub vmlinux: Option<PathBuf>,
    /// Where inlined functions are shown.
    pub inlined: InlinedFunctions,
    /// Names as in the source rather than as in the symbol table.
    pub demangle: bool,
    /// Only samples from these parts of the recording.
    pub time: Option<TimeSlices>,
    /// The most frames that are unwound of a stack copy.
    pub max_stack: usize,
}

impl ReadOptions {
    /// All of a recording, with names from wherever they are found.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            symfs: None,
            kallsyms: None,
            vmlinux: None,
            inlined: InlinedFunctions::default(),
            demangle: true,
            time: None,
            max_stack: crate::DEFAULT_MAX_STACK,
        }
    }

    /// The recording's name for messages.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }
}
