//! Single numbers out of a record.

use prof_event::Reader;

/// The eight bytes at `at`; 0 if there are less.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let field = bytes.get(at..).map(Reader::new);
    field.and_then(|mut field| field.u64().ok()).unwrap_or(0)
}

/// The four bytes at `at`; 0 if there are less.
pub(crate) fn i32_at(bytes: &[u8], at: usize) -> i32 {
    let field = bytes.get(at..).map(Reader::new);
    field.and_then(|mut field| field.u32().ok()).unwrap_or(0) as i32
}
