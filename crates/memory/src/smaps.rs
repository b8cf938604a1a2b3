//! `/proc/PID/smaps`: each mapping, and what is resident of it.

use std::fs;
use std::io;
use std::ops::Range;

/// A mapping and its memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// Its addresses.
    pub range: Range<u64>,
    /// `rw-p`
    pub modes: String,
    /// A file, `[heap]`, `[stack]`; empty for most anonymous memory.
    pub name: String,
    /// Resident.
    pub resident: u64,
    /// The process's part of that, where others have the same pages.
    pub proportional: u64,
    /// Of it what no file backs.
    pub anonymous: u64,
    /// Of that in huge pages.
    pub huge: u64,
    /// Pages of hugetlbfs, which are no part of `resident`.
    pub hugetlb: u64,
    /// Swapped out.
    pub swapped: u64,
}

impl Mapping {
    /// Whether it is memory that processes may share: of tmpfs, of System V, or anonymous and shared.
    pub fn is_shared_memory(&self) -> bool {
        let name = &self.name;
        let begins = ["/dev/shm/", "/memfd:", "/SYSV", "/dev/zero", "[anon_shmem"];
        begins.iter().any(|it| name.starts_with(it))
    }

    /// Whether a file backs it.
    pub fn is_file(&self) -> bool {
        self.name.starts_with('/') && !self.is_shared_memory()
    }

    /// Whether it is private memory that no file backs.
    pub fn is_anonymous(&self) -> bool {
        !self.is_file() && !self.is_shared_memory()
    }
}

/// The mappings of a process by address.
///
/// # Errors
/// It has ended, or belongs to somebody else.
pub fn mappings(pid: i32) -> io::Result<Vec<Mapping>> {
    Ok(parse(&read_text(&format!("/proc/{pid}/smaps"))?))
}

/// Names of files may be anything.
pub(crate) fn read_text(path: &str) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}

pub(crate) fn parse(text: &str) -> Vec<Mapping> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in text.lines() {
        if let Some(mapping) = head(line) {
            mappings.push(mapping);
            continue;
        }
        let (Some(mapping), Some((field, value))) = (mappings.last_mut(), line.split_once(':'))
        else {
            continue;
        };
        let Some(bytes) = bytes(value) else {
            continue;
        };
        match field {
            "Rss" => mapping.resident = bytes,
            "Pss" => mapping.proportional = bytes,
            "Anonymous" => mapping.anonymous = bytes,
            "AnonHugePages" => mapping.huge = bytes,
            "Shared_Hugetlb" | "Private_Hugetlb" => mapping.hugetlb += bytes,
            "Swap" => mapping.swapped = bytes,
            _ => {}
        }
    }
    mappings
}

/// `   12 kB` in bytes.
pub(crate) fn bytes(value: &str) -> Option<u64> {
    let number = value.trim().strip_suffix(" kB")?;
    number.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// `7f00-7f10 rw-p 00000000 00:00 0    [heap]`
fn head(line: &str) -> Option<Mapping> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let (modes, rest) = rest.split_once(' ')?;
    let mut rest = rest;
    for _ in 0..3 {
        rest = rest.trim_start();
        rest = &rest[rest.find(' ').unwrap_or(rest.len())..];
    }
    Some(Mapping {
        range: hex(start)?..hex(end)?,
        modes: modes.to_owned(),
        name: rest.trim_start().to_owned(),
        ..Mapping::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_has_its_name_with_spaces_and_what_is_resident() {
        let text = "\
55d0-55f0 rw-p 00000000 00:00 0                          [heap]
Size:                132 kB
Rss:                  12 kB
Pss:                   6 kB
Anonymous:            12 kB
AnonHugePages:         0 kB
Swap:                  4 kB
VmFlags: rd wr mr mw me ac sd
7f00-7f10 r--p 00001000 fe:00 4711                       /opt/my app (deleted)
Rss:                   8 kB
7f10-7f20 rw-s 00000000 00:01 9                          /dev/zero (deleted)
7f20-7f30 rw-p 00000000 00:00 0
";
        let mappings = parse(text);
        assert_eq!(mappings.len(), 4);
        assert_eq!(mappings[0].range, 0x55d0..0x55f0);
        assert_eq!(mappings[0].name, "[heap]");
        let heap = &mappings[0];
        assert_eq!(
            [heap.resident, heap.proportional, heap.swapped],
            [12 << 10, 6 << 10, 4 << 10]
        );
        assert_eq!(mappings[1].name, "/opt/my app (deleted)");
        assert!(mappings[1].is_file());
        assert!(mappings[2].is_shared_memory() && !mappings[2].is_file());
        assert!(mappings[3].is_anonymous() && mappings[3].name.is_empty());
    }
}
