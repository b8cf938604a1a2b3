//! What a function's instructions say about its frame, for code that no unwind table describes: where
//! the stack pointer, the frame pointer and the saved registers are at each of them.
//!
//! In: an address of a module. Out: the function around it, and how to leave its frames.

mod flow; // all ways through a function
mod frame; // what an instruction does to the frame

use std::ops::Range;

use crate::functions::Around;
use crate::image::Image;
use crate::module::{Inferred, InferredFunction, Module};
use crate::tables::rule::RuleStore;
use flow::{Flow, padding};

/// How far from the last symbol code without symbols is followed.
const MAX_UNLISTED: u64 = 1 << 16;

/// Follows the function around a virtual address. `None` if it is not known where one begins.
pub(super) fn infer(
    module: &Module,
    vaddr: u64,
    rules: &mut RuleStore,
) -> Option<InferredFunction> {
    let (image, symbols) = (&module.image, module.symbols());
    let (extent, flow) = match symbols.around(vaddr)? {
        Around::Function(extent) => {
            let code = image.code(extent.clone())?;
            let flow = Flow::follow(code, extent.clone(), true);
            (extent, flow)
        }
        Around::Unlisted(gap) => unlisted(image, gap, vaddr)?,
    };
    let rows = match symbols.entry == extent.start {
        true => [(extent.start, Inferred::Outermost)].into(),
        false => flow.rows(rules).into(),
    };
    Some(InferredFunction { extent, rows })
}

/// The function around `vaddr` in a stretch of code without symbols: one after the other is followed,
/// each from where the one before it ended, up to the one that covers the address.
fn unlisted(image: &Image, gap: Range<u64>, vaddr: u64) -> Option<(Range<u64>, Flow)> {
    let stretch = gap.start..gap.end.min(gap.start.saturating_add(MAX_UNLISTED));
    let mut start = gap.start;
    while start <= vaddr {
        start += padding(image.code(start..stretch.end)?) as u64;
        let code = image.code(start..stretch.end)?;
        let flow = Flow::follow(code, start..start + code.len() as u64, false);
        let end = flow.end();
        if vaddr < end {
            return flow.covers(vaddr).then_some((start..end, flow));
        }
        if end == start || flow.has_table() {
            return None; // what follows may be a part of it
        }
        start = end;
    }
    None
}
