//! The instructions of a function, from the file that was mapped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use object::{Architecture, Object, ObjectSection, ObjectSymbol};
use prof_foreign_files::ForeignPath;
use prof_model::{CodePlace, Dso, DsoKind, FunctionCode, Instruction, Reason, SourceText, Symbol};
use rustc_hash::FxHashMap;

use crate::disassemble::{Disassembled, Machine, Reference, disassemble};
use crate::elf_code::ElfCode;
use crate::jit_dump::JitCode;
use crate::names::Names;
use crate::{AsmSyntax, source_text};

/// Why a function's instructions cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCode {
    /// The file that ran is not to be had.
    #[error("{}", .0.describe())]
    File(Reason),
    /// The kernel's code is not to be had; where it was looked for, and why it is not there.
    #[error("the kernel's code is not to be had: {}", .0.join("; "))]
    Kernel(Vec<String>),
    /// A BPF program.
    #[error("the kernel has made the code of a BPF program, and does not tell it as it ran")]
    KernelProgram,
    /// Generated code was in memory only.
    #[error("generated code was in the memory of its process only, and is gone with it")]
    Generated,
    /// The file has no bytes there, or too many for a function.
    #[error("the file has no code of a function's size there")]
    NoBytes,
    /// Code for another machine than those that are known.
    #[error("no disassembler for {0}")]
    Machine(String),
}

/// ELF's numbers for machines.
const EM_X86_64: u32 = 62;
const EM_AARCH64: u32 = 183;

/// The largest function that is taken for one, bytes.
pub(crate) const LARGEST: u64 = 4 << 20;

impl NoCode {
    /// For what is neither a file nor the kernel.
    pub(crate) fn of_kind(kind: DsoKind) -> Option<Self> {
        match kind {
            DsoKind::File | DsoKind::Vdso | DsoKind::Kernel | DsoKind::KernelModule => None,
            DsoKind::Jit(_) | DsoKind::Memory => Some(Self::Generated),
            DsoKind::KernelSymbol => Some(Self::KernelProgram),
        }
    }
}

impl ElfCode {
    /// The instructions of a function of this file, with the names of what they refer to, and where
    /// in the source they come from.
    pub(crate) fn function_code(
        &mut self,
        symbol: &Symbol,
        syntax: AsmSyntax,
        symfs: Option<&Path>,
        names: &mut Names,
    ) -> Result<FunctionCode, NoCode> {
        let image = Arc::clone(&self.file().image);
        let all: &[u8] = (*image).as_ref();
        let bytes = (symbol.size <= LARGEST)
            .then(|| {
                let end = symbol.start.checked_add(symbol.size)?;
                all.get(usize::try_from(symbol.start).ok()?..usize::try_from(end).ok()?)
            })
            .flatten()
            .filter(|bytes| !bytes.is_empty())
            .ok_or(NoCode::NoBytes)?;
        let object = object::File::parse(all).map_err(|_| NoCode::NoBytes)?;
        let machine = match object.architecture() {
            Architecture::X86_64 | Architecture::X86_64_X32 => Machine::X86 { bits: 64 },
            Architecture::I386 => Machine::X86 { bits: 32 },
            Architecture::Aarch64 => Machine::Aarch64,
            other => return Err(NoCode::Machine(format!("{other:?}"))),
        };
        let address = self.map().address(symbol.start).ok_or(NoCode::NoBytes)?;
        let found = disassemble(machine, bytes, address, syntax);
        let targets = found.iter().filter_map(|it| it.refers_to);
        let targets = targets.filter_map(|target| self.map().offset(target.address()));
        let targets: Vec<u64> = targets.collect();
        self.prepare(targets.into_iter());
        let zeros = self.unstored(&object, &found);

        let mut sources = Sources::default();
        let mut instructions = Vec::with_capacity(found.len());
        let mut at = 0;
        for instruction in found {
            let place = self.place(instruction.address, &mut sources, names);
            instructions.push(Instruction {
                offset: symbol.start + at as u64,
                address: instruction.address,
                bytes: bytes[at..at + instruction.len].into(),
                place,
                text: self.with_name(&instruction, (symbol, address), &zeros, names),
            });
            at += instruction.len;
        }
        let mut sections = object.sections();
        let section = sections.find(|section| {
            let start = section.address();
            (start..start.saturating_add(section.size())).contains(&address)
        });
        Ok(FunctionCode {
            file: self.file().path.display().to_string(),
            section: section.and_then(|section| section.name().ok().map(str::to_owned)),
            instructions,
            sources: sources.read(self.built(), symfs),
        })
    }

    /// When the file was written.
    pub(crate) fn built(&self) -> Option<SystemTime> {
        let metadata = ForeignPath::at(&self.file().path).metadata().ok()?;
        metadata.modified().ok()
    }

    /// Where in the source the instruction at an address of the file comes from.
    pub(crate) fn place(
        &mut self,
        address: u64,
        sources: &mut Sources,
        names: &mut Names,
    ) -> Option<CodePlace> {
        let frames = self.frames(address, names);
        let innermost = frames.into_iter().next()?;
        let location = innermost.location?;
        Some(CodePlace {
            function: match innermost.name {
                Some(raw) => names.demangled(&raw),
                None => names.plain("[inlined]"),
            },
            source: sources.index(&location.file),
            line: location.line,
        })
    }

    /// Names of data that start as zeros, which no part of the file holds.
    fn unstored(&self, object: &object::File<'_>, found: &[Disassembled]) -> BTreeMap<u64, String> {
        let targets = found.iter().filter_map(|it| it.refers_to);
        let targets = targets.map(Reference::address);
        let targets: BTreeSet<u64> = targets
            .filter(|&target| self.map().offset(target).is_none())
            .collect();
        let mut names = BTreeMap::new();
        if targets.is_empty() {
            return names;
        }
        for symbol in object.symbols().filter(|symbol| !symbol.is_undefined()) {
            let (start, size) = (symbol.address(), symbol.size().max(1));
            let Ok(name) = symbol.name() else {
                continue;
            };
            if name.is_empty() {
                continue;
            }
            for &target in targets.range(start..start.saturating_add(size)) {
                let offset = target - start;
                let name = match offset {
                    0 => name.to_owned(),
                    offset => format!("{name}+{offset:#x}"),
                };
                names.entry(target).or_insert(name);
            }
        }
        names
    }

    /// `1190 <hot_leaf+0x10>`, `0x2ea1(%rip),%rax        # 4028 <burnt>`
    fn with_name(
        &self,
        instruction: &Disassembled,
        (function, start): (&Symbol, u64),
        zeros: &BTreeMap<u64, String>,
        names: &mut Names,
    ) -> String {
        let Some(reference) = instruction.refers_to else {
            return instruction.text.clone();
        };
        let target = reference.address();
        let inside = target.checked_sub(start).filter(|&it| it < function.size);
        let name = match inside {
            Some(offset) => Some((Arc::clone(&function.raw), offset)),
            None => self.map().offset(target).and_then(|offset| {
                let symbol = self.table_symbol(offset, names)?;
                Some((symbol.raw, offset - symbol.start))
            }),
        };
        let name = match name {
            None => zeros.get(&target).cloned(),
            Some((name, 0)) => Some(name.to_string()),
            Some((name, offset)) => Some(format!("{name}+{offset:#x}")),
        };
        instruction.with_name(name.as_deref())
    }
}

impl JitCode {
    /// As [`ElfCode::function_code`], of generated code that its dump has.
    pub(crate) fn function_code(
        &self,
        symbol: &Symbol,
        syntax: AsmSyntax,
        dso: &Dso,
    ) -> Result<FunctionCode, NoCode> {
        let (bytes, start, machine) = self.bytes_of(symbol.start).ok_or(NoCode::NoBytes)?;
        let machine = match machine {
            EM_X86_64 => Machine::X86 { bits: 64 },
            EM_AARCH64 => Machine::Aarch64,
            other => return Err(NoCode::Machine(format!("machine {other} of ELF"))),
        };
        if bytes.len() as u64 > LARGEST {
            return Err(NoCode::NoBytes);
        }
        let mut at = 0;
        let found = disassemble(machine, bytes, start, syntax).into_iter();
        let instructions = found.map(|found| {
            let target = found.refers_to.map(Reference::address);
            let inside = target.and_then(|target| target.checked_sub(start));
            let name = match inside.filter(|&it| it < bytes.len() as u64) {
                Some(0) => format!(" <{}>", symbol.raw),
                Some(offset) => format!(" <{}+{offset:#x}>", symbol.raw),
                None => String::new(),
            };
            let instruction = Instruction {
                offset: symbol.start + at as u64,
                address: found.address,
                bytes: bytes[at..at + found.len].into(),
                text: found.text + &name,
                place: None,
            };
            at += found.len;
            instruction
        });
        Ok(FunctionCode {
            file: dso.long_name().into_owned(),
            section: None,
            instructions: instructions.collect(),
            sources: Vec::new(),
        })
    }
}

/// The source files so far, each once.
#[derive(Default)]
pub(crate) struct Sources {
    paths: Vec<Arc<str>>,
    indices: FxHashMap<Arc<str>, usize>,
}

impl Sources {
    fn index(&mut self, path: &Arc<str>) -> usize {
        let next = self.paths.len();
        let index = *self.indices.entry(Arc::clone(path)).or_insert(next);
        if index == next {
            self.paths.push(Arc::clone(path));
        }
        index
    }

    /// Their lines. `built` is when the program was written.
    pub(crate) fn read(&self, built: Option<SystemTime>, symfs: Option<&Path>) -> Vec<SourceText> {
        let paths = self.paths.iter();
        paths
            .map(|path| source_text::read(path, built, symfs))
            .collect()
    }
}
