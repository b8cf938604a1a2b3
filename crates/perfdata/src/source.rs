//! Where the bytes of a recording come from.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::Error;
use crate::header::Section;

/// Bytes that keep what they lie in, such as a mapping, alive.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Maps a part of a file: from an offset, which is a multiple of 64 KiB, so many bytes. `None` where
/// that cannot be done; it is read instead. A file that shrinks meanwhile must not do harm.
pub type MapPart = fn(&File, u64, usize) -> Option<SharedBytes>;

/// Bytes that can be read at any offset.
#[derive(Debug)]
pub(crate) enum Source {
    File {
        file: File,
        len: u64,
        map: Option<MapPart>,
    },
    Bytes(Vec<u8>),
}

impl Source {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::File { len, .. } => *len,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Reads up to `into.len()` bytes; fewer, or none, where the end is near.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File { file, .. } => file.read_at(into, offset),
            Self::Bytes(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                (&bytes[start.min(bytes.len())..]).read(into)
            }
        }
    }

    /// Everything from an offset on.
    pub(crate) fn all_from(&self, offset: u64) -> Section {
        Section {
            offset,
            size: self.len().saturating_sub(offset),
        }
    }

    /// The bytes from an offset on, one after the other.
    pub(crate) fn reader_from(&self, offset: u64) -> SourceReader<'_> {
        SourceReader {
            source: self,
            offset,
        }
    }

    /// All bytes of a section, which must lie in the file.
    pub(crate) fn section(&self, name: &'static str, section: Section) -> Result<Vec<u8>, Error> {
        section.within(name, self.len())?;
        let mut bytes = Vec::new();
        let mut feed = Feed::of(self, section);
        while feed.fill(&mut bytes, CHUNK)? != 0 {}
        Ok(bytes)
    }
}

/// Reads a source from an offset to its end.
pub(crate) struct SourceReader<'a> {
    source: &'a Source,
    offset: u64,
}

impl Read for SourceReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read_at(self.offset, into)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Bytes asked for at once.
pub(crate) const CHUNK: usize = 512 << 10;
/// Bytes mapped at once: few system calls, and little of the file is resident.
const WINDOW: u64 = 8 << 20;
/// The page size of every machine divides this.
const WINDOW_ALIGNMENT: u64 = 64 << 10;

/// Bytes that come one after the other: a part of a file, or a pipe.
pub(crate) struct Feed<'a> {
    from: From<'a>,
    /// Of the next byte, in the file or the pipe.
    offset: u64,
    end: u64,
}

enum From<'a> {
    Source(&'a Source),
    /// The bytes of a pipe that were read to learn its events, then the rest.
    Pipe(&'a [u8], &'a mut (dyn Read + Send)),
}

impl<'a> Feed<'a> {
    pub(crate) fn of(source: &'a Source, section: Section) -> Self {
        Self {
            from: From::Source(source),
            offset: section.offset,
            end: section.end(),
        }
    }

    /// `first` starts at `offset` of the pipe, `rest` follows it.
    pub(crate) fn pipe(offset: u64, first: &'a [u8], rest: &'a mut (dyn Read + Send)) -> Self {
        Self {
            from: From::Pipe(first, rest),
            offset,
            end: u64::MAX,
        }
    }

    /// The offset of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Appends up to `want` bytes and returns how many; 0 at the end.
    pub(crate) fn fill(&mut self, into: &mut Vec<u8>, want: usize) -> Result<usize, Error> {
        let before = into.len();
        let left = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
        into.resize(before + want.min(left), 0);
        let read = loop {
            let result = match &mut self.from {
                From::Source(source) => source.read_at(self.offset, &mut into[before..]),
                From::Pipe(first, _) if !first.is_empty() => first.read(&mut into[before..]),
                From::Pipe(_, rest) => rest.read(&mut into[before..]),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        into.truncate(before + *read.as_ref().unwrap_or(&0));
        let read = read
            .map_err(|source| Error::io(format!("records at offset {:#x}", self.offset), source))?;
        self.offset += read as u64;
        Ok(read)
    }

    /// Maps the next bytes, as many as are handy, without passing over them; `None` where only
    /// [`Feed::fill`] can read them.
    pub(crate) fn window(&self) -> Option<(SharedBytes, Range<usize>)> {
        let From::Source(Source::File {
            file,
            map: Some(map),
            ..
        }) = &self.from
        else {
            return None;
        };
        let start = self.offset - self.offset % WINDOW_ALIGNMENT;
        let end = self.end.min(start + WINDOW);
        let bytes = map(file, start, usize::try_from(end.checked_sub(start)?).ok()?)?;
        let skipped = (self.offset - start) as usize;
        let len = (*bytes).as_ref().len();
        (skipped < len).then_some((bytes, skipped..len))
    }

    /// Passes over `count` bytes, or all that are left.
    pub(crate) fn skip(&mut self, count: u64) -> Result<(), Error> {
        if let From::Source(_) = self.from {
            self.offset = self.offset.saturating_add(count).min(self.end);
            return Ok(());
        }
        let target = self.offset.saturating_add(count);
        let mut passed = Vec::new();
        while self.offset < target {
            let want = (target - self.offset).min(CHUNK as u64) as usize;
            passed.clear();
            if self.fill(&mut passed, want)? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Returns to bytes that were passed over, of a source.
    pub(crate) fn back(&mut self, count: u64) {
        self.offset -= count;
    }

    /// Reads `count` bytes, or all that are left.
    pub(crate) fn take(&mut self, into: &mut Vec<u8>, count: u64) -> Result<(), Error> {
        let target = self.offset.saturating_add(count);
        while self.offset < target {
            let want = (target - self.offset).min(CHUNK as u64) as usize;
            if self.fill(into, want)? == 0 {
                break;
            }
        }
        Ok(())
    }
}
