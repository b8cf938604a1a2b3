//! The start of a perf.data file: magic, and where attrs, data and features lie.

use prof_event::{Reader, Short};

use crate::Error;

const MAGIC: [u8; 8] = *b"PERFILE2";
/// Bytes of the header of a seekable file.
pub(crate) const FILE_SIZE: u64 = 104;
/// Bytes of the header of a pipe.
pub(crate) const PIPE_SIZE: u64 = 16;
/// Older perf wrote no feature map.
const SIZE_WITHOUT_FEATURES: u64 = 72;

/// A part of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

impl Section {
    /// The first offset behind it.
    pub(crate) fn end(self) -> u64 {
        self.offset.saturating_add(self.size)
    }

    /// Checks that it lies in a file of `len` bytes.
    pub(crate) fn within(self, section: &'static str, len: u64) -> Result<Self, Error> {
        match self.offset.checked_add(self.size) {
            Some(end) if end <= len => Ok(self),
            _ => Err(Error::Truncated {
                section,
                offset: self.offset,
                size: self.size,
                len,
            }),
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Short> {
        Ok(Self {
            offset: reader.u64()?,
            size: reader.u64()?,
        })
    }

    pub(crate) fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..].copy_from_slice(&self.size.to_le_bytes());
        bytes
    }
}

/// The header of a seekable file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileHeader {
    /// Bytes from one entry of the attrs section to the next.
    pub(crate) attr_stride: u64,
    pub(crate) attrs: Section,
    pub(crate) data: Section,
    /// Bit n: feature n has a section.
    pub(crate) features: [u64; 4],
}

impl FileHeader {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FILE_SIZE.to_le_bytes());
        bytes.extend(self.attr_stride.to_le_bytes());
        bytes.extend(self.attrs.to_bytes());
        bytes.extend(self.data.to_bytes());
        bytes.extend(Section::default().to_bytes()); // event types: obsolete
        bytes.extend(self.features.iter().flat_map(|word| word.to_le_bytes()));
        bytes
    }

    /// Numbers of the features that have a section, ascending: the order of the feature table.
    pub(crate) fn feature_bits(&self) -> impl Iterator<Item = u32> + use<> {
        let map = self.features;
        (0..256u32).filter(move |bit| map[*bit as usize / 64] >> (bit % 64) & 1 != 0)
    }

    pub(crate) fn set_feature(&mut self, bit: u32) {
        self.features[bit as usize / 64] |= 1 << (bit % 64);
    }
}

/// The header of a pipe.
pub(crate) fn pipe_header() -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(PIPE_SIZE.to_le_bytes());
    bytes
}

/// Which of the two forms a file has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Form {
    File(FileHeader),
    Pipe,
}

/// Reads the header from the first bytes of a file; [`FILE_SIZE`] of them, or fewer where the file
/// is shorter.
pub(crate) fn parse(bytes: &[u8]) -> Result<Form, Error> {
    if let Some(what) = other_format(bytes) {
        return Err(Error::NotPerfData(what));
    }
    parse_fields(bytes).map_err(|Short| Error::Truncated {
        section: "the file header",
        offset: 0,
        size: FILE_SIZE,
        len: bytes.len() as u64,
    })?
}

fn parse_fields(bytes: &[u8]) -> Result<Result<Form, Error>, Short> {
    let mut reader = Reader::new(bytes);
    reader.bytes(MAGIC.len())?;
    let size = reader.u64()?;
    if size == PIPE_SIZE {
        return Ok(Ok(Form::Pipe));
    }
    if size < SIZE_WITHOUT_FEATURES {
        let what = format!("its size is given as {size}, which no version of perf writes");
        return Ok(Err(Error::corrupt("the file header", 8, what)));
    }
    let attr_stride = reader.u64()?;
    if attr_stride == 0 {
        let what = "the size of an attr is 0: the recorder did not finish the header";
        return Ok(Err(Error::corrupt("the file header", 16, what)));
    }
    let mut header = FileHeader {
        attr_stride,
        attrs: Section::read(&mut reader)?,
        data: Section::read(&mut reader)?,
        features: [0; 4],
    };
    Section::read(&mut reader)?;
    if size >= FILE_SIZE {
        for word in &mut header.features {
            *word = reader.u64()?;
        }
    }
    Ok(Ok(Form::File(header)))
}

/// What a file is that is not perf.data.
fn other_format(bytes: &[u8]) -> Option<&'static str> {
    const V1: &str = "it has the format of perf before 2.6.34, which is not read";
    const KNOWN: [(&[u8], &str); 10] = [
        (b"PERFFILE", V1),
        (b"ELIFFREP", V1),
        (b"\x7fELF", "it is an ELF program or library"),
        (b"\x1f\x8b", "it is gzip compressed; unpack it first"),
        (
            b"\x28\xb5\x2f\xfd",
            "it is zstd compressed; unpack it first",
        ),
        (b"\xfd7zXZ", "it is xz compressed; unpack it first"),
        (b"BZh", "it is bzip2 compressed; unpack it first"),
        (b"PK\x03\x04", "it is a zip archive"),
        (b"SIMPLEPERF", "it is a simpleperf report"),
        (b"{", "it is text, probably JSON"),
    ];
    if bytes.is_empty() {
        return Some("it is empty");
    }
    if bytes.starts_with(&MAGIC) {
        return None;
    }
    let known = KNOWN.iter().find(|(magic, _)| bytes.starts_with(magic));
    Some(match known {
        Some((_, what)) => what,
        None if bytes.iter().all(|&byte| byte == 0) => "it starts with zeros",
        None if is_text(bytes) => "it is text",
        None => "it does not start with PERFILE2",
    })
}

fn is_text(bytes: &[u8]) -> bool {
    let blank = |byte: &u8| matches!(byte, b'\n' | b'\t' | b'\r' | 0x20..=0x7e | 0x80..);
    bytes.iter().all(blank)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: &[u8]) -> String {
        parse(bytes).unwrap_err().to_string()
    }

    #[test]
    fn a_header_survives_writing_and_reading() {
        let mut header = FileHeader {
            attr_stride: 144,
            attrs: Section {
                offset: 120,
                size: 144,
            },
            data: Section {
                offset: 264,
                size: 8,
            },
            features: [0; 4],
        };
        [2, 12, 64, 255]
            .iter()
            .for_each(|&bit| header.set_feature(bit));
        assert_eq!(header.feature_bits().collect::<Vec<_>>(), [2, 12, 64, 255]);
        let bytes = header.to_bytes();
        assert_eq!(bytes.len() as u64, FILE_SIZE);
        assert_eq!(parse(&bytes).unwrap(), Form::File(header));
        assert_eq!(parse(&pipe_header()).unwrap(), Form::Pipe);
    }

    #[test]
    fn a_file_of_another_kind_is_named() {
        assert_eq!(message(b""), "not a perf.data file: it is empty");
        assert_eq!(
            message(b"\x7fELF\x02\x01"),
            "not a perf.data file: it is an ELF program or library"
        );
        assert_eq!(message(b"# hello\n"), "not a perf.data file: it is text");
        assert_eq!(
            message(&[0; 104]),
            "not a perf.data file: it starts with zeros"
        );
        assert_eq!(
            message(b"\x1f\x8b\x08"),
            "not a perf.data file: it is gzip compressed; unpack it first"
        );
    }

    #[test]
    fn a_header_that_ends_early_or_has_no_attr_size_is_an_error() {
        let bytes = FileHeader::default().to_bytes();
        assert_eq!(
            message(&bytes),
            "the file header at offset 0x10: the size of an attr is 0: \
             the recorder did not finish the header"
        );
        assert_eq!(
            message(&bytes[..12]),
            "the file header reaches behind the end of the file: 104 bytes at offset 0x0, \
             but the file has 12"
        );
    }
}
