//! What an event can do without, and the search for the least of it that makes the kernel grant the rest.
//!
//! In: an attr that the kernel forbids, and a way to try another. Out: the attr that it permits. Elsewhere:
//! what the kernel cannot do at all, and what the user is told (`settle.rs`).

use std::io;

use prof_event::EventAttr;
use prof_event::abi::{event_type, flag, sample};

/// Something that an event can do without. The kernels differ in what they permit an ordinary user, so
/// nothing here says which of these is needed when: they are tried. All are of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Concession {
    /// News of code that is loaded into the kernel.
    SymbolNews,
    /// The part of callchains in the kernel.
    Callers,
    /// Samples in the kernel.
    Samples,
}

/// Each weighs more than all in front of it together.
const BY_WEIGHT: [Concession; 3] = [
    Concession::SymbolNews,
    Concession::Callers,
    Concession::Samples,
];

impl Concession {
    /// Whether there is anything to give up of it.
    fn is_possible(self, attr: &EventAttr) -> bool {
        match self {
            Self::SymbolNews => attr.has(flag::KSYMBOL),
            Self::Callers => {
                attr.sample_type & sample::CALLCHAIN != 0
                    && !attr.has(flag::EXCLUDE_CALLCHAIN_KERNEL)
            }
            Self::Samples => {
                !attr.has(flag::EXCLUDE_KERNEL)
                    && !attr.has(flag::EXCLUDE_USER)
                    && attr.kind != event_type::TRACEPOINT
            }
        }
    }

    fn make(self, attr: &mut EventAttr) {
        match self {
            Self::SymbolNews => attr.set(flag::KSYMBOL, false),
            Self::Callers => attr.set(flag::EXCLUDE_CALLCHAIN_KERNEL, true),
            Self::Samples => attr.set(flag::EXCLUDE_KERNEL | flag::EXCLUDE_HV, true),
        }
    }
}

/// The attr with the least given up that the kernel does not forbid. `None` if it forbids all of them.
/// `open` tries an attr; what it fails of other than permission is the caller's to mend.
pub(super) fn least_given_up(
    attr: &EventAttr,
    open: &mut dyn FnMut(&EventAttr) -> io::Result<()>,
) -> Option<EventAttr> {
    let possible: Vec<_> = BY_WEIGHT
        .into_iter()
        .filter(|it| it.is_possible(attr))
        .collect();
    // In this order a set weighs more than all sets before it.
    let sets = 1..1_u32 << possible.len();
    let mut attrs = sets.map(|set| {
        let mut attr = attr.clone();
        for (bit, concession) in possible.iter().enumerate() {
            if set & 1 << bit != 0 {
                concession.make(&mut attr);
            }
        }
        attr
    });
    attrs.find(|attr| !open(attr).is_err_and(|error| is_forbidden(&error)))
}

/// Whether permission is what was missing.
pub(super) fn is_forbidden(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM))
}
