//! `/proc/PID/pagemap`: which pages are resident.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use prof_sampler::page_size;

/// Where a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageState {
    /// Nowhere: it was never touched, or given back.
    None,
    /// In memory.
    Resident,
    /// Swapped out.
    Swapped,
}

/// Tells of each page of a process where it is.
#[derive(Debug)]
pub struct Pages {
    file: File,
    size: u64,
}

/// So many pages are asked for at once.
const AT_ONCE: u64 = 1 << 15;

impl Pages {
    /// Of a process.
    ///
    /// # Errors
    /// It has ended, or we may not trace it.
    pub fn open(pid: i32) -> io::Result<Self> {
        Ok(Self {
            file: File::open(format!("/proc/{pid}/pagemap"))?,
            size: page_size() as u64,
        })
    }

    /// Bytes of a page.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The state of each page that has bytes of this range.
    ///
    /// # Errors
    /// The process has ended.
    pub fn states(&self, range: &Range<u64>) -> io::Result<Vec<PageState>> {
        let (mut page, end) = (range.start / self.size, range.end.div_ceil(self.size));
        let mut states = Vec::with_capacity(end.saturating_sub(page) as usize);
        let mut bytes = vec![0; 8 * AT_ONCE.min(end.saturating_sub(page)) as usize];
        while page < end {
            let count = AT_ONCE.min(end - page) as usize;
            let read = self.file.read_at(&mut bytes[..8 * count], 8 * page)?;
            if read < 8 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let entries = bytes[..read].chunks_exact(8);
            states.extend(entries.map(|entry| state(entry[7])));
            page += read as u64 / 8;
        }
        Ok(states)
    }

    /// The state of the page that an address lies in.
    pub fn state(&self, at: u64) -> PageState {
        let states = self.states(&(at..at.saturating_add(1)));
        let first = states.ok().and_then(|states| states.first().copied());
        first.unwrap_or(PageState::None)
    }
}

/// By the highest byte of an entry: bit 63 says present, bit 62 swapped.
fn state(highest: u8) -> PageState {
    match highest >> 6 {
        2 | 3 => PageState::Resident,
        1 => PageState::Swapped,
        _ => PageState::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_resident_once_it_was_touched() {
        let pages = Pages::open(std::process::id() as i32).unwrap();
        let size = pages.size();
        let mut memory = vec![0_u8; 64 << 20]; // zeroed by the kernel: untouched
        let start = (memory.as_ptr() as u64).next_multiple_of(size) + 16 * size;
        let touched = (start - memory.as_ptr() as u64) as usize;
        let far = start + (32 << 20);
        assert_eq!(pages.state(far), PageState::None);
        memory[touched] = 1;
        assert_eq!(pages.state(start), PageState::Resident);
        let states = pages.states(&(start..start + 3 * size)).unwrap();
        assert_eq!(states.len(), 3);
        assert_eq!(std::hint::black_box(&memory)[touched], 1);
    }
}
