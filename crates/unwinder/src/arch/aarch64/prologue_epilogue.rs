//! What the code at the two ends of a function says about its frame. Tables of many compilers hold only in
//! between: LLVM's up to version 14, and what is made from hand-written code. How the instructions are
//! followed is in `dataflow`.

use std::ops::Range;

use super::dataflow::{MOST, after_entry, before_return};
use super::instructions::{Op, at, decode};
use super::linkage_table::in_linkage_table;
use super::registers::LR;
use crate::module::Module;
use crate::tables::rule::Rule;

/// What the code at a virtual address of a module says about a frame that was interrupted there, if that
/// is more than its table says.
pub(super) fn rule_by_code(
    module: &Module,
    vaddr: u64,
    code: [&[u8]; 2],
    table: Option<&Rule>,
) -> Option<Rule> {
    let [before, from] = code;
    in_linkage_table(before, from).or_else(|| at_the_ends(module, vaddr, table))
}

/// What the code at the ends of the function around a virtual address says about the frame of what
/// was interrupted there. `table` is what its table says.
fn at_the_ends(module: &Module, vaddr: u64, table: Option<&Rule>) -> Option<Rule> {
    let function = module.extent(vaddr);
    let ahead = module.image.code(vaddr..u64::MAX)?;
    let is_inside = |distance| {
        let target = vaddr.wrapping_add_signed(distance);
        let behind_entry = |it: &Range<u64>| it.start < target && target < it.end;
        function.as_ref().is_none_or(behind_entry)
    };
    let has_frame = table.is_some_and(|table| !table.is_level());
    let rule = before_return(ahead, is_inside, has_frame);
    if rule.is_some() || has_frame {
        return rule;
    }
    let behind = module.image.code(function.as_ref()?.start..vaddr)?;
    after_entry(behind).filter(|_| table.is_some() || is_before_record(behind))
}

/// Whether the instructions of `code`, with which a function begins, lead nowhere else and have not yet
/// saved the return address: then it is still where the call has put it.
fn is_before_record(code: &[u8]) -> bool {
    let mut code = code.chunks_exact(4);
    code.all(|code| match at(code, 0).map(decode) {
        Some(Op::Store(words)) => words.each().all(|(register, _)| register != LR),
        Some(op) => op != Op::Branch,
        None => false,
    })
}

/// Whether the frame pointer comes to point to the frame in the instructions of `code`, with which a
/// function begins.
pub(super) fn points_to_record(code: &[u8]) -> bool {
    let mut code = code.chunks_exact(4).take(MOST);
    code.any(|code| at(code, 0).is_some_and(|code| matches!(decode(code), Op::FpFromSp(_))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::aarch64::bytes;

    #[test]
    fn until_the_record_is_written_the_return_address_is_in_the_link_register() {
        let code = bytes(&[
            0xd503_233f, // paciasp
            0xd101_03ff, // sub sp, sp, #64
            0xa902_7bfd, // stp x29, x30, [sp, #32]
        ]);
        let at_index = |index: usize| is_before_record(&code[..4 * index]);
        assert_eq!([0, 1, 2, 3].map(at_index), [true, true, true, false]);
        assert!(!is_before_record(&bytes(&[0xb400_04bc]))); // cbz
    }
}
