use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use addr2line::{Context, LookupContinuation, LookupResult};
use prof_model::SourceLine;

use crate::code_place::{PlaceFrame, PlaceFunction};
use crate::debug_file;
use crate::elf::{self, Reader};
use crate::files::FoundFile;
use crate::mapped_file::MappedFile;
use crate::names::Names;
use crate::split_dwarf::SplitDwarf;

/// The DWARF of one file. Units are parsed when an address in them is asked for.
pub(crate) struct Dwarf {
    context: Context<Reader>,
    split: SplitDwarf,
}

impl fmt::Debug for Dwarf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dwarf").finish_non_exhaustive()
    }
}

impl Dwarf {
    /// The DWARF in `file`; `None` if it has none, or what it has cannot be read. `program` has the
    /// paths of the mapped file, which split debug info is named after.
    pub(crate) fn load(
        file: &FoundFile,
        program: &[PathBuf],
        symfs: Option<&Path>,
    ) -> Option<Self> {
        let mut dwarf = sections(&file.image)?;
        if let Some(shared) = debug_file::find_shared(file, symfs) {
            dwarf.set_sup(sections(&shared.image)?);
        }
        Some(Self {
            context: Context::from_dwarf(dwarf).ok()?,
            split: SplitDwarf::new(program),
        })
    }

    /// The functions around `address`, innermost first; the last one is the physical function. Empty
    /// if the debug info does not cover the address, or is damaged there.
    pub(crate) fn frames(&self, address: u64, names: &mut Names) -> Vec<PlaceFrame> {
        let lookup = self.context.find_frames(address);
        let Ok(mut frames) = self.finish(lookup) else {
            return Vec::new();
        };
        let mut places = Vec::new();
        loop {
            let frame = match frames.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => return places,
                Err(_) => return Vec::new(),
            };
            let name = frame
                .function
                .as_ref()
                .and_then(|name| name.raw_name().ok());
            let location = frame.location.and_then(|location| {
                Some(SourceLine {
                    file: names.plain(location.file?),
                    line: location.line.unwrap_or(0),
                })
            });
            places.push(PlaceFrame {
                name: name.map(|name| names.plain(&name)),
                location,
            });
        }
    }

    /// The physical function around `address`, for files without a symbol table.
    pub(crate) fn function(&self, address: u64, names: &mut Names) -> Option<PlaceFunction> {
        let lookup = self.context.find_frames(address);
        let mut frames = self.finish(lookup).ok()?;
        let mut outermost = None;
        while let Some(frame) = frames.next().ok()? {
            outermost = Some(frame);
        }
        let outermost = outermost?;
        let name = names.plain(&outermost.function?.raw_name().ok()?);

        let unit = self.finish(self.context.find_dwarf_and_unit(address))?;
        let entry = unit.entry(outermost.dw_die_offset?).ok()?;
        let mut ranges = unit.die_ranges(&entry).ok()?;
        while let Some(range) = ranges.next().ok()? {
            if (range.begin..range.end).contains(&address) {
                return Some(PlaceFunction {
                    name,
                    address: range.begin,
                    size: range.end - range.begin,
                });
            }
        }
        None
    }

    /// Brings a lookup to its end, loading split debug info where it asks for it.
    fn finish<L: LookupContinuation<Buf = Reader>>(
        &self,
        mut lookup: LookupResult<L>,
    ) -> L::Output {
        loop {
            match lookup {
                LookupResult::Output(output) => return output,
                LookupResult::Load { load, continuation } => {
                    lookup = continuation.resume(self.split.load(&load).map(Arc::new));
                }
            }
        }
    }
}

fn sections(image: &Arc<MappedFile>) -> Option<gimli::Dwarf<Reader>> {
    let object = object::File::parse((**image).as_ref()).ok()?;
    let empty = elf::empty_section(&object);
    let section = |id: gimli::SectionId| elf::section(image, &object, id.name());
    section(gimli::SectionId::DebugInfo)?;
    let load = |id| match id {
        // where variables are and what macros say: large, and no function's name is in them
        gimli::SectionId::DebugLoc
        | gimli::SectionId::DebugLocLists
        | gimli::SectionId::DebugMacinfo
        | gimli::SectionId::DebugMacro => empty.clone(),
        id => section(id).unwrap_or_else(|| empty.clone()),
    };
    gimli::Dwarf::load(|id| Ok::<_, gimli::Error>(load(id))).ok()
}
