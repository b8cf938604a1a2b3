//! Unwind tables, as compilers write them for each function, and what tells as much.
//!
//! In: the sections of a file. Out: for an address, the rule that leads from a frame to its caller.
//! Elsewhere: applying it (`walk`), code that no table describes (`arch`).

pub(crate) mod cfi; // finds the entry of an address
pub(crate) mod compile; // a function's entry -> rules, once
pub(crate) mod expression; // the few rules that are little programs
pub(crate) mod go_functions; // the depths in Go's own table of functions
#[cfg(test)]
#[path = "../../../pclntab/tests/common/mod.rs"]
pub(crate) mod made_up_go_table;
pub(crate) mod rule; // how to get from a frame to its caller
