//! One piece of generated code: a compiled method, the interpreter, a stub.

use std::ops::Range;
use std::sync::Arc;

use crate::layout::{BlobLayout, CodeIs, Layout};
use crate::memory::{Reader, Unread, number_in};
use crate::method_name;

/// No blob is larger but the interpreter's and the stubs', of which only the name is of use.
const LARGEST: u64 = 1 << 24;
/// Of so many bytes of code a copy is kept.
const MOST_CODE: u64 = 1 << 18;
const LONGEST_NAME: usize = 96;
/// What the names of compiled methods end with: there are native ones as well.
const METHOD: &str = "nmethod";
const INTERPRETER: &str = "Interpreter";
/// Stubs that only choose where to go on; adapters have the return address at the stack pointer, too.
const LEAVING_THE_STACK: [&str; 3] = ["vtable", "itable", "I2C/C2I"];

/// How code's frames look, once they are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// All of this blob's have one size.
    Fixed {
        /// Bytes from the stack pointer to the caller's, with the return address and, below it, the saved frame pointer.
        size: u32,
        /// The frame is built from so many bytes behind the code's beginning on. Where it is
        /// [`u32::MAX`] it is only known to be where a call returns to.
        complete_from: u32,
    },
    /// The interpreter's: the frame pointer leads to the saved one, and below that the caller's stack pointer
    /// is kept.
    Interpreter,
    /// It leaves the stack as it was called with.
    None,
    /// Not told.
    Unknown,
}

/// A piece of generated code.
#[derive(Clone, Debug)]
pub struct Blob {
    /// The addresses of its code, from its first instruction on.
    pub code: Range<u64>,
    /// The code's bytes; empty if there are too many.
    pub bytes: Box<[u8]>,
    /// How its frames look.
    pub frame: Frame,
    /// The method's class and name, `java.util.HashMap.getNode`, or what HotSpot calls it.
    pub name: Arc<str>,
}

/// The first bytes of a blob, by which it is known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header(Box<[u8]>);

impl Header {
    pub(crate) fn read(
        blob: u64,
        layout: &Layout,
        reader: &mut Reader<'_>,
    ) -> Result<Self, Unread> {
        let mut bytes = vec![0; layout.blob.bytes];
        reader.bytes(blob, &mut bytes)?;
        Ok(Self(bytes.into()))
    }

    fn number(&self, field: crate::layout::Field) -> Option<u64> {
        number_in(&self.0, field.at, field.size)
    }

    fn word(&self, at: u64) -> Option<u64> {
        number_in(&self.0, at, 8)
    }

    /// The code's addresses.
    fn code(&self, blob: u64, layout: &BlobLayout) -> Option<Range<u64>> {
        let size = self.number(layout.size).filter(|&size| size <= LARGEST)?;
        let end = blob.checked_add(size)?;
        let start = match layout.code {
            CodeIs::At(at) => self.word(at)?,
            CodeIs::Behind(field) => blob.checked_add(self.number(field)?)?,
        };
        (blob..end).contains(&start).then_some(start..end)
    }
}

impl Blob {
    /// The blob at an address, with this header.
    pub(crate) fn read(
        blob: u64,
        header: &Header,
        layout: &Layout,
        reader: &mut Reader<'_>,
    ) -> Result<Self, Unread> {
        let fields = &layout.blob;
        let code = header.code(blob, fields).ok_or(Unread::Nothing)?;
        let name = header.word(fields.name).ok_or(Unread::Nothing)?;
        let kind = reader.text(name, LONGEST_NAME)?;
        let is_method = kind.ends_with(METHOD);
        let frame = match kind.as_str() {
            INTERPRETER => Frame::Interpreter,
            name if LEAVING_THE_STACK.iter().any(|stub| name.starts_with(stub)) => Frame::None,
            _ => header.frame(fields, is_method),
        };
        let method = header.word(fields.method).filter(|_| is_method);
        let name = match method.map(|method| method_name::read(method, layout, reader)) {
            Some(Err(Unread::NotYet)) => return Err(Unread::NotYet),
            Some(Ok(name)) => name,
            Some(Err(Unread::Nothing)) | None => kind,
        };
        let size = code.end - code.start;
        let mut bytes = vec![0; if size <= MOST_CODE { size as usize } else { 0 }];
        if !bytes.is_empty() {
            reader.bytes(code.start, &mut bytes)?;
        }
        Ok(Self {
            code,
            bytes: bytes.into(),
            frame,
            name: name.into(),
        })
    }
}

impl Header {
    fn frame(&self, layout: &BlobLayout, is_method: bool) -> Frame {
        let words = self
            .number(layout.frame_size)
            .map(|words| words as u32 as i32);
        let complete = self.number(layout.frame_complete).unwrap_or(0);
        let complete = match layout.frame_complete.size {
            2 => complete as u16 as i16 as i32,
            _ => complete as u32 as i32,
        };
        match words {
            Some(words @ 2..=0x1000) => Frame::Fixed {
                size: 8 * words as u32,
                complete_from: match u32::try_from(complete) {
                    Ok(complete) if is_method => complete,
                    _ => u32::MAX,
                },
            },
            _ => Frame::Unknown,
        }
    }
}
