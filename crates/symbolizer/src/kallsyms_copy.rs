//! perf's copy of `/proc/kallsyms`, read where it is asked.

use std::io;
use std::ops::Range;

use crate::kallsyms_line::{ADDRESS_DIGITS, Line};
use crate::kallsyms_table::Around;
use crate::mapped_file::MappedFile;

/// The lines of a kernel's own code. They ascend, for the kernel itself looks names up by bisection, so
/// that what has not been asked for is never read.
#[derive(Debug)]
pub(crate) struct CopiedLines {
    copy: MappedFile,
    len: usize,       // of the lines; modules, which follow, ascend not
    text: Range<u64>, // other addresses are not looked up
}

/// So much of the kernel's table is read at once for a comparison.
const FIRST_LINES: usize = 4096;
/// Variables of CPUs may stand in front of the text, but not more of them than this.
const MOST_IN_FRONT: usize = 1 << 18;
/// An address, a blank and a letter.
const IN_FRONT_OF_NAME: usize = ADDRESS_DIGITS + 2;

impl CopiedLines {
    /// Modules come and go while a kernel runs, but its own text never changes its symbols, and has
    /// one place from boot to boot: the same first lines, `_text` among them, tell the same boot.
    pub(crate) fn new(copy: MappedFile, running: impl io::Read) -> Option<Self> {
        let start = first_lines(running)?;
        let has_all_digits = start.get(ADDRESS_DIGITS) == Some(&b' '); // then numbers ascend as text does
        if !copy.as_ref().starts_with(&start) || !has_all_digits {
            return None;
        }
        let len = copy.as_ref().len();
        let mut lines = Self {
            copy,
            len,
            text: 0..u64::MAX,
        };
        let (start, _) = lines.line_of("_text")?;
        let (end, mut behind) = lines.line_of("_etext").filter(|&(end, _)| end > start)?;
        lines.text = start..end;
        // Code of the boot lies behind it: CPUs that idle have called from there and not returned.
        if let Some((boot_end, behind_it)) = lines.line_of("_einittext")
            && boot_end > end
        {
            lines.text.end = boot_end;
            behind = behind_it;
        }
        lines.len = behind;
        Some(lines)
    }

    /// The symbols of the function around `addr`.
    pub(crate) fn around(&self, addr: u64) -> Option<Around<'_>> {
        if !self.text.contains(&addr) {
            return None;
        }
        let (before, behind) = self.lines().split_at(self.first_above(addr));
        let next = Line::all(behind).next();
        let around = Around::new(Line::all(last_function(before)), next)?;
        let is_found = around.best.addr <= addr && around.next.is_none_or(|next| addr < next);
        is_found.then_some(around) // else somebody has edited the copy, and its lines do not ascend
    }

    /// The address of the symbol with this name.
    pub(crate) fn address(&self, name: &str) -> Option<u64> {
        let (addr, _) = self.line_of(name)?;
        let is_known = (self.text.start..=self.text.end).contains(&addr);
        is_known.then_some(addr)
    }

    fn lines(&self) -> &[u8] {
        let copy: &[u8] = self.copy.as_ref();
        &copy[..self.len]
    }

    /// The address of the first line with this name, and where the next line starts.
    fn line_of(&self, name: &str) -> Option<(u64, usize)> {
        let lines = self.lines();
        let name = name.as_bytes();
        let wanted = [b" ", name].concat();
        memchr::memmem::find_iter(lines, &wanted).find_map(|place| {
            let start = line_start(lines, place);
            if place - start > IN_FRONT_OF_NAME {
                return None;
            }
            let (line, behind) = Line::take(&lines[start..]);
            let line = line.filter(|line| line.name == name && line.addr != 0)?; // 0 is hidden
            Some((line.addr, lines.len() - behind.len()))
        })
    }

    /// Where the first line with an address above `addr` starts.
    fn first_above(&self, addr: u64) -> usize {
        let digits = format!("{addr:0ADDRESS_DIGITS$x}");
        let is_above = |line: &[u8]| line.get(..ADDRESS_DIGITS) > Some(digits.as_bytes());
        let lines = self.lines();
        let (mut low, mut high) = (0, lines.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let start = line_start(&lines[..high], middle).max(low);
            if is_above(&lines[start..high]) {
                high = start;
            } else {
                let end = memchr::memchr(b'\n', &lines[middle..high]);
                low = end.map_or(high, |end| middle + end + 1);
            }
        }
        low
    }
}

/// The first lines of the running kernel's table, up to `_text`.
fn first_lines(mut running: impl io::Read) -> Option<Vec<u8>> {
    let mut start = Vec::new();
    while memchr::memmem::find(&start, b" T _text\n").is_none() {
        let known = start.len();
        start.resize(known + FIRST_LINES, 0);
        let count = running.read(&mut start[known..]).ok()?;
        start.truncate(known + count);
        if count == 0 || known > MOST_IN_FRONT {
            return None;
        }
    }
    Some(start)
}

/// Where the line starts that has the byte at `place`.
fn line_start(lines: &[u8], place: usize) -> usize {
    memchr::memrchr(b'\n', &lines[..place]).map_or(0, |end| end + 1)
}

/// The lines of the last function: with an equal address, and of code the last of them.
fn last_function(mut lines: &[u8]) -> &[u8] {
    while !lines.is_empty() {
        let mut start = line_start(lines, lines.len() - 1);
        let addr = lines[start..].get(..ADDRESS_DIGITS);
        let (Some(addr), (Some(_), _)) = (addr, Line::take(&lines[start..])) else {
            lines = &lines[..start];
            continue;
        };
        while start > 0 {
            let before = line_start(lines, start - 1);
            if !lines[before..].starts_with(addr) {
                break;
            }
            start = before;
        }
        return &lines[start..];
    }
    lines
}
