//! The running kernel's memory as `/proc/kcore` shows it: an ELF core file with the addresses at which
//! things lie now, wherever the kernel was moved to at its boot.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use object::LittleEndian;
use object::elf::{self, FileHeader64, ProgramHeader64};

type Header = FileHeader64<LittleEndian>;
type Segment = ProgramHeader64<LittleEndian>;

/// `len` bytes at an address of the kernel.
///
/// # Errors
/// There is no such file or it must not be read, or it has nothing there.
pub(crate) fn read(path: &Path, address: u64, len: usize) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let nothing = |what: &str| io::Error::other(format!("{what} at {address:#x}"));
    let at = place(&file, address, len as u64)?.ok_or_else(|| nothing("it has no memory"))?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at)?;
    if bytes.iter().all(|&byte| byte == 0) {
        return Err(nothing("it has only zeros")); // so it shows what must not be read
    }
    Ok(bytes)
}

/// Where in the file the bytes at an address begin, if all of them are there.
fn place(file: &File, address: u64, len: u64) -> io::Result<Option<u64>> {
    let mut bytes = [0; size_of::<Header>()];
    file.read_exact_at(&mut bytes, 0)?;
    let no_core = || io::Error::other("it is no ELF file of 64 bits");
    let (header, _) = object::pod::from_bytes::<Header>(&bytes).map_err(|()| no_core())?;
    let ident = &header.e_ident;
    let is_known = (ident.class, ident.data) == (elf::ELFCLASS64, elf::ELFDATA2LSB);
    if ident.magic != elf::ELFMAG || !is_known {
        return Err(no_core());
    }
    let stride = usize::from(header.e_phentsize.get(LittleEndian));
    let count = usize::from(header.e_phnum.get(LittleEndian));
    if stride < size_of::<Segment>() {
        return Ok(None);
    }
    let mut segments = vec![0; stride * count];
    file.read_exact_at(&mut segments, header.e_phoff.get(LittleEndian))?;
    let found = segments.chunks_exact(stride).find_map(|bytes| {
        let (segment, _) = object::pod::from_bytes::<Segment>(bytes).ok()?;
        let start = segment.p_vaddr.get(LittleEndian);
        let distance = address.checked_sub(start)?;
        let is_there = distance.checked_add(len)? <= segment.p_filesz.get(LittleEndian);
        let is_memory = segment.p_type.get(LittleEndian) == elf::PT_LOAD;
        let offset = segment.p_offset.get(LittleEndian);
        (is_there && is_memory).then(|| offset.checked_add(distance))?
    });
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const LOAD: u32 = 1;
    const NOTE: u32 = 4;

    /// A core file with these segments: kind, address, bytes.
    fn core(segments: &[(u32, u64, &[u8])]) -> tempfile::NamedTempFile {
        let mut bytes = vec![0; 64];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
        bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&(segments.len() as u16).to_le_bytes());
        let mut at = 64 + 56 * segments.len() as u64;
        for (kind, address, memory) in segments {
            let size = memory.len() as u64;
            bytes.extend(kind.to_le_bytes());
            bytes.extend(7_u32.to_le_bytes());
            for field in [at, *address, 0, size, size, 0x1000] {
                bytes.extend(field.to_le_bytes());
            }
            at += size;
        }
        for (_, _, memory) in segments {
            bytes.extend(*memory);
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        file
    }

    #[test]
    fn memory_is_found_by_its_address_and_only_as_far_as_it_reaches() {
        const TEXT: u64 = 0xffff_ffff_9a00_0000;
        let file = core(&[
            (NOTE, TEXT, &b"no memory"[..]),
            (LOAD, 0xffff_ffff_c000_0000, &b"modules"[..]),
            (LOAD, TEXT, &b"kernel\0\0"[..]),
        ]);
        let at = |address, len| read(file.path(), address, len).map_err(|error| error.to_string());
        assert_eq!(at(TEXT, 6).unwrap(), b"kernel");
        assert_eq!(at(TEXT + 3, 3).unwrap(), b"nel");
        assert_eq!(at(0xffff_ffff_c000_0000, 7).unwrap(), b"modules");
        let nothing = format!("it has no memory at {:#x}", TEXT + 3);
        assert_eq!(at(TEXT + 3, 6), Err(nothing));
        assert!(at(TEXT + 6, 2).unwrap_err().contains("only zeros"));
        assert!(at(u64::MAX, 2).is_err());
    }

    #[test]
    fn what_is_no_core_file_is_an_error_wherever_it_is_cut() {
        let file = core(&[(LOAD, 0x1000, &b"memory"[..])]);
        let bytes = std::fs::read(file.path()).unwrap();
        for cut in 0..bytes.len() {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&bytes[..cut]).unwrap();
            assert!(read(file.path(), 0x1000, 6).is_err(), "{cut}");
        }
        assert!(read(Path::new("/gone"), 0x1000, 6).is_err());
    }
}
