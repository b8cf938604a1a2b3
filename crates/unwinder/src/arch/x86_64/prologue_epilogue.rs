//! Frames that are not set up yet, or no longer: known by the bytes of the instructions at a function's
//! ends, without knowing where it begins. What a whole function does is in `dataflow`.

use super::instructions::ENDBR64;
use super::linkage_table::in_linkage_table;
use crate::cache::AtSp;

/// Where the return address is at an interrupted instruction whose bytes show that it belongs to a
/// prologue, an epilogue or a jump stub; `before` ends where `from` starts.
pub(super) fn frame_at_sp(before: &[u8], from: &[u8]) -> Option<AtSp> {
    let at = |return_address| {
        Some(AtSp {
            return_address,
            saved_fp: None,
        })
    };
    let above_fp = |saved_fp: u16| {
        Some(AtSp {
            return_address: saved_fp + 8,
            saved_fp: Some(saved_fp),
        })
    };
    let entry = from.strip_prefix(ENDBR64).unwrap_or(from);
    if SETS_UP_FRAME.iter().any(|code| entry.starts_with(code)) {
        return at(0);
    }
    if let Some(frame) = frame_before_return(from) {
        return Some(frame);
    }
    match (before, from) {
        // push %rbp | mov %rsp, %rbp
        ([.., 0x55], [0x48, 0x89, 0xe5, ..] | [0x48, 0x8b, 0xec, ..]) => above_fp(0),
        // Go asks for more stack before it builds a frame: cmp 0x10(%r14), %rsp or %r12; jbe
        (_, [0x49 | 0x4d, 0x3b, 0x66, 0x10, ..]) => at(0),
        ([.., 0x49 | 0x4d, 0x3b, 0x66, 0x10], [0x76, ..] | [0x0f, 0x86, ..]) => at(0),
        (_, [0x4c, 0x8d, 0x64, 0x24, _, 0x4d, 0x3b, 0x66, 0x10, ..]) => at(0),
        (
            _,
            [
                0x4c,
                0x8d,
                0xa4,
                0x24,
                _,
                _,
                _,
                _,
                0x4d,
                0x3b,
                0x66,
                0x10,
                ..,
            ],
        ) => at(0),
        _ => in_linkage_table(before, from),
    }
}

/// The same where the next instructions end the function.
pub(super) fn frame_before_return(from: &[u8]) -> Option<AtSp> {
    let (below, saves_fp) = match *from {
        [0xc3, ..] | [0xf3 | 0xf2, 0xc3, ..] | [0xc2, ..] => (0, false), // ret
        [0x5d, 0xc3, ..] => (0, true),                                   // pop %rbp; ret
        // add $N, %rsp; ret
        [0x48, 0x83, 0xc4, size @ 0..=0x7f, 0xc3, ..] => (u16::from(size), false),
        // add $N, %rsp; pop %rbp; ret
        [0x48, 0x83, 0xc4, size @ 0..=0x7f, 0x5d, 0xc3, ..] => (u16::from(size), true),
        _ => return None,
    };
    Some(AtSp {
        return_address: below + if saves_fp { 8 } else { 0 },
        saved_fp: saves_fp.then_some(below),
    })
}

/// push %rbp; mov %rsp, %rbp, as two assemblers encode it
const SETS_UP_FRAME: [&[u8]; 2] = [&[0x55, 0x48, 0x89, 0xe5], &[0x55, 0x48, 0x8b, 0xec]];

/// Whether a function that starts here keeps its frame pointer in rbp, as far as its first
/// instructions tell.
pub(super) fn begins_with_frame(from: &[u8]) -> bool {
    let entry = from.strip_prefix(ENDBR64).unwrap_or(from);
    let go = matches!(
        from,
        [0x49 | 0x4d, 0x3b, 0x66, 0x10, ..] | [0x4c, 0x8d, 0x64 | 0xa4, 0x24, ..]
    );
    go || SETS_UP_FRAME.iter().any(|code| entry.starts_with(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prologue_and_epilogue_bytes_tell_where_the_return_address_is() {
        let at = |before: &[u8], from: &[u8]| {
            frame_at_sp(before, from).map(|frame| (frame.return_address, frame.saved_fp))
        };
        assert_eq!(at(&[], &[0x55, 0x48, 0x89, 0xe5]), Some((0, None)));
        assert_eq!(at(&[0x55], &[0x48, 0x89, 0xe5]), Some((8, Some(0))));
        assert_eq!(at(&[0x90], &[0x48, 0x89, 0xe5]), None);
        assert_eq!(at(&[], &[0x5d, 0xc3]), Some((8, Some(0))));
        assert_eq!(at(&[], &[0x5d, 0x90]), None);
        assert_eq!(at(&[], &[0xc3]), Some((0, None)));
        assert_eq!(at(&[], &[0x48, 0x83, 0xc4, 0x18, 0xc3]), Some((0x18, None)));
        assert_eq!(at(&[], &[0x49, 0x3b, 0x66, 0x10, 0x76]), Some((0, None)));
        let push = [0x68, 1, 0, 0, 0];
        assert_eq!(at(&push, &[0xe9, 0, 0, 0, 0]), Some((8, None)));
        assert_eq!(at(&[], &[]), None);
    }
}
