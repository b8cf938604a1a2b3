#![no_main]

#[allow(dead_code)] // each target uses one
#[path = "../properties/mod.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::mappings::property(bytes));
