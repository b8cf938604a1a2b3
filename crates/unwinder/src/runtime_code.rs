//! What a language's runtime tells about the code that it generates.

/// What is known about an address in code that a runtime generates.
#[derive(Clone, Copy, Debug)]
pub enum RuntimeCode<'a> {
    /// It is in the runtime's memory for code, in a part that it does not use.
    Unused,
    /// Not known yet; it will be with a later sample.
    NotYet,
    /// It is in a piece of code.
    Piece {
        /// The piece's bytes, from its first instruction on; empty if they are not to be had.
        bytes: &'a [u8],
        /// How far behind the piece's beginning the address is.
        at: usize,
        /// What its frames look like.
        frame: RuntimeFrame,
    },
}

/// What the frames of a piece of generated code look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeFrame {
    /// All have one size.
    Fixed {
        /// Bytes from the stack pointer to the caller's. The topmost word of them is the return address, and the one
        /// below it the caller's frame pointer.
        size: u32,
        /// The frame stands from so many bytes behind the piece's beginning on. [`u32::MAX`] where it is only
        /// known to stand wherever a call returns to.
        complete_from: u32,
    },
    /// The frame pointer leads to a frame record, and the word below the record is the caller's stack pointer.
    Record,
    /// The code leaves the stack as it was called with.
    None,
    /// It is not told.
    Unknown,
}
