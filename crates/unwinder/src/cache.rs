//! What is known about places in DSOs, kept from sample to sample. Finding it out is for `walk`.

use prof_model::DsoId;

use crate::tables::rule::RuleId;

/// How to leave the frame at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// By a rule from unwind tables.
    Rule(RuleId),
    /// By a rule from the function's instructions, if it leads to a return address.
    Inferred(RuleId),
    /// Not at all: the instructions show that the frame pointer does not lead on, and nothing else does.
    NoRule,
    /// Not yet: the instructions are looked at with later samples. Not kept in the cache.
    NotYet,
    /// Into what a signal interrupted: the kernel's signal frame is at the stack pointer.
    SignalReturn,
    /// Not at all: the instructions show that nobody called.
    ProgramStart,
    /// Not at all: a goroutine or a coroutine starts here, or Go has left one to find another.
    StackStart,
    /// Go called from here on the thread's own stack; the frames above are on the goroutine's, to which
    /// only the frame pointer leads.
    StackSwitch,
    /// Go called the vDSO from here, on the thread's own stack: the frame, to which the frame pointer
    /// leads, may be there too, or on the goroutine's.
    VdsoCall,
    /// The return address is at a known distance from the stack pointer.
    AtSp(AtSp),
    /// The same, as the runtime tells that generated the code: without it there is no other way.
    Told(AtSp),
    /// By the frame record that the frame pointer leads to; the word below it is the caller's stack pointer.
    TellingRecord,
    /// No table knows: along the frame pointers, with checks.
    FramePointer,
}

/// A frame that is not (or no longer) set up: where things are relative to the stack pointer, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AtSp {
    pub(crate) return_address: u16,
    /// Where the caller's frame pointer is, if it is not in its register.
    pub(crate) saved_fp: Option<u16>,
}

impl AtSp {
    /// As the call has left it: the return address is at the stack pointer.
    pub(crate) const UNTOUCHED: Self = Self {
        return_address: 0,
        saved_fp: None,
    };
}

/// What is known about a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) action: Action,
    /// Whether execution can return to here: a call instruction comes before, or it is one of the
    /// places that code returns to although nothing called there. True if the bytes are not to be had.
    pub(crate) is_returned_to: bool,
    /// Whether nothing called there: signal handlers return to it, or it is the start of a function
    /// that somebody put on the stack.
    pub(crate) is_trampoline: bool,
}

impl Known {
    /// The address that the callchain gets for a frame here.
    #[inline]
    pub(crate) fn shown(self, pc: u64, is_interrupted: bool) -> u64 {
        let is_call = !is_interrupted && !self.is_trampoline;
        pc.wrapping_sub(u64::from(is_call))
    }
}

/// A place in a DSO, as the cache distinguishes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) dso: DsoId,
    /// What [`prof_model::DsoAddr`] counts.
    pub(crate) offset: u64,
    /// Whether execution will return to here, rather than having been interrupted here.
    pub(crate) is_return: bool,
}

/// Address -> action. The key is a place in a DSO, so that it serves every process that maps the DSO
/// and survives whatever else is mapped or unmapped.
///
/// Direct-mapped: a place whose slot is taken replaces what is there.
#[derive(Default)]
pub(crate) struct Cache {
    slots: Vec<Slot>, // none before the first place is inserted: not every recording has stacks to unwind
}

#[derive(Clone, Copy)]
struct Slot {
    key: u64, // the whole place, see `key`
    known: Known,
}

const _: () = assert!(size_of::<Slot>() == 24); // 768 KiB in all; most programs touch a fraction

const SLOTS_LOG2: u32 = 15;
const EMPTY: u64 = u64::MAX;
const OFFSET_BITS: u32 = 39;
const DSO_BITS: u32 = 24;

impl Cache {
    #[inline]
    pub(crate) fn get(&self, place: Place) -> Option<Known> {
        let key = key(place)?;
        let slot = self.slots.get(index(key))?;
        (slot.key == key).then_some(slot.known)
    }

    pub(crate) fn insert(&mut self, place: Place, known: Known) {
        let Some(key) = key(place) else {
            return;
        };
        if self.slots.is_empty() {
            self.slots = vec![Slot { key: EMPTY, known }; 1 << SLOTS_LOG2];
        }
        self.slots[index(key)] = Slot { key, known };
    }
}

/// The place as one number, no two alike; `None` if it does not fit, as addresses of generated code
/// do not. Those are looked up each time, which is quick, since they have no tables.
#[inline]
fn key(place: Place) -> Option<u64> {
    let dso = u64::from(place.dso.0);
    if place.offset >> OFFSET_BITS != 0 || dso + 1 >= 1 << DSO_BITS {
        return None;
    }
    Some(dso << (OFFSET_BITS + 1) | u64::from(place.is_return) << OFFSET_BITS | place.offset)
}

#[inline]
fn index(key: u64) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SLOTS_LOG2)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(dso: u32, offset: u64, is_return: bool) -> Place {
        Place {
            dso: DsoId(dso),
            offset,
            is_return,
        }
    }

    const SIGNAL: Known = Known {
        action: Action::SignalReturn,
        is_returned_to: true,
        is_trampoline: true,
    };

    #[test]
    fn an_action_is_found_for_its_own_place_only() {
        let mut cache = Cache::default();
        cache.insert(place(3, 0x1234, true), SIGNAL);
        assert_eq!(cache.get(place(3, 0x1234, true)), Some(SIGNAL));
        assert_eq!(cache.get(place(3, 0x1234, false)), None);
        assert_eq!(cache.get(place(2, 0x1234, true)), None);
        assert_eq!(cache.get(place(3, 0x1235, true)), None);
    }

    #[test]
    fn a_place_too_large_for_the_key_is_not_cached() {
        let mut cache = Cache::default();
        let large = [
            place(0, 1 << OFFSET_BITS, false),
            place((1 << DSO_BITS) - 1, 0, false),
            place(u32::MAX, u64::MAX, true),
        ];
        for place in large {
            cache.insert(place, SIGNAL);
            assert_eq!(cache.get(place), None);
        }
    }
}
