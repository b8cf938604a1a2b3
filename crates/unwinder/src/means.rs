//! What a file offers to unwinding, for who wants to know before anything is sampled.
//!
//! In: the bytes of a file. Out: which tables it has, and whether its functions keep frame pointers. Elsewhere:
//! unwinding itself, which asks for each address (`module.rs`).

use crate::Arch;
use crate::functions::Functions;
use crate::image::{Bytes, Image};

/// So many functions are looked at.
const LOOKED_AT: usize = 4096;
/// So many functions with a name tell about all; of fewer the code is searched.
const ENOUGH: usize = 16;
/// A table that is shorter has an end and nothing else.
const EMPTY_TABLE: usize = 8;
/// One function that keeps a frame pointer in so many bytes of code: more than chance, and most do.
const BYTES_OF_FUNCTION: usize = 1024;

/// By what the frames of a file's functions can be left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Means {
    /// `.eh_frame`, or the index of one.
    pub eh_frame: bool,
    /// `.debug_frame`.
    pub debug_frame: bool,
    /// Go's own table of functions.
    pub go_functions: bool,
    /// Whether most functions keep a frame pointer, as far as their first instructions tell.
    pub frame_pointers: bool,
}

/// What a file offers; `None` if it is no program or library that can be unwound.
pub fn means_of(file: Bytes) -> Option<Means> {
    let image = Image::parse(file)?;
    let has = |table: &Option<crate::image::Section>| {
        let table = table.as_ref();
        table.is_some_and(|table| image.section(table).len() > EMPTY_TABLE)
    };
    Some(Means {
        eh_frame: has(&image.eh_frame) || has(&image.eh_frame_hdr),
        debug_frame: has(&image.debug_frame),
        go_functions: image.go_functions.is_some(),
        frame_pointers: keeps_frame_pointers(&image),
    })
}

fn keeps_frame_pointers(image: &Image) -> bool {
    let functions = Functions::read(image);
    let starts = functions.starts().take(LOOKED_AT);
    let beginnings = starts.filter_map(|start| image.code(start..start.checked_add(16)?));
    let keeps: Vec<_> = beginnings
        .map(|code| begins_frame(image.arch, code))
        .collect();
    if keeps.len() >= ENOUGH {
        return keeps.iter().filter(|&&keeps| keeps).count() * 2 > keeps.len();
    }
    let (mut bytes, mut frames) = (0, 0);
    for code in image.all_code() {
        bytes += code.len();
        frames += code
            .windows(4)
            .filter(|code| image.arch.keeps_frame_pointer(code))
            .count();
    }
    frames > 0 && bytes / frames < BYTES_OF_FUNCTION
}

/// Whether a function that begins so keeps a frame pointer.
fn begins_frame(arch: Arch, code: &[u8]) -> bool {
    code.windows(4).any(|code| arch.keeps_frame_pointer(code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn this_program_has_unwind_tables_and_a_text_has_nothing() {
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let means = means_of(Arc::new(program)).unwrap();
        assert!(means.eh_frame && !means.go_functions, "{means:?}");
        assert_eq!(means_of(Arc::new(b"root:x:0:0".to_vec())), None);
    }
}
