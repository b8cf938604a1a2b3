//! xz, as `.gnu_debugdata` has it: blocks of LZMA2 with a checksum each, and an index behind them, which
//! says nothing that the blocks do not.
//!
//! Source: "The .xz File Format", version 1.2.

use std::io::Read;

use lzma_rust2::Lzma2Reader;

use crate::checksum::{crc32, crc64};

/// Why something is not unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PackedError {
    /// It is damaged, or packed in a way that debug files are not.
    Damaged,
    /// It unpacks to more than was allowed.
    TooLarge,
}

use PackedError::{Damaged, TooLarge};

const MAGIC: &[u8] = b"\xfd7zXZ\0";
const STREAM_HEADER: usize = 12;
const LZMA2: u64 = 0x21;
/// Sizes of the checksums behind blocks, by their kind.
const CHECK_SIZES: [usize; 16] = [0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64];

/// Unpacks a stream; of that no more than `most` bytes are ever in memory twice.
///
/// # Errors
/// [`PackedError`].
pub(crate) fn unpack(packed: &[u8], most: usize) -> Result<Vec<u8>, PackedError> {
    let header = packed.get(..STREAM_HEADER).ok_or(Damaged)?;
    if !header.starts_with(MAGIC) || header[6] != 0 {
        return Err(Damaged);
    }
    let check = header[7] & 15;
    let mut rest = &packed[STREAM_HEADER..];
    let mut unpacked = Vec::new();
    while *rest.first().ok_or(Damaged)? != 0 {
        let start = unpacked.len();
        let before = rest;
        let dictionary = take_block_header(&mut rest)?.min(most as u64);
        let dictionary = u32::try_from(dictionary).unwrap_or(u32::MAX);
        let dictionary = dictionary.max(lzma_rust2::DICT_SIZE_MIN);
        let left = (most - start) as u64 + 1;
        let mut reader = Lzma2Reader::new(&mut rest, dictionary, None).take(left);
        reader.read_to_end(&mut unpacked).map_err(|_| Damaged)?;
        if unpacked.len() > most {
            return Err(TooLarge);
        }
        let read = before.len() - rest.len();
        take(&mut rest, read.next_multiple_of(4) - read)?;
        let stored = take(&mut rest, CHECK_SIZES[usize::from(check)])?;
        let bytes = &unpacked[start..];
        let fits = match check {
            0 => true,
            1 => stored == crc32(bytes).to_le_bytes(),
            4 => stored == crc64(bytes).to_le_bytes(),
            _ => false, // SHA-256, which no debug file has
        };
        if !fits {
            return Err(Damaged);
        }
    }
    Ok(unpacked)
}

/// The size of a block's dictionary.
fn take_block_header(input: &mut &[u8]) -> Result<u64, PackedError> {
    let size = usize::from(*input.first().ok_or(Damaged)?) * 4;
    let header = take(input, size)?;
    let checksum = take(input, 4)?;
    if checksum != crc32(header).to_le_bytes() {
        return Err(Damaged);
    }
    let mut fields = header.get(2..).ok_or(Damaged)?;
    let flags = header[1];
    for has_size in [0x40, 0x80] {
        if flags & has_size != 0 {
            take_number(&mut fields)?;
        }
    }
    let is_plain = flags & 0x3f == 0; // one filter
    if !is_plain || take_number(&mut fields)? != LZMA2 || take_number(&mut fields)? != 1 {
        return Err(Damaged);
    }
    match take(&mut fields, 1)?[0] {
        40 => Ok(u64::from(u32::MAX)),
        bits @ 0..40 => Ok(u64::from(2 | bits & 1) << (bits / 2 + 11)),
        _ => Err(Damaged),
    }
}

fn take<'a>(input: &mut &'a [u8], size: usize) -> Result<&'a [u8], PackedError> {
    let (taken, rest) = input.split_at_checked(size).ok_or(Damaged)?;
    *input = rest;
    Ok(taken)
}

/// A number in groups of 7 bits.
fn take_number(input: &mut &[u8]) -> Result<u64, PackedError> {
    let mut number = 0;
    for shift in (0..63).step_by(7) {
        let byte = take(input, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn packed(bytes: &[u8], options: &[&str]) -> Option<Vec<u8>> {
        let mut xz = Command::new("xz");
        let xz = xz.args(options).arg("--stdout").stdin(Stdio::piped());
        let Ok(mut xz) = xz.stdout(Stdio::piped()).spawn() else {
            assert!(std::env::var_os("CI").is_none(), "xz is not installed");
            println!("skipped: xz is not installed");
            return None;
        };
        let mut input = xz.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        let writer = std::thread::spawn(move || input.write_all(&bytes));
        let output = xz.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        Some(output.stdout)
    }

    /// Bytes that repeat themselves now and then.
    fn text() -> Vec<u8> {
        let words = (0..40_000_u32).map(|n| format!("_Z{}f{}", n.wrapping_mul(n) % 977, n / 3));
        words.collect::<String>().into_bytes()
    }

    #[test]
    fn a_stream_unpacks_to_what_was_packed() {
        let text = text();
        for options in [
            &[][..],
            &["-0"],
            &["-9e"],
            &["--check=crc32"],
            &["--check=none"],
            &["--block-size=100000"],
            &["--lzma2=dict=4KiB,lc=0,lp=3,pb=1"],
        ] {
            let Some(packed) = packed(&text, options) else {
                return;
            };
            assert_eq!(
                unpack(&packed, text.len()).as_ref(),
                Ok(&text),
                "{options:?}"
            );
            assert_eq!(unpack(&packed, text.len() - 1), Err(TooLarge));
            assert_eq!(
                unpack(&packed[..packed.len() / 2], text.len()),
                Err(Damaged)
            );
        }
        let empty = packed(b"", &[]).unwrap();
        assert_eq!(unpack(&empty, 0), Ok(Vec::new()));
        assert_eq!(unpack(b"", 0), Err(Damaged));
    }

    #[test]
    fn a_damaged_stream_is_an_error_or_what_was_packed() {
        let text = &text()[..20_000];
        let Some(packed) = packed(text, &["--block-size=7000"]) else {
            return;
        };
        for at in (0..packed.len()).step_by(5) {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x41;
            // what follows the blocks is not read
            let unpacked = unpack(&damaged, text.len());
            assert!(unpacked.is_err() || unpacked.as_deref() == Ok(text), "{at}");
        }
    }
}
