//! How much the packed sections of a file may unpack to. A few kilobytes can stand for gigabytes.

use object::read::CompressionFormat;
use object::{Object, ObjectSection};

use crate::mapped_file::MappedFile;
use crate::xz::{self, PackedError};

/// A section may always unpack to this.
const SMALL: u64 = 16 << 20;
/// And else to so many times its size: ten times what debug info reaches.
const HIGHEST_RATIO: u64 = 100;
/// All of a file's together may unpack to this,
const SMALL_FILE: u64 = 256 << 20;
/// and else to so many times its size: debug info reaches five.
const HIGHEST_RATIO_OF_FILE: u64 = 16;
/// `.gnu_debugdata` holds nothing but symbol tables, which unpack to ten times their size at most.
const HIGHEST_RATIO_OF_MINI_DEBUG_INFO: u64 = 20;
/// Far more than any has.
const LARGEST_MINI_DEBUG_INFO: u64 = 128 << 20;

/// What a packed section of so many bytes may unpack to.
fn most(packed: u64) -> u64 {
    SMALL.max(packed.saturating_mul(HIGHEST_RATIO))
}

/// Whether what a section of `object`, a file of `len` bytes, says to unpack to is too much, or what
/// all of them say.
pub(crate) fn is_too_large(object: &object::File<'_>, len: usize) -> bool {
    let mut all: u64 = 0;
    for section in object.sections() {
        let Ok(data) = section.compressed_data() else {
            continue;
        };
        if data.format != CompressionFormat::None {
            if data.uncompressed_size > most(data.data.len() as u64) {
                return true;
            }
            all = all.saturating_add(data.uncompressed_size);
        }
    }
    all > SMALL_FILE.max((len as u64).saturating_mul(HIGHEST_RATIO_OF_FILE))
}

/// `.gnu_debugdata`: an xz-compressed ELF file that holds the symbols which `.dynsym` lacks. `None` if
/// there is none.
pub(crate) fn mini_debug_info(object: &object::File<'_>) -> Option<Result<Vec<u8>, PackedError>> {
    let section = object.section_by_name(".gnu_debugdata")?;
    let packed = section.data().ok()?;
    let most = (packed.len() as u64).saturating_mul(HIGHEST_RATIO_OF_MINI_DEBUG_INFO);
    let most = most.clamp(SMALL, LARGEST_MINI_DEBUG_INFO);
    Some(xz::unpack(
        packed,
        usize::try_from(most).unwrap_or(usize::MAX),
    ))
}

/// Whether symbols or debug info of a file are left out for their size.
pub(crate) fn is_refused(image: &MappedFile) -> bool {
    let bytes: &[u8] = image.as_ref();
    object::File::parse(bytes).is_ok_and(|object| {
        let mini = mini_debug_info(&object);
        is_too_large(&object, bytes.len()) || matches!(mini, Some(Err(PackedError::TooLarge)))
    })
}
