use std::sync::Arc;

use prof_model::SourceLine;

/// One function that an address lies in: the physical one, or one inlined there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlaceFrame {
    /// As the debug info has it: mangled where it says so.
    pub(crate) name: Option<Arc<str>>,
    /// The place in this function's source: of the address, or of the call of the next inner one.
    pub(crate) location: Option<SourceLine>,
}

/// The extent of a physical function in the file's address numbering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlaceFunction {
    pub(crate) name: Arc<str>,
    pub(crate) address: u64,
    pub(crate) size: u64,
}
