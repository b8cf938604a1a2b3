//! What is known about an address: from the cache, else from the module that is mapped there.
//!
//! In: an address of the sampled process. Out: how to leave a frame there, and whether code can return
//! to it. Reading tables and following instructions is the module's job.

use std::marker::PhantomData;

use prof_model::{ChainEnd, DsoId, VirtAddr};

use crate::allowance::Allowance;
use crate::arch::{BYTES_BEFORE, BYTES_FROM, Call, Cpu};
use crate::cache::{Action, AtSp, Known, Place};
use crate::inference::Inferred;
use crate::module::Module;
use crate::tables::rule::{RuleId, RuleStore};
use crate::unwinder::Unwinder;
use crate::walk::Walk;
use crate::{Images, RuntimeCode, RuntimeFrame, StackMemory, Stats};

/// Of so many places in generated code is kept what was read there.
const MOST_GENERATED: usize = 1 << 14;

impl<C: Cpu, S: StackMemory + ?Sized> Walk<'_, C, S> {
    /// The module at an address and the offset in its file.
    pub(crate) fn code(&mut self, addr: u64) -> Option<(&Module, u64)> {
        let (dso, offset) = self.locate(addr).ok()?;
        let Unwinder { modules, stats, .. } = self.unwinder;
        let module = modules.load(dso, C::ARCH, self.images, stats)?;
        Some((module, offset))
    }

    /// The call instruction before a return address.
    pub(crate) fn call_before(&mut self, return_address: u64) -> Option<Call> {
        let (module, offset) = self.code(return_address.wrapping_sub(1))?;
        let (before, _) = module.image.around(offset.checked_add(1)?, BYTES_BEFORE, 0);
        C::call_before(before)
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
        match self.look_up(place) {
            None => Ok(self.without_file(pc, place)), // it may be other code the next time
            Some(Looked::Final(known)) => {
                self.unwinder.cache.insert(place, known);
                Ok(known)
            }
            Some(Looked::NotYet(known)) => Ok(known),
        }
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
        let known = self.told(pc, place.is_return).unwrap_or_else(|| {
            let at_sp = self.generated_frame(pc, place);
            Known {
                action: at_sp.map_or(Action::FramePointer, Action::AtSp),
                is_returned_to: true,
                is_trampoline: false,
            }
        });
        self.generated = Some((place, known));
        known
    }

    /// What the runtime tells that generated the code.
    fn told(&mut self, pc: u64, is_return: bool) -> Option<Known> {
        let code = self
            .memory
            .runtime_code(pc.wrapping_sub(u64::from(is_return)))?;
        let known = |action, is_returned_to| Known {
            action,
            is_returned_to,
            is_trampoline: false,
        };
        let (bytes, at, frame) = match code {
            RuntimeCode::Unused => return Some(known(Action::NoRule, false)),
            RuntimeCode::NotYet => return Some(known(Action::NotYet, true)),
            RuntimeCode::Piece { bytes, at, frame } => (bytes, at, frame),
        };
        let at = at.saturating_add(usize::from(is_return));
        let code = bytes.split_at(at.min(bytes.len()));
        let code = [code.0, code.1];
        let is_returned_to = !is_return || bytes.is_empty() || C::call_before(code[0]).is_some();
        Some(match frame {
            // the interpreter pretends that it was called where the next instruction is interpreted
            RuntimeFrame::Record => known(Action::TellingRecord, true),
            RuntimeFrame::None => known(Action::Told(AtSp::UNTOUCHED), is_returned_to),
            RuntimeFrame::Fixed {
                size,
                complete_from,
            } if let Some(at) = C::fixed_frame(code, is_return, size, complete_from) => {
                known(Action::Told(at), is_returned_to)
            }
            RuntimeFrame::Fixed { .. } | RuntimeFrame::Unknown => {
                let at_sp = C::frame_at_sp(is_return, code[0], code[1]);
                let action = at_sp.map_or(Action::FramePointer, Action::AtSp);
                known(action, is_returned_to)
            }
        })
    }

    /// Where the return address is in generated code, by its bytes as they are now, or were when they were
    /// last read.
    fn generated_frame(&mut self, pc: u64, place: Place) -> Option<AtSp> {
        let mut bytes = [0; BYTES_BEFORE + BYTES_FROM];
        let mapped = self.mapping.map_or(0, |mapping| mapping.start);
        let start = pc.saturating_sub(BYTES_BEFORE as u64).max(mapped);
        let before = (pc.saturating_sub(start) as usize).min(BYTES_BEFORE);
        let bytes = &mut bytes[..before + BYTES_FROM];
        let count = self.memory.read_code(start, bytes);
        let (before, from) = bytes[..count].split_at(count.min(before));
        let read = &mut self.unwinder.generated;
        if count == 0 {
            return read.get(&place).copied();
        }
        let at_sp = C::frame_at_sp(place.is_return, before, from);
        match at_sp {
            Some(at_sp) => {
                if read.len() >= MOST_GENERATED {
                    read.clear();
                }
                read.insert(place, at_sp);
            }
            None => {
                read.remove(&place);
            }
        }
        at_sp
    }

    /// `None` if there is no file.
    #[cold]
    fn look_up(&mut self, place: Place) -> Option<Looked> {
        let Unwinder {
            modules,
            rules,
            stats,
            allowance,
            ..
        } = self.unwinder;
        let module = modules.load(place.dso, C::ARCH, self.images, stats)?;
        let search = Search::<C> {
            cpu: PhantomData,
            place,
            module,
            rules,
            stats,
            allowance,
            images: self.images,
            is_final: true,
        };
        Some(search.run())
    }
}

/// The search for what is known about a place in a mapped file.
struct Search<'s, C> {
    cpu: PhantomData<C>,
    place: Place,
    module: &'s mut Module,
    rules: &'s mut RuleStore,
    stats: &'s mut Stats,
    allowance: &'s mut Allowance,
    images: &'s mut dyn Images,
    /// All that can be known about the place is known.
    is_final: bool,
}

/// What a search found.
enum Looked {
    /// What holds from now on.
    Final(Known),
    /// What holds as long as the code was not looked at.
    NotYet(Known),
}

/// What tables say about a place, and the code before it.
struct Entry {
    rule: Option<RuleId>,
    is_returned_to: bool,
    is_trampoline: bool,
}

impl<C: Cpu> Search<'_, C> {
    fn run(mut self) -> Looked {
        if let Some(action) = self.special_action() {
            return Looked::Final(Known {
                action,
                is_returned_to: true,
                is_trampoline: action == Action::SignalReturn,
            });
        }
        let entry = self.entry();
        let known = Known {
            action: self.action(&entry),
            is_returned_to: entry.is_returned_to,
            is_trampoline: entry.is_trampoline,
        };
        match self.is_final {
            true => Looked::Final(known),
            false => Looked::NotYet(known),
        }
    }

    /// The code up to the place, and from it on.
    fn code(&self) -> (&[u8], &[u8]) {
        let image = &self.module.image;
        image.around(self.place.offset, BYTES_BEFORE, BYTES_FROM)
    }

    /// What the instructions alone say, whatever the tables do.
    fn special_action(&self) -> Option<Action> {
        let image = &self.module.image;
        let is_go = image.is_go;
        let (before, from) = self.code();
        if !self.place.is_return {
            return if C::is_in_signal_return(before, from) {
                Some(Action::SignalReturn)
            } else if is_go && C::is_around_vdso_call(image, self.place.offset) {
                Some(Action::VdsoCall)
            } else {
                None
            };
        }
        if C::is_signal_return(from) {
            Some(Action::SignalReturn)
        } else if C::is_stack_start(is_go, before, from) {
            Some(Action::StackStart)
        } else if is_go && C::is_after_stack_switch(before, from) {
            Some(Action::StackSwitch)
        } else if is_go && C::is_after_vdso_call(before, from) {
            Some(Action::VdsoCall)
        } else {
            None
        }
    }

    /// The entry of the instruction that runs here, or of the call that returns to here.
    fn entry(&mut self) -> Entry {
        let Place {
            offset, is_return, ..
        } = self.place;
        let (before, from) = self.code();
        let is_after_call = C::call_before(before).is_some();
        let is_pretended = self.module.image.is_go && C::is_pretended_return(before, from);
        let rule = self.rule_at(self.running());
        let entry = Entry {
            rule,
            is_returned_to: is_after_call || !is_return,
            is_trampoline: rule.is_some_and(|id| self.rules.rule(id).is_signal_frame),
        };
        if entry.is_returned_to {
            return entry;
        }
        // Nothing called here. What somebody puts on a stack is a trampoline for signal handlers, or the
        // start of a function.
        let start = self.rule_at(offset);
        let vaddr = self.module.image.vaddr(offset);
        let is_start =
            vaddr.is_some_and(|vaddr| self.module.is_function_start(vaddr)) || is_pretended;
        match start.filter(|&id| is_start || self.rules.rule(id).is_signal_frame) {
            None => entry,
            rule => Entry {
                rule,
                is_returned_to: true,
                is_trampoline: true,
            },
        }
    }

    /// The offset of what runs here: a call that returns to here is before.
    fn running(&self) -> u64 {
        let is_return = u64::from(self.place.is_return);
        self.place.offset.wrapping_sub(is_return)
    }

    /// The rule of the tables at an offset in the file.
    fn rule_at(&mut self, offset: u64) -> Option<RuleId> {
        let vaddr = self.module.image.vaddr(offset)?;
        let mut debug_file = || self.images.debug_image(self.place.dso);
        self.module
            .rule::<C>(vaddr, &mut debug_file, self.rules, self.stats)
    }

    /// How to leave a frame of which the tables say this.
    fn action(&mut self, entry: &Entry) -> Action {
        let table = entry.rule;
        let vaddr = self.module.image.vaddr(self.running());
        let by_code = match self.place.is_return {
            true => None,
            false => vaddr.and_then(|vaddr| self.rule_by_code(vaddr, table)),
        };
        match (by_code, table) {
            (Some(id), None) => return Action::Inferred(id),
            (Some(id), Some(_)) | (None, Some(id)) => return Action::Rule(id),
            (None, None) => {}
        }
        let (before, from) = self.code();
        let at_sp = match self.place.is_return {
            true => None,
            false => C::frame_at_sp(false, before, from),
        };
        let code = vaddr.filter(|_| entry.is_returned_to); // else no frame is left by it
        let inferred = code.map(|vaddr| self.inferred(vaddr));
        match (inferred, at_sp) {
            (Some(Inferred::Rule(id)), _) => Action::Inferred(id),
            (Some(Inferred::Outermost), _) => Action::ProgramStart,
            (_, Some(at_sp)) => Action::AtSp(at_sp),
            (Some(Inferred::NoRule), None) => Action::NoRule,
            (Some(Inferred::NotYet), None) => Action::NotYet,
            (Some(Inferred::NotReached) | None, None) => Action::FramePointer,
        }
    }

    /// What the instructions of the function around a virtual address say.
    fn inferred(&mut self, vaddr: u64) -> Inferred {
        let Self {
            module,
            rules,
            allowance,
            stats,
            ..
        } = self;
        let inferred = module.inferred::<C>(vaddr, rules, allowance, stats);
        self.is_final = inferred != Inferred::NotYet;
        inferred
    }

    /// The rule that the code around an interrupted instruction gives.
    fn rule_by_code(&mut self, vaddr: u64, table: Option<RuleId>) -> Option<RuleId> {
        let (before, from) = self.code();
        let table = table.map(|id| self.rules.rule(id));
        let rule = C::rule_by_code(self.module, vaddr, [before, from], table)?;
        self.rules.intern(rule)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prof_model::{AddressSpace, Mapping};

    use super::*;
    use crate::Arch;
    use crate::image::Bytes;
    use crate::image::made_up::{Kind, file};
    use crate::{Process, Regs, StackCopy, UserState};

    const START: u64 = 0x40_0000;

    struct OneFile(Bytes);

    impl Images for OneFile {
        fn image(&mut self, _: DsoId) -> Option<Bytes> {
            Some(Arc::clone(&self.0))
        }

        fn debug_image(&mut self, _: DsoId) -> Option<Bytes> {
            None
        }
    }

    #[test]
    fn a_chain_that_ends_in_code_not_looked_at_yet_says_so_and_a_later_one_goes_on() {
        // push %rax; cwtl ... pop %rdx; ret, one after the other; the first one begins with a call
        let mut function = [0x98; 16];
        (function[0], function[14], function[15]) = (0x50, 0x5a, 0xc3);
        let mut code = function.repeat(4_000);
        code[..5].copy_from_slice(&[0xe8, 0x7b, 0, 0, 0]);
        let file: Bytes = Arc::new(file(Arch::ALL[0], START, &[(Kind::Code, START, &code)]));
        let offset = (*file).as_ref().len() - code.len();
        let mut images = OneFile(file);
        let mut space = AddressSpace::default();
        space.insert(Mapping {
            start: START,
            end: START + code.len() as u64,
            dso_start: offset as u64,
            dso: DsoId(0),
            executable: true,
        });
        let mut values = [0; 9];
        (values[7], values[8]) = (0x7000, START + code.len() as u64 - 10); // as perf numbers them
        let regs = Regs::from_perf(Arch::ALL[0], 0x1ff, values);
        let stack: Vec<u8> = [7, START + 5, 0, 0].map(u64::to_le_bytes).concat();
        let copy = StackCopy::new(VirtAddr(0x7000), &stack, true);
        let mut unwinder = Unwinder::live();
        let mut unwind = |now| {
            unwinder.pass_time(now);
            let process = Process {
                space: &space,
                images: &mut images,
                live: None,
            };
            let state = UserState {
                regs: &regs,
                stack: &copy,
                kernel_chain: &[],
            };
            let mut chain = Vec::new();
            (
                unwinder.unwind(process, state, 100, &mut chain),
                chain.len(),
            )
        };
        assert_eq!(unwind(0), (ChainEnd::NotYet, 1));
        assert_eq!(unwind(1_000_000), (ChainEnd::NotYet, 1));
        let later = (0..200).map(|now| unwind(now * 1_000_000));
        assert_eq!(later.last(), Some((ChainEnd::Root, 2)));
    }
}
