//! The caller of a function whose return is probed (a uretprobe, as agents put them on `SSL_write` or
//! `malloc`): the kernel has put the address of a page of its own in the place of the return address.
//!
//! In: a frame that seems to be called from that page. Out: the true return address, where the kernel's own
//! walk has it. Since Linux 6.11 that puts the true addresses back, but it follows frame pointers alone.

use prof_model::VirtAddr;

use crate::StackMemory;
use crate::arch::Cpu;
use crate::walk::step::Frame;
use crate::walk::{Walk, return_slot};

/// Bytes of a page: probed functions return to the first one of theirs.
const PAGE: u64 = 4096;

impl<C: Cpu, S: StackMemory + ?Sized> Walk<'_, C, S> {
    /// Whether an address is the one that functions with a probe at their return come back to. The kernel
    /// makes the page when the first probe is hit, and tells nobody: then it lies where nothing is mapped.
    pub(super) fn is_return_probe(&self, pc: u64) -> bool {
        if !pc.is_multiple_of(PAGE) {
            return false;
        }
        match self.space.find(VirtAddr(pc)) {
            Some(mapping) => mapping.start == pc && self.images.is_probe_page(mapping.dso),
            None => pc == C::PROBE_PAGE,
        }
    }

    /// The return address of which the kernel keeps the original. `None` if the kernel's walk did not come
    /// by this frame, or is of an older kernel.
    #[cold]
    pub(super) fn behind_return_probe(&self, frame: &Frame) -> Option<u64> {
        let wanted = return_slot::<C>(frame.regs.sp()?)?;
        let (&ip, mut rest) = self.kernel_chain.split_first()?;
        if self.sample.ip() != Some(ip) {
            return None;
        }
        let mut followed = self.sample.fp()?;
        loop {
            let (&return_address, further) = rest.split_first()?;
            let slot = followed.wrapping_add(8);
            let word = self.memory.copy.read_u64(VirtAddr(slot))?;
            let is_probed = self.is_return_probe(word);
            if slot == wanted {
                return (is_probed && return_address != word).then_some(return_address);
            }
            // Else the kernel walked another stack than the one in the copy.
            if word != return_address && !is_probed {
                return None;
            }
            let next = self.memory.copy.read_u64(VirtAddr(followed))?;
            if next <= followed {
                return None;
            }
            followed = next;
            rest = further;
        }
    }
}
