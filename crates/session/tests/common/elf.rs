//! A file with code and names, as small as a linker would make none.

use std::path::Path;

use prof_model::{BuildId, CpuMode, Pid};
use prof_perfdata::StoredBuildId;

/// The build-id of those that have one.
pub(crate) const BUILD_ID: [u8; 20] = [7; 20];

const HEADER: usize = 64;
const SEGMENT: usize = 56;
const SECTION: usize = 64;
const NOTE: usize = 36;
const X86_64: u16 = 62;

/// An x86-64 program of one segment.
#[derive(Default)]
pub(crate) struct Elf {
    base: u64, // where its first byte is loaded
    has_build_id: bool,
    code: Vec<u8>,
    symbols: Vec<(String, u64, u64)>, // offset and bytes
}

impl Elf {
    /// Offset of the first function in the file.
    pub(crate) const CODE: u64 = 0x100;

    /// With [`BUILD_ID`].
    pub(crate) fn with_build_id() -> Self {
        Self {
            has_build_id: true,
            ..Self::default()
        }
    }

    /// Loaded at an address.
    pub(crate) fn at(base: u64) -> Self {
        Self {
            base,
            ..Self::default()
        }
    }

    /// Offset in the file of what will be added next.
    pub(crate) fn next(&self) -> u64 {
        Self::CODE + self.code.len() as u64
    }

    /// Adds a function, behind the others. Returns its offset in the file.
    pub(crate) fn function(&mut self, name: &str, code: &[u8]) -> u64 {
        let at = self.next();
        self.symbols.push((name.to_owned(), at, code.len() as u64));
        self.code.extend(code);
        at
    }

    pub(crate) fn build_id() -> Option<BuildId> {
        BuildId::new(&BUILD_ID)
    }

    pub(crate) fn save(&self, path: &Path) {
        std::fs::write(path, self.bytes()).expect("a file");
    }

    /// Header, segment, build-id, code, symbols and their names, sections.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut names = vec![0];
        let mut symbols = vec![0; 24]; // the first one is none
        for (name, at, size) in &self.symbols {
            symbols.extend((names.len() as u32).to_le_bytes());
            symbols.extend([0x12, 0, 1, 0]); // a global function in section 1
            symbols.extend((self.base + at).to_le_bytes());
            symbols.extend(size.to_le_bytes());
            names.extend(name.as_bytes());
            names.push(0);
        }
        let section_names = b"\0.text\0.symtab\0.strtab\0.note.gnu.build-id\0";
        names.extend(section_names);
        let named = |name: &str| {
            let name = format!("\0{name}\0");
            let mut windows = names.windows(name.len());
            windows.position(|it| it == name.as_bytes()).unwrap_or(0) as u32 + 1
        };
        let code = Self::CODE as usize;
        let symbols_at = (code + self.code.len()).next_multiple_of(8);
        let names_at = symbols_at + symbols.len();
        let sections_at = (names_at + names.len()).next_multiple_of(8);
        let note_at = HEADER + SEGMENT;
        let note = if self.has_build_id { NOTE } else { 0 };

        let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
        bytes.resize(16, 0);
        bytes.extend([3_u16, X86_64].iter().flat_map(|it| it.to_le_bytes()));
        bytes.extend(1_u32.to_le_bytes());
        for word in [0, HEADER as u64, sections_at as u64] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(0_u32.to_le_bytes());
        for half in [HEADER, SEGMENT, 1, SECTION, 5, 3] {
            bytes.extend((half as u16).to_le_bytes());
        }
        bytes.extend([1_u32, 5].iter().flat_map(|it| it.to_le_bytes())); // loaded, may run
        let end = symbols_at as u64;
        for word in [0, self.base, self.base, end, end, 0x1000] {
            bytes.extend(word.to_le_bytes());
        }
        if self.has_build_id {
            for word in [4_u32, 20, 3] {
                bytes.extend(word.to_le_bytes());
            }
            bytes.extend(b"GNU\0");
            bytes.extend(BUILD_ID);
        }
        bytes.resize(code, 0);
        bytes.extend(&self.code);
        bytes.resize(symbols_at, 0);
        bytes.extend(&symbols);
        bytes.extend(&names);
        bytes.resize(sections_at, 0);
        let mut section = |name: u32, kind: u32, flags: u64, at: usize, size: usize, link: u32| {
            bytes.extend([name, kind].iter().flat_map(|it| it.to_le_bytes()));
            let addr = if flags == 0 { 0 } else { self.base + at as u64 };
            for word in [flags, addr, at as u64, size as u64] {
                bytes.extend(word.to_le_bytes());
            }
            let first_global = u32::from(kind == 2);
            bytes.extend([link, first_global].iter().flat_map(|it| it.to_le_bytes()));
            let entry = if kind == 2 { 24_u64 } else { 0 };
            bytes.extend([8, entry].iter().flat_map(|it| it.to_le_bytes()));
        };
        section(0, 0, 0, 0, 0, 0);
        section(named(".text"), 1, 6, code, self.code.len(), 0);
        section(named(".symtab"), 2, 0, symbols_at, symbols.len(), 3);
        section(named(".strtab"), 3, 0, names_at, names.len(), 0);
        section(named(".note.gnu.build-id"), 7, 2, note_at, note, 0);
        bytes
    }
}

/// What perf notes of a file with [`BUILD_ID`].
pub(crate) fn stored_build_id(path: &Path) -> StoredBuildId {
    StoredBuildId {
        mode: CpuMode::User,
        pid: Pid(-1),
        build_id: Elf::build_id().expect("20 bytes"),
        path: path.as_os_str().as_encoded_bytes().to_vec(),
    }
}
