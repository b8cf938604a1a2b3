//! Program text that a process has moved into anonymous memory, which is how it comes into huge pages.
//!
//! The kernel then knows no file for it, and generated code looks the same. But it lies in a hole between
//! other mappings of its file, so that the file's headers tell what was there, and it has the file's bytes.
//! Without equal bytes nothing is believed.
//!
//! In: executable memory without a file, in a process that runs. Out: which parts of which file lie there.
//! Elsewhere: who asks, and records of the answer ([`crate::record`]).

use std::ops::Range;

use prof_model::{Dso, DsoKind, Pid, Tid, VirtAddr};
use prof_sampler::proc::MapLine;
use prof_sampler::read_memory;
use prof_symbolizer::{FileFinder, Segment};

const PROT_EXEC: u32 = 4;
const PAGE: u64 = 4096;
/// So many places, evenly spread, are compared, of so many bytes each.
const WINDOWS: u64 = 64;
const WINDOW: usize = 256;

/// What was found out about memory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It has the bytes of these parts of a file, each as the line that its mapping would have.
    Moved(Vec<MapLine>),
    /// It lies where text of a file was, and has other bytes: perhaps they are still being copied.
    NotYet,
    /// No file's text was there.
    Nothing,
}

/// What lies in `range` of a process, whose mappings are `lines`.
pub(crate) fn find(pid: Pid, range: &Range<u64>, lines: &[MapLine], finder: &FileFinder) -> Found {
    let mut moved = Vec::new();
    let mut is_text = false;
    for at in 0..lines.len() {
        let hole = lines[at].start.max(range.start)..lines[at].end.min(range.end);
        let Some((before, after)) = neighbours(lines, at).filter(|_| !hole.is_empty()) else {
            continue;
        };
        let dso = Dso {
            path: before.name.clone(),
            kind: DsoKind::File,
            file: Some(before.file),
            build_id: None,
        };
        let Ok(file) = finder.open_live(pid, before.start, before.end, &dso) else {
            continue;
        };
        for (part, offset) in text_in(&hole, &file.segments(), [before, after]) {
            is_text = true;
            if has_bytes(pid, &part, offset, (*file.image).as_ref()) {
                moved.push(MapLine {
                    start: part.start,
                    end: part.end,
                    offset,
                    prot: lines[at].prot,
                    ..before.clone()
                });
            }
        }
    }
    match (moved.is_empty(), is_text) {
        (false, _) => Found::Moved(moved),
        (true, true) => Found::NotYet,
        (true, false) => Found::Nothing,
    }
}

/// The mappings of one file between which executable memory without a file lies: the next ones below and above
/// that are of any file.
fn neighbours(lines: &[MapLine], at: usize) -> Option<(&MapLine, &MapLine)> {
    let is_file = |line: &&MapLine| line.file.inode != 0;
    if is_file(&&lines[at]) || lines[at].prot & PROT_EXEC == 0 {
        return None;
    }
    let before = lines[..at].iter().rfind(is_file)?;
    let after = lines[at + 1..].iter().find(is_file)?;
    let of = |line: &MapLine| (line.file, line.name.clone());
    (of(before) == of(after)).then_some((before, after))
}

/// Where in `hole` the text of a program lies that has these segments and these other mappings, each part with
/// its offset in the file.
fn text_in(
    hole: &Range<u64>,
    segments: &[Segment],
    others: [&MapLine; 2],
) -> Vec<(Range<u64>, u64)> {
    let [before, after] = others.map(|line| loaded_at(line, segments));
    let Some(bias) = before.into_iter().find(|bias| after.contains(bias)) else {
        return Vec::new();
    };
    let mut text = Vec::new();
    for segment in segments.iter().filter(|segment| segment.executable) {
        let start = segment.address.wrapping_add(bias);
        let end = start.saturating_add(segment.size).next_multiple_of(PAGE);
        let (first, end) = (hole.start.max(start & !(PAGE - 1)), hole.end.min(end));
        let offset = first.wrapping_sub(start).wrapping_add(segment.offset);
        if first < end {
            text.push((first..end, offset));
        }
    }
    text
}

/// By how much a mapping of a program may be moved from the addresses in its headers; two segments can share a
/// page of the file.
fn loaded_at(line: &MapLine, segments: &[Segment]) -> Vec<u64> {
    let has_it = |segment: &&Segment| {
        let first = segment.offset & !(PAGE - 1);
        (first..segment.offset + segment.size).contains(&line.offset)
    };
    let bias = |segment: &Segment| {
        let address = segment.address.wrapping_sub(segment.offset);
        line.start.wrapping_sub(address.wrapping_add(line.offset))
    };
    segments.iter().filter(has_it).map(bias).collect()
}

/// Whether memory has the bytes that a file has from `offset` on: in three of four places at least, for
/// programs may patch their own text. Places that are filled with one byte say nothing.
fn has_bytes(pid: Pid, part: &Range<u64>, offset: u64, file: &[u8]) -> bool {
    let last = (part.end - part.start).saturating_sub(WINDOW as u64);
    let (mut compared, mut equal) = (0, 0);
    for window in 0..WINDOWS {
        let at = last * window / (WINDOWS - 1);
        let wanted = usize::try_from(offset + at).ok();
        let wanted = wanted.and_then(|at| file.get(at..)?.get(..WINDOW));
        let Some(wanted) = wanted.filter(|it| it.iter().any(|&byte| byte != it[0])) else {
            continue;
        };
        let mut bytes = [0; WINDOW];
        let read = read_memory(pid, Tid(pid.0), VirtAddr(part.start + at), &mut bytes);
        compared += 1;
        equal += u64::from(read.is_ok_and(|count| bytes[..count] == *wanted));
    }
    equal > 0 && equal * 4 >= compared * 3
}

#[cfg(test)]
mod tests {
    use prof_model::FileId;

    use super::*;

    const HOLE: Range<u64> = 0x5_0000..0x5_8000;

    fn line(start: u64, end: u64, offset: u64, inode: u64, prot: u32) -> MapLine {
        MapLine {
            start,
            end,
            prot,
            shared: false,
            offset,
            file: FileId {
                major: 8,
                minor: 1,
                inode,
                generation: 0,
            },
            name: match inode {
                0 => Vec::new(),
                _ => format!("/bin/{inode}").into_bytes(),
            },
        }
    }

    /// A program at 0x40000 whose text lies a page further in memory than in the file.
    fn segments() -> [Segment; 3] {
        [
            (0, 0, 0x1_0000, false),
            (0x1_1000, 0x1_0000, 0x6_f00, true),
            (0x1_8f00, 0x1_6f00, 0x100, false),
        ]
        .map(|(address, offset, size, executable)| Segment {
            address,
            offset,
            size,
            executable,
        })
    }

    #[test]
    fn text_that_is_gone_between_its_files_mappings_has_the_offset_that_the_headers_tell() {
        let before = line(0x4_0000, 0x5_0000, 0, 7, 1);
        let after = line(0x5_8000, 0x5_9000, 0x1_6000, 7, 1);
        let text = text_in(&HOLE, &segments(), [&before, &after]);
        assert_eq!(text, [(0x5_1000..0x5_8000, 0x1_0000)]);
        let middle = text_in(&(0x5_3000..0x5_5000), &segments(), [&before, &after]);
        assert_eq!(middle, [(0x5_3000..0x5_5000, 0x1_2000)]);
        let elsewhere = line(0x6_8000, 0x6_9000, 0x1_6000, 7, 1);
        assert_eq!(text_in(&HOLE, &segments(), [&before, &elsewhere]), []);
    }

    #[test]
    fn only_executable_memory_between_two_mappings_of_one_file_can_be_its_text() {
        let hole = |prot, after| {
            let lines = [
                line(0x4_0000, 0x5_0000, 0, 7, 1),
                line(0x5_0000, 0x5_4000, 0, 0, 5),
                line(0x5_4000, 0x5_8000, 0, 0, prot),
                line(0x5_8000, 0x5_9000, 0x1_6000, after, 1),
            ];
            let found = neighbours(&lines, 2).map(|(it, other)| [it.start, other.start]);
            assert_eq!(neighbours(&lines, 0), None);
            assert_eq!(neighbours(&lines, 3), None);
            found
        };
        assert_eq!(hole(5, 7), Some([0x4_0000, 0x5_8000]));
        assert_eq!(hole(3, 7), None);
        assert_eq!(hole(5, 8), None);
    }

    #[test]
    fn memory_with_other_bytes_is_not_the_files() {
        let pid = Pid(std::process::id() as i32);
        let memory: Vec<u8> = (0..0x4000_u32).map(|n| ((n * n) >> 8) as u8).collect();
        let start = memory.as_ptr() as u64;
        let range = start..start + memory.len() as u64;
        let mut file = [&[0xcc; 0x40][..], &memory].concat();
        assert!(has_bytes(pid, &range, 0x40, &file));
        assert!(!has_bytes(pid, &range, 0x41, &file));
        file[0x40..][..0x800].fill(1); // an eighth
        file[0x43] = 2;
        assert!(has_bytes(pid, &range, 0x40, &file));
        file[0x40..][..0x2000].iter_mut().for_each(|it| *it ^= 0x55);
        assert!(!has_bytes(pid, &range, 0x40, &file));
        assert!(!has_bytes(pid, &range, 0x40, &[0; 0x8000])); // says nothing
    }
}
