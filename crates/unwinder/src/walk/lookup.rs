//! What is known about an address: from the cache, else from the module that is mapped there.
//!
//! In: an address of the sampled process. Out: how to leave a frame there, and whether code can return
//! to it. Reading tables and following instructions is the module's job.

use prof_model::{ChainEnd, DsoId, VirtAddr};

use crate::arch::aarch64::prologue_epilogue::in_linkage_table;
use crate::arch::x86_64::dataflow::Inferred;
use crate::arch::x86_64::{
    AROUND_VDSO_CALL, call_before, frame_at_sp, frame_before_return, is_around_vdso_call,
};
use crate::arch::{BYTES_BEFORE, BYTES_FROM};
use crate::cache::{Action, Known, Place};
use crate::module::Module;
use crate::tables::rule::RuleStore;
use crate::unwinder::Unwinder;
use crate::walk::Walk;
use crate::{Arch, StackMemory};

/// Of so many places in generated code is kept what was read there.
const MOST_GENERATED: usize = 1 << 14;

impl<S: StackMemory + ?Sized> Walk<'_, S> {
    /// The module at an address and the offset in its file.
    pub(crate) fn code(&mut self, addr: u64) -> Option<(&Module, u64)> {
        let (dso, offset) = self.locate(addr).ok()?;
        let Unwinder { modules, stats, .. } = self.unwinder;
        let module = modules.load(dso, self.arch, self.images, stats)?;
        Some((module, offset))
    }

    /// The DSO of the code at an address, and the place in it.
    #[inline]
    fn locate(&mut self, addr: u64) -> Result<(DsoId, u64), ChainEnd> {
        let is_covered = self
            .mapping
            .is_some_and(|mapping| mapping.start <= addr && addr < mapping.end);
        if !is_covered {
            let found = self.space.find(VirtAddr(addr)).ok_or(ChainEnd::NoMapping)?;
            if !found.executable {
                return Err(ChainEnd::BadFrame);
            }
            self.mapping = Some(found);
        }
        let mapping = self.mapping.ok_or(ChainEnd::NoMapping)?;
        Ok((mapping.dso, mapping.dso_addr(VirtAddr(addr)).0))
    }

    /// What is known about an address: from the cache, else from the module.
    #[inline]
    pub(crate) fn known(&mut self, pc: u64, is_return: bool) -> Result<Known, ChainEnd> {
        // a call that never returns may be the mapping's last instruction
        let (dso, offset) = self.locate(pc.wrapping_sub(u64::from(is_return)))?;
        let place = Place {
            dso,
            offset: offset.wrapping_add(u64::from(is_return)),
            is_return,
        };
        if let Some(known) = self.unwinder.cache.get(place) {
            self.unwinder.stats.cache_hits += 1;
            return Ok(known);
        }
        self.unwinder.stats.cache_misses += 1;
        let Some(known) = self.look_up(place) else {
            return Ok(self.without_file(pc, place)); // it may be other code the next time
        };
        self.unwinder.cache.insert(place, known);
        Ok(known)
    }

    /// What is known about code of which there is no file, as a compiler generates it while it runs:
    /// what its bytes say, where the process's memory can be read. CPython calls each Python function
    /// through such a piece of code, which keeps no frame pointer. Of a process that has ended since,
    /// what was read last holds.
    #[cold]
    fn without_file(&mut self, pc: u64, place: Place) -> Known {
        if let Some((at, known)) = self.generated
            && at == place
        {
            return known;
        }
        let is_return = place.is_return;
        if self.arch != Arch::X86_64 {
            return Known {
                action: Action::FramePointer,
                is_returned_to: true,
                is_trampoline: false,
            };
        }
        let mut bytes = [0; BYTES_BEFORE + BYTES_FROM];
        let mapped = self.mapping.map_or(0, |mapping| mapping.start);
        let start = pc.saturating_sub(BYTES_BEFORE as u64).max(mapped);
        let before = (pc.saturating_sub(start) as usize).min(BYTES_BEFORE);
        let bytes = &mut bytes[..before + BYTES_FROM];
        let count = self.memory.read_code(start, bytes);
        let (before, from) = bytes[..count].split_at(count.min(before));
        let at_sp = match is_return {
            true => call_before(before).and_then(|_| frame_before_return(from)),
            false => frame_at_sp(before, from),
        };
        let read = &mut self.unwinder.generated;
        let at_sp = match (count, at_sp) {
            (0, _) => read.get(&place).copied(),
            (_, Some(at_sp)) => {
                if read.len() >= MOST_GENERATED {
                    read.clear();
                }
                read.insert(place, at_sp);
                Some(at_sp)
            }
            (_, None) => {
                read.remove(&place);
                None
            }
        };
        let known = Known {
            action: at_sp.map_or(Action::FramePointer, Action::AtSp),
            is_returned_to: true,
            is_trampoline: false,
        };
        self.generated = Some((place, known));
        known
    }

    /// `None` if there is no file.
    #[cold]
    fn look_up(&mut self, place: Place) -> Option<Known> {
        let Unwinder {
            modules,
            rules,
            stats,
            ..
        } = self.unwinder;
        let arch = self.arch;
        let module = modules.load(place.dso, arch, self.images, stats)?;
        let (before, from) = module.image.around(place.offset, BYTES_BEFORE, BYTES_FROM);
        let is_after_call = arch.is_after_call(before);
        let special = arch.special_action(place.is_return, module.image.is_go, before, from);
        let is_pretended = module.image.is_go && arch.is_pretended_return(before, from);
        let special = special.or_else(|| {
            let is_possible = module.image.is_go && !place.is_return && arch == Arch::X86_64;
            let around = || {
                let (before, from) =
                    module
                        .image
                        .around(place.offset, AROUND_VDSO_CALL, AROUND_VDSO_CALL);
                is_around_vdso_call(before, from)
            };
            (is_possible && around()).then_some(Action::VdsoCall)
        });
        if let Some(action) = special {
            return Some(Known {
                action,
                is_returned_to: true,
                is_trampoline: action == Action::SignalReturn,
            });
        }
        let at_sp = match arch {
            Arch::X86_64 if !place.is_return => frame_at_sp(before, from),
            _ => None,
        };
        let stub = match arch {
            Arch::Aarch64 if !place.is_return => in_linkage_table(before, from),
            _ => None,
        };
        let images = &mut *self.images;
        let mut debug_file = || images.debug_image(place.dso);
        let mut rule_at = |rules: &mut RuleStore, offset| {
            let vaddr = module.image.vaddr(offset)?;
            module.rule(vaddr, &mut debug_file, rules, stats)
        };
        let lookup = place.offset.wrapping_sub(u64::from(place.is_return));
        let mut rule = rule_at(rules, lookup);
        let mut is_returned_to = is_after_call || !place.is_return;
        let mut is_trampoline = rule.is_some_and(|id| rules.rule(id).is_signal_frame);
        if !is_returned_to {
            // Nothing called here. What somebody puts on a stack is a trampoline for signal handlers,
            // or the start of a function.
            let start = rule_at(rules, place.offset);
            let is_start = module
                .image
                .vaddr(place.offset)
                .is_some_and(|vaddr| module.is_function_start(vaddr))
                || is_pretended;
            if let Some(id) = start.filter(|&id| is_start || rules.rule(id).is_signal_frame) {
                (rule, is_returned_to, is_trampoline) = (Some(id), true, true);
            }
        }
        if arch == Arch::Aarch64
            && !place.is_return
            && let Some(vaddr) = module.image.vaddr(lookup)
        {
            let table = rule.map(|id| rules.rule(id));
            let by_code = stub.or_else(|| module.at_the_ends(vaddr, table));
            let by_code = by_code.and_then(|rule| rules.intern(rule));
            match rule {
                Some(_) => rule = by_code.or(rule),
                None => {
                    if let Some(id) = by_code {
                        return Some(Known {
                            action: Action::Inferred(id),
                            is_returned_to,
                            is_trampoline,
                        });
                    }
                }
            }
        }
        let action = match (rule, at_sp) {
            (Some(id), _) => Action::Rule(id),
            (None, at_sp) => {
                let vaddr = module.image.vaddr(lookup);
                let inferred = vaddr.map(|vaddr| module.inferred(vaddr, rules, stats));
                match (inferred, at_sp) {
                    (Some(Inferred::Rule(id)), _) => Action::Inferred(id),
                    (Some(Inferred::Outermost), _) => Action::ProgramStart,
                    (_, Some(at_sp)) => Action::AtSp(at_sp),
                    (Some(Inferred::NoRule), None) => Action::NoRule,
                    (Some(Inferred::NotReached) | None, None) => Action::FramePointer,
                }
            }
        };
        Some(Known {
            action,
            is_returned_to,
            is_trampoline,
        })
    }
}
