//! Goes on where the copy of the stack ends, with the kernel's own walk along the frame pointers.
//!
//! In: a frame whose caller was not copied, and the addresses that the kernel found. Out: those of them
//! that provably are the frame's callers. What lies in live memory is for `live_stack`.

use prof_model::{ChainEnd, VirtAddr};

use crate::arch::Cpu;
use crate::cache::Action;
use crate::walk::step::Frame;
use crate::walk::{Chain, Walk};
use crate::{Regs, StackMemory};

impl<C: Cpu, S: StackMemory + ?Sized> Walk<'_, C, S> {
    /// Goes on beyond the copy with the return addresses that the kernel read there. `None` if
    /// nothing proves that they belong to this frame.
    #[cold]
    pub(crate) fn continue_by_kernel(
        &mut self,
        frame: &Frame,
        mut action: Action,
        sample: &Regs,
        kernel_chain: &[u64],
        chain: &mut Chain<'_>,
    ) -> Option<ChainEnd> {
        let fp = frame.regs.fp()?;
        let rest = above(kernel_chain, sample, fp, self.memory.copy)?;
        let mut end = None;
        let mut pc = frame.pc;
        for &return_address in rest {
            // the kernel's next entry is this frame's return address only if the frame pointer leads to it
            let has_frame_pointer = match action {
                Action::Rule(id) | Action::Inferred(id) => {
                    let is_go = self
                        .code(pc.wrapping_sub(1))
                        .is_some_and(|(module, _)| module.image.is_go);
                    let rule = self.unwinder.rules.rule(id);
                    rule.is_frame_pointer_chain() || is_go && rule.is_go_frame()
                }
                Action::FramePointer | Action::StackSwitch | Action::VdsoCall => true,
                _ => false,
            };
            if !has_frame_pointer {
                break;
            }
            let known = match self.known(return_address, true) {
                Ok(known) if known.is_returned_to => known,
                _ => break,
            };
            if let Err(end) = chain.push(known.shown(return_address, false)) {
                return Some(end);
            }
            action = known.action;
            pc = return_address;
            if self.is_root(action) {
                return Some(ChainEnd::Root);
            }
            end = Some(ChainEnd::TruncatedCopy);
        }
        end
    }

    fn is_root(&self, action: Action) -> bool {
        match action {
            Action::ProgramStart | Action::StackStart => true,
            Action::Rule(id) | Action::Inferred(id) => self.unwinder.rules.rule(id).is_outermost(),
            _ => false,
        }
    }
}

/// The part of the kernel's frame-pointer chain that lies above a frame whose frame pointer is
/// `fp`: its return address first. `None` if that cannot be proven.
///
/// The kernel followed the frame pointers in the live stack. We follow them in the copy, from the
/// sample's own frame pointer, and compare:
///
/// ```text
/// chain:   ip   r1   r2   r3   r4          r1 = [fp0 + 8], r2 = [fp1 + 8], ...
/// copy:   fp0  fp1  fp2 | end of the copy
/// ```
///
/// A frame whose frame pointer is `fp2` has the return address `r3`, although it was not copied.
fn above<'c, S: StackMemory + ?Sized>(
    chain: &'c [u64],
    sample: &Regs,
    fp: u64,
    stack: &S,
) -> Option<&'c [u64]> {
    let (&ip, mut rest) = chain.split_first()?;
    if sample.ip() != Some(ip) {
        return None;
    }
    let mut followed = sample.fp()?;
    while followed != fp {
        let (&return_address, further) = rest.split_first()?;
        let slot = VirtAddr(followed.wrapping_add(8));
        if stack.read_u64(slot)? != return_address {
            return None;
        }
        followed = stack.read_u64(VirtAddr(followed))?;
        rest = further;
    }
    (!rest.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regs::FP;
    use crate::{Arch, StackCopy};

    const IP: u64 = 0x40_0000;

    fn sample(fp: u64) -> Regs {
        let mut regs = Regs::new(Arch::ALL[0]);
        regs.put(crate::regs::IP, Some(IP));
        regs.put(FP, Some(fp));
        regs
    }

    fn copy(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn the_chain_above_a_frame_starts_with_the_return_address_that_was_not_copied() {
        let bytes = copy(&[0x1010, 0xa1, 0x1100, 0xa2]); // frames at 0x1000 and 0x1010
        let stack = StackCopy::new(VirtAddr(0x1000), &bytes, true);
        let chain = [IP, 0xa1, 0xa2, 0xa3, 0xa4];
        let rest = |fp| above(&chain, &sample(0x1000), fp, &stack);
        assert_eq!(rest(0x1100), Some(&[0xa3, 0xa4][..]));
        assert_eq!(rest(0x1010), Some(&[0xa2, 0xa3, 0xa4][..]));
        assert_eq!(rest(0x1108), None); // not a frame that the kernel came to
    }

    #[test]
    fn a_chain_that_differs_from_the_copy_is_not_believed() {
        let bytes = copy(&[0x1100, 0xa1]);
        let stack = StackCopy::new(VirtAddr(0x1000), &bytes, true);
        let rest = |chain| above(chain, &sample(0x1000), 0x1100, &stack);
        assert_eq!(rest(&[IP, 0xa1, 0xa2]), Some(&[0xa2][..]));
        assert_eq!(rest(&[IP, 0xb1, 0xa2]), None);
        assert_eq!(rest(&[IP + 1, 0xa1, 0xa2]), None);
        assert_eq!(rest(&[IP, 0xa1]), None);
        assert_eq!(rest(&[]), None);
    }
}
