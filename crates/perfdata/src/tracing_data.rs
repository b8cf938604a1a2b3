//! The formats of tracepoints as texts: collected from tracefs, and read from their section.
//!
//! perf copies them from tracefs into a section of their own and refuses a recording of tracepoints
//! that has none. What they say is `prof_tracepoint`'s.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use prof_event::{Reader, Short};

use crate::Error;
use crate::fields::Put;

const MAGIC: &[u8] = b"\x17\x08\x44tracing";
const VERSION: &[u8] = b"0.6\0";
/// Of ftrace's own buffers, which no perf.data has: nobody looks at it.
const PAGE_SIZE: u32 = 4096;
/// Where tracefs is mounted, today and before Linux 4.1.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The texts of tracefs that a recording of tracepoints brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracingData {
    /// One for each tracepoint, in the order of the section.
    pub formats: Vec<FormatText>,
    /// The text of `printk_formats`: constant strings of the kernel and their addresses.
    pub printk_formats: String,
}

/// The text of a tracepoint's `format` file, which `prof_tracepoint` parses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormatText {
    /// The folder of the tracepoint in tracefs, such as `sched`.
    pub system: String,
    /// The text of the file. Bytes that are not UTF-8 are replaced.
    pub text: String,
}

impl TracingData {
    /// Makes the section for tracepoints of this machine, given as system and name.
    ///
    /// # Errors
    /// tracefs cannot be read: it is not mounted, only root may read it, or a tracepoint does not
    /// exist.
    pub fn collect(tracepoints: &[(&str, &str)]) -> io::Result<Vec<u8>> {
        let root = TRACEFS
            .map(PathBuf::from)
            .into_iter()
            .find(|root| root.join("events").is_dir())
            .ok_or_else(|| {
                let what = "tracefs is not mounted at /sys/kernel/tracing, or not readable";
                io::Error::new(io::ErrorKind::NotFound, what)
            })?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION);
        bytes.push(0); // little-endian
        bytes.push(size_of::<u64>() as u8); // of the kernel's long
        bytes.put_u32(PAGE_SIZE);
        for name in ["header_page", "header_event"] {
            bytes.extend(name.as_bytes());
            bytes.push(0);
            put_text(&read(&root.join("events").join(name))?, &mut bytes);
        }
        bytes.put_u32(0); // formats of ftrace's own events
        put_systems(&root, tracepoints, &mut bytes)?;
        bytes.put_u32(0); // kallsyms
        let printk = read(&root.join("printk_formats")).unwrap_or_default();
        bytes.put_u32(printk.len() as u32);
        bytes.extend(printk);
        let names = read(&root.join("saved_cmdlines")).unwrap_or_default();
        put_text(&names, &mut bytes);
        Ok(bytes)
    }

    /// Reads the section.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it is something else, or ends too early.
    pub fn parse(section: &[u8]) -> Result<Self, Error> {
        let corrupt = |what: &str| Error::corrupt("the tracepoint formats", 0, what);
        let body = section
            .strip_prefix(MAGIC)
            .ok_or_else(|| corrupt("they do not start with their magic"))?;
        match parse_body(body) {
            Ok(Some(this)) => Ok(this),
            Ok(None) => Err(corrupt("they are of a big-endian machine")),
            Err(Short) => Err(corrupt("they end too early")),
        }
    }
}

/// Reads a file of tracefs. Some give their text to one read only, however short it is.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    const STEP: usize = 64 << 10;
    let named = |error: io::Error| {
        let what = format!("{}: {error}", path.display());
        io::Error::new(error.kind(), what)
    };
    let mut file = File::open(path).map_err(named)?;
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        bytes.resize(before + STEP, 0);
        let count = file.read(&mut bytes[before..]).map_err(named)?;
        bytes.truncate(before + count);
        if count == 0 {
            return Ok(bytes);
        }
    }
}

fn put_text(text: &[u8], out: &mut Vec<u8>) {
    out.put_u64(text.len() as u64);
    out.extend(text);
}

fn put_systems(root: &Path, tracepoints: &[(&str, &str)], out: &mut Vec<u8>) -> io::Result<()> {
    let mut tracepoints = tracepoints.to_vec();
    tracepoints.sort_unstable();
    tracepoints.dedup();
    let systems = tracepoints.chunk_by(|(a, _), (b, _)| a == b);
    out.put_u32(systems.clone().count() as u32);
    for events in systems {
        let (system, _) = events[0];
        out.extend(system.as_bytes());
        out.push(0);
        out.put_u32(events.len() as u32);
        for (_, name) in events {
            let path = root.join("events").join(system).join(name).join("format");
            put_text(&read(&path)?, out);
        }
    }
    Ok(())
}

/// `None`: big-endian.
fn parse_body(body: &[u8]) -> Result<Option<TracingData>, Short> {
    let mut reader = Reader::new(body);
    reader.c_string(); // version
    if reader.u8()? != 0 {
        return Ok(None);
    }
    reader.u8()?;
    reader.u32()?;
    for _ in 0..2 {
        reader.c_string();
        text(&mut reader)?;
    }
    for _ in 0..reader.u32()? {
        text(&mut reader)?;
    }
    let mut formats = Vec::new();
    for _ in 0..reader.u32()? {
        let system = String::from_utf8_lossy(reader.c_string()).into_owned();
        for _ in 0..reader.u32()? {
            formats.push(FormatText {
                system: system.clone(),
                text: String::from_utf8_lossy(text(&mut reader)?).into_owned(),
            });
        }
    }
    Ok(Some(TracingData {
        formats,
        printk_formats: printk_formats(&mut reader).unwrap_or_default(),
    }))
}

/// What follows the formats; old recordings end before it.
fn printk_formats(reader: &mut Reader<'_>) -> Result<String, Short> {
    let kallsyms = reader.u32()?;
    reader.bytes(kallsyms as usize)?;
    let len = reader.u32()?;
    Ok(String::from_utf8_lossy(reader.bytes(len as usize)?).into_owned())
}

fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Short> {
    let len = usize::try_from(reader.u64()?).map_err(|_| Short)?;
    reader.bytes(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "name: sched_switch\nID: 316\n";

    #[test]
    fn a_section_that_is_cut_is_an_error_until_its_last_format() {
        let mut section = MAGIC.to_vec();
        section.extend(b"0.6\0\0\x08\0\x10\0\0");
        for name in ["header_page", "header_event"] {
            section.extend(name.as_bytes());
            section.push(0);
            put_text(b"x", &mut section);
        }
        section.put_u32(0);
        section.put_u32(1);
        section.extend(b"sched\0");
        section.put_u32(1);
        put_text(FORMAT.as_bytes(), &mut section);
        let parsed = TracingData::parse(&section).unwrap();
        let format = FormatText {
            system: "sched".to_owned(),
            text: FORMAT.to_owned(),
        };
        assert_eq!(parsed.formats, [format]);
        for cut in 0..section.len() {
            assert!(TracingData::parse(&section[..cut]).is_err());
        }
    }
}
