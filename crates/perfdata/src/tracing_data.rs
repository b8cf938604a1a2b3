//! Formats of tracepoints: what the fields of a tracepoint's raw data are.
//!
//! perf copies them from tracefs into a section of their own and refuses a recording of tracepoints
//! that has none.

use std::collections::HashMap;
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

/// Formats of the tracepoints of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracingData {
    /// One for each tracepoint.
    pub formats: Vec<TracepointFormat>,
    /// Constant strings of the kernel by address: what pointers in the data stand for.
    pub strings: HashMap<u64, String>,
}

/// What a tracepoint's raw data consist of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracepointFormat {
    /// `sched`
    pub system: String,
    /// `sched_switch`
    pub name: String,
    /// The attr's config.
    pub id: u64,
    /// In the order of the data; the first few are the same for all tracepoints.
    pub fields: Vec<TracepointField>,
    /// How the kernel would print it: a C format string and its arguments.
    pub print: String,
}

/// A field of a tracepoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracepointField {
    /// `prev_comm`
    pub name: String,
    /// The C type, with `[]` and a length for arrays: `char[16]`.
    pub kind: String,
    /// Bytes from the start of the raw data.
    pub offset: usize,
    /// Bytes; 0 where the length is in the data.
    pub size: usize,
    /// Whether it is a signed number.
    pub signed: bool,
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

    /// The format of the tracepoint with this attr config.
    pub fn by_id(&self, id: u64) -> Option<&TracepointFormat> {
        self.formats.iter().find(|format| format.id == id)
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
            let text = String::from_utf8_lossy(text(&mut reader)?);
            formats.push(TracepointFormat::parse(&system, &text));
        }
    }
    Ok(Some(TracingData {
        formats,
        strings: strings(&mut reader).unwrap_or_default(),
    }))
}

/// Lines of `printk_formats`: `0xffffffff82a0b1c8 : "start context switch"`.
fn strings(reader: &mut Reader<'_>) -> Result<HashMap<u64, String>, Short> {
    let kallsyms = reader.u32()?;
    reader.bytes(kallsyms as usize)?;
    let len = reader.u32()?;
    let text = String::from_utf8_lossy(reader.bytes(len as usize)?);
    let lines = text.lines().filter_map(|line| {
        let (address, text) = line.split_once(" : ")?;
        let address = u64::from_str_radix(address.trim().strip_prefix("0x")?, 16).ok()?;
        let text = text.trim().strip_prefix('"')?.strip_suffix('"')?;
        Some((address, text.replace("\\n", "")))
    });
    Ok(lines.collect())
}

fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Short> {
    let len = usize::try_from(reader.u64()?).map_err(|_| Short)?;
    reader.bytes(len)
}

impl TracepointFormat {
    /// Reads the text of a `format` file of tracefs. Lines that make no sense are left out.
    pub fn parse(system: &str, text: &str) -> Self {
        let mut this = Self {
            system: system.to_owned(),
            ..Self::default()
        };
        for line in text.lines() {
            let Some((key, value)) = line.trim().split_once(':') else {
                continue;
            };
            match key {
                "name" => this.name = value.trim().to_owned(),
                "ID" => this.id = value.trim().parse().unwrap_or(0),
                "print fmt" => this.print = value.trim().to_owned(),
                "field" => this.fields.extend(TracepointField::parse(value)),
                _ => {}
            }
        }
        this
    }
}

impl TracepointField {
    /// Reads `char prev_comm[16]; offset:8; size:16; signed:0;`.
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split(';').map(str::trim);
        let declaration = parts.next()?;
        let (declared, array) = match declaration.find('[') {
            // `__data_loc char[] name` has its brackets in the type
            Some(at) if declaration.ends_with(']') => declaration.split_at(at),
            _ => (declaration, ""),
        };
        let declared = declared.trim();
        let (_, name) = declared.rsplit_once([' ', '\t', '*'])?;
        let kind = &declared[..declared.len() - name.len()]; // with the star, if there is one
        let mut this = Self {
            name: name.to_owned(),
            kind: format!("{}{array}", kind.trim()),
            ..Self::default()
        };
        for part in parts {
            match part.split_once(':') {
                Some(("offset", value)) => this.offset = value.parse().ok()?,
                Some(("size", value)) => this.size = value.parse().ok()?,
                Some(("signed", value)) => this.signed = value != "0",
                _ => {}
            }
        }
        Some(this)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str = "name: sched_switch\nID: 316\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
        \tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:1;\n\
        \tfield:const char * name;\toffset:24;\tsize:8;\tsigned:0;\n\
        \tfield:__data_loc char[] file;\toffset:32;\tsize:4;\tsigned:1;\n\
        \tfield:__u8 saddr[4];\toffset:36;\tsize:4;\tsigned:0;\n\n\
        print fmt: \"prev_comm=%s\", REC->prev_comm\n";

    #[test]
    fn a_format_gives_each_field_with_its_place() {
        let format = TracepointFormat::parse("sched", FORMAT);
        assert_eq!((format.name.as_str(), format.id), ("sched_switch", 316));
        assert_eq!(format.print, "\"prev_comm=%s\", REC->prev_comm");
        let fields: Vec<_> = format
            .fields
            .iter()
            .map(|f| (f.kind.as_str(), f.name.as_str(), f.offset, f.size, f.signed))
            .collect();
        assert_eq!(
            fields,
            [
                ("unsigned short", "common_type", 0, 2, false),
                ("char[16]", "prev_comm", 8, 16, true),
                ("const char *", "name", 24, 8, false),
                ("__data_loc char[]", "file", 32, 4, true),
                ("__u8[4]", "saddr", 36, 4, false),
            ]
        );
    }

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
        assert_eq!(parsed.by_id(316).unwrap().system, "sched");
        for cut in 0..section.len() {
            assert!(TracingData::parse(&section[..cut]).is_err());
        }
    }
}
