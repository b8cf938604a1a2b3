//! What a function's instructions say about its frame, for code that no unwind table describes: where
//! the stack pointer, the frame pointer and the saved registers are at each of them.
//!
//! In: where a function begins. Out: how to leave its frames, and where it ends. Which functions are
//! followed is for `inference`.

mod flow; // all ways through a function
mod frame; // what an instruction does to the frame

use std::ops::Range;

use crate::image::Image;
use crate::inference::InferredFunction;
use crate::tables::rule::RuleStore;
use flow::{Flow, padding};

/// Follows the function that begins where `extent` does or behind padding there.
pub(super) fn follow(
    image: &Image,
    extent: Range<u64>,
    is_whole: bool,
    rules: &mut RuleStore,
) -> Option<InferredFunction> {
    let mut steps = 0;
    let skipped = match is_whole {
        true => 0,
        false => padding(image.code(extent.clone())?, &mut steps) as u64,
    };
    let start = extent.start + skipped;
    let code = image.code(start..extent.end)?;
    let end = match is_whole {
        true => extent.end,
        false => start + code.len() as u64,
    };
    let flow = Flow::follow(code, start..end, is_whole);
    Some(InferredFunction {
        extent: match is_whole {
            true => extent,
            false => start..flow.end(),
        },
        rows: flow.rows(rules).into(),
        may_go_on: flow.has_table() || flow.is_cut(),
        instructions: flow.steps() + steps,
    })
}
