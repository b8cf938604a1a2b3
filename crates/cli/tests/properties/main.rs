//! The properties that the fuzz targets assert, with a fixed number of damaged examples.
#![forbid(unsafe_code)]

mod examples; // what is damaged, and how

#[allow(dead_code)] // of the tests of the crate that reads it
#[path = "../../../pclntab/tests/common/mod.rs"]
mod go_table;

#[path = "../../../../fuzz/properties/mod.rs"]
mod properties;

#[allow(dead_code)] // of the end-to-end tests
#[path = "../e2e/support.rs"]
mod support;
