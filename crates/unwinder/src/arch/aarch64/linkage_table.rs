//! The way through a linkage table (PLT) to the dynamic linker, which pushes two words before a function
//! with tables begins.

use super::dataflow::rule;
use super::instructions::at;
use super::registers::LR;
use crate::regs::{SAVED, SP};
use crate::tables::rule::{Cfa, Rule, Saved};

/// The frame in the entry of a linkage table that leads to the dynamic linker: it begins with `stp x16,
/// x30, [sp, #-16]!`.
pub(super) fn in_linkage_table(before: &[u8], from: &[u8]) -> Option<Rule> {
    const PUSH: u32 = 0xa9bf_7bf0;
    let mut behind = before.chunks_exact(4).rev();
    let is_behind = behind.any(|code| code == PUSH.to_le_bytes());
    let offset = match at(from, 0) == Some(PUSH) {
        true => 0,
        false if is_behind => 16,
        false => return None,
    };
    let cfa = Cfa::Offset {
        register: SP,
        offset,
    };
    Some(rule(cfa, Saved::Register(LR), [Saved::Same; SAVED]))
}

/// glibc's `_dl_runtime_resolve` describes its frame without the two words that the linkage
/// table has pushed before, of which the return address is one. No other frame ends below that.
pub(super) fn count_pushed_words(rows: &mut [(u32, Option<Rule>)]) {
    const PUSHED: i32 = 16;
    let rules = || rows.iter().filter_map(|row| row.1.as_ref());
    if !rules().any(|rule| rule.return_address == Saved::At(8)) {
        return;
    }
    for rule in rows.iter_mut().filter_map(|row| row.1.as_mut()) {
        if let Cfa::Offset { offset, .. } = &mut rule.cfa {
            *offset = offset.saturating_add(PUSHED);
        }
        let others = rule.others.iter_mut().map(|other| &mut other.1);
        let all = others.chain(&mut rule.callee_saved);
        for saved in all.chain([&mut rule.return_address]) {
            if let Saved::At(at) = saved {
                *at = at.saturating_sub(PUSHED);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::aarch64::bytes;

    #[test]
    fn the_entry_to_the_dynamic_linker_has_the_return_address_in_the_link_register() {
        let code = bytes(&[
            0xd503_245f, // bti c
            0xa9bf_7bf0, // stp x16, x30, [sp, #-16]!
            0xb000_0090, // adrp x16
            0xf947_fe11, // ldr x17, [x16, #4088]
            0x913f_e210, // add x16, x16, #4088
            0xd61f_0220, // br x17
        ]);
        let at_sp = |offset| Cfa::Offset {
            register: SP,
            offset,
        };
        let offsets: Vec<_> = (0..6)
            .map(|index| in_linkage_table(&code[..4 * index], &code[4 * index..]))
            .map(|rule| rule.map(|rule| (rule.cfa, rule.return_address)))
            .collect();
        let pushed = Some((at_sp(16), Saved::Register(LR)));
        let expected = [
            None,
            Some((at_sp(0), Saved::Register(LR))),
            pushed,
            pushed,
            pushed,
            pushed,
        ];
        assert_eq!(offsets, expected);
    }
}
