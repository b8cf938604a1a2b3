//! Bytes of our own behind the last feature, where other readers do not look.
//!
//! ```text
//! ... last feature | payload | u64 payload length, u32 version, u32 checksum, 16 bytes magic
//! ```

use prof_event::{Reader, Short};

use crate::Error;
use crate::header::Section;
use crate::source::Source;

const MAGIC: [u8; 16] = *b"\x89prof-names\r\n\x1a\n\0";
const FOOTER_SIZE: u64 = 32;
const NAME: &str = "the stored names";
/// A trailer of this size would name millions of functions.
const LARGEST: u64 = 512 << 20;

/// A payload and its version.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) version: u32,
    pub(crate) payload: Vec<u8>,
}

impl Trailer {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let mut bytes = self.payload;
        let checksum = checksum(&bytes);
        bytes.extend((bytes.len() as u64).to_le_bytes());
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(checksum.to_le_bytes());
        bytes.extend(MAGIC);
        bytes
    }

    /// Finds the trailer at the end of a file; `None` where the file has none.
    pub(crate) fn find(source: &Source) -> Result<Option<Self>, Error> {
        let Some(footer_at) = source.len().checked_sub(FOOTER_SIZE) else {
            return Ok(None);
        };
        let footer = Section {
            offset: footer_at,
            size: FOOTER_SIZE,
        };
        let footer = source.section(NAME, footer)?;
        let Ok(Some((len, version, expected))) = parse_footer(&footer) else {
            return Ok(None);
        };
        let corrupt = |what| Error::corrupt(NAME, footer_at, what);
        if len > footer_at.min(LARGEST) {
            return Err(corrupt(format!("{len} bytes are too many")));
        }
        let payload = Section {
            offset: footer_at - len,
            size: len,
        };
        let payload = source.section(NAME, payload)?;
        if checksum(&payload) != expected {
            return Err(corrupt("the checksum is wrong".to_owned()));
        }
        Ok(Some(Self { version, payload }))
    }
}

fn parse_footer(footer: &[u8]) -> Result<Option<(u64, u32, u32)>, Short> {
    let mut reader = Reader::new(footer);
    let fields = (reader.u64()?, reader.u32()?, reader.u32()?);
    Ok((reader.rest() == MAGIC).then_some(fields))
}

/// FNV-1a: finds a damaged file, not a forged one.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(bytes: Vec<u8>) -> Result<Option<Trailer>, Error> {
        Trailer::find(&Source::Bytes(bytes))
    }

    fn example() -> Trailer {
        Trailer {
            version: 3,
            payload: b"payload".to_vec(),
        }
    }

    #[test]
    fn a_trailer_is_found_behind_whatever_precedes_it() {
        let mut bytes = b"the last feature".to_vec();
        bytes.extend(example().into_bytes());
        assert_eq!(find(bytes).unwrap(), Some(example()));
    }

    #[test]
    fn a_file_without_a_trailer_has_none_and_a_damaged_trailer_is_an_error() {
        assert_eq!(find(Vec::new()).unwrap(), None);
        assert_eq!(find(vec![0; 100]).unwrap(), None);
        let mut bytes = example().into_bytes();
        bytes[2] ^= 1;
        let message = find(bytes).unwrap_err().to_string();
        assert_eq!(
            message,
            "the stored names at offset 0x7: the checksum is wrong"
        );
        let mut bytes = example().into_bytes();
        bytes[14] = 0xff; // the length's highest byte
        assert!(find(bytes).is_err());
    }

    #[test]
    fn the_checksum_is_fnv_1a() {
        assert_eq!(checksum(b""), 0x811c_9dc5);
        assert_eq!(checksum(b"foobar"), 0xbf9c_f968);
    }
}
