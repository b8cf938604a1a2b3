//! The instructions of the kernel's functions: from its memory where it is the one that runs, or from
//! its file, `vmlinux`.

use std::borrow::Cow;
use std::path::Path;

use object::{Object, ObjectSection};
use prof_foreign_files::ForeignPath;
use prof_model::{BuildId, Dso, DsoKind, FunctionCode, Instruction, Reason, Symbol};

use crate::AsmSyntax;
use crate::caches;
use crate::disassemble::{Machine, Reference, disassemble};
use crate::elf::same_build_id;
use crate::elf_code::ElfCode;
use crate::files::FoundFile;
use crate::function_code::{LARGEST, NoCode, Sources};
use crate::kallsyms::{KernelSymbols, RunningKernel, running_kernel_build_id};
use crate::kcore;
use crate::names::Names;
use crate::symbolizer::Options;

/// Where the code of a recorded kernel is read.
#[derive(Debug, Default)]
pub(crate) struct KernelCode {
    vmlinux: Option<Result<Vmlinux, String>>,
}

/// The kernel's file.
#[derive(Debug)]
struct Vmlinux {
    code: ElfCode,
    moved_by: u64, // wrapping, from the recorded kernel's addresses to the file's
}

/// A kernel that was recorded, and the one that runs.
pub(crate) struct Recorded<'a> {
    pub(crate) options: &'a Options,
    pub(crate) running: &'a RunningKernel,
    pub(crate) dso: &'a Dso,
}

impl KernelCode {
    /// The instructions of a function of the kernel or of a module.
    ///
    /// The kernel changes its code while it starts, and when somebody traces it. Its memory has that,
    /// its file has not.
    pub(crate) fn function(
        &mut self,
        recorded: &Recorded<'_>,
        symbol: &Symbol,
        syntax: AsmSyntax,
        names: &mut Names,
    ) -> Result<FunctionCode, NoCode> {
        let is_module = recorded.dso.kind == DsoKind::KernelModule;
        let vmlinux = self.vmlinux.get_or_insert_with(|| recorded.vmlinux());
        let mut tried = Vec::new();
        if !recorded.is_file_given() || is_module {
            let file = vmlinux.as_mut().ok().filter(|_| !is_module);
            match recorded.function_in_memory(symbol, syntax, file, names) {
                Ok(code) => return Ok(code),
                Err(why) => tried.push(why),
            }
        }
        if !is_module {
            match vmlinux {
                Ok(vmlinux) => {
                    let symfs = recorded.options.symfs.as_deref();
                    return vmlinux.function(symbol, syntax, symfs, names);
                }
                Err(why) => tried.push(why.clone()),
            }
        }
        Err(NoCode::Kernel(tried))
    }
}

impl Recorded<'_> {
    fn build_id(&self) -> Option<BuildId> {
        let own = self
            .dso
            .build_id
            .filter(|_| self.dso.kind == DsoKind::Kernel);
        self.options.kernel_build_id.or(own)
    }

    /// Whether the user has named a kernel's file, not a copy of `/proc/kallsyms`.
    fn is_file_given(&self) -> bool {
        let given = self.options.kallsyms.as_deref();
        given.is_some_and(KernelSymbols::is_kernel_file)
    }

    /// The file of the recorded kernel.
    fn vmlinux(&self) -> Result<Vmlinux, String> {
        let file = match &self.options.kallsyms {
            Some(path) if self.is_file_given() => {
                let file = FoundFile::open(&ForeignPath::at(path));
                let file = file
                    .map_err(|refused| format!("{} cannot be read: {refused}", path.display()))?;
                let both = self.build_id().zip(file.build_id);
                if let Some((wanted, has)) =
                    both.filter(|&(wanted, has)| !same_build_id(wanted, has))
                {
                    return Err(format!(
                        "{} is of another kernel: its build-id is {has}, not {wanted}",
                        path.display()
                    ));
                }
                file
            }
            _ => {
                // Without a build-id, the caller knows that it is the release that runs.
                let wanted = self.build_id().or_else(running_kernel_build_id);
                let wanted =
                    wanted.ok_or("no build-id of the kernel is known to find a vmlinux by")?;
                let mut files = places(wanted, self.options).into_iter();
                files
                    .find_map(|place| {
                        let file = FoundFile::open(&place).ok()?;
                        file.build_id.filter(|&has| same_build_id(has, wanted))?;
                        has_code(&file).then_some(file)
                    })
                    .ok_or_else(|| format!("no vmlinux with build-id {wanted} was found"))?
            }
        };
        let moved_by = match &self.options.kernel_text {
            None => 0,
            Some(text) => {
                let symbols = KernelSymbols::of_file((*file.image).as_ref());
                let address = symbols.ok().and_then(|it| it.address(&text.reference));
                let address = address.ok_or_else(|| {
                    format!("{} has no symbol {}", file.path.display(), text.reference)
                })?;
                address.wrapping_sub(text.start)
            }
        };
        Ok(Vmlinux {
            code: ElfCode::load(file, self.dso, self.options.symfs.as_deref()),
            moved_by,
        })
    }

    /// By how much the kernel was moved since the recording, if it is the same one that runs now.
    fn moved_by(&self) -> Result<u64, String> {
        let is_same = |wanted| {
            running_kernel_build_id().is_some_and(|running| same_build_id(running, wanted))
        };
        match self.build_id() {
            Some(wanted) if !is_same(wanted) => {
                return Err(Reason::OtherKernel.describe().to_owned());
            }
            None if self.options.kallsyms.is_some() => {
                return Err("the recording does not tell whether it is of this kernel".to_owned());
            }
            _ => {}
        }
        let Some(text) = &self.options.kernel_text else {
            return Ok(0);
        };
        let symbols = self.running.symbols();
        let symbols = symbols.map_err(|reason| reason.describe().to_owned())?;
        let now = symbols.address(&text.reference);
        let now = now.ok_or_else(|| format!("this kernel tells no {}", text.reference))?;
        Ok(now.wrapping_sub(text.start))
    }

    /// The function as it is in the memory of the kernel that runs, with the source lines of its file.
    fn function_in_memory(
        &self,
        symbol: &Symbol,
        syntax: AsmSyntax,
        file: Option<&mut Vmlinux>,
        names: &mut Names,
    ) -> Result<FunctionCode, String> {
        let path = &self.options.kcore;
        let refused = |why: &str| format!("{}: {why}", path.display());
        let moved_by = self.moved_by().map_err(|why| refused(&why))?;
        let start = symbol.start.wrapping_add(moved_by);
        let symbols = self.running.symbols().ok();
        if self.dso.kind == DsoKind::KernelModule {
            // Modules come and go.
            let is_there = symbols.as_ref().is_some_and(|symbols| {
                let found = symbols.find(start).filter(|found| found.start == start);
                let has_name = |name: &str| name == &*symbol.raw;
                found.is_some_and(|found| has_name(&found.name))
                    || symbols.address(&symbol.raw) == Some(start)
            });
            if moved_by != 0 || !is_there {
                return Err(refused("the module is not where it was"));
            }
        }
        let len = usize::try_from(symbol.size.min(LARGEST)).unwrap_or(0);
        let bytes = kcore::read(path, start, len).map_err(|error| refused(&error.to_string()))?;
        let found = disassemble(OWN_MACHINE, &bytes, start, syntax);
        let mut sources = Sources::default();
        let mut vmlinux = file;
        let mut instructions = Vec::with_capacity(found.len());
        let mut at = 0;
        for found in found {
            let offset = symbol.start.wrapping_add(at as u64);
            let place = vmlinux.as_mut().and_then(|vmlinux| {
                let address = offset.wrapping_add(vmlinux.moved_by);
                vmlinux.code.place(address, &mut sources, names)
            });
            let target = found.refers_to.map(Reference::address);
            let target =
                target.and_then(|target| name_of(target, symbol, start, symbols.as_deref()));
            instructions.push(Instruction {
                offset,
                address: found.address,
                bytes: bytes[at..at + found.len].into(),
                text: found.with_name(target.as_deref()),
                place,
            });
            at += found.len;
        }
        let built = vmlinux.and_then(|vmlinux| vmlinux.code.built());
        Ok(FunctionCode {
            file: path.display().to_string(),
            section: None,
            instructions,
            sources: sources.read(built, self.options.symfs.as_deref()),
        })
    }
}

impl Vmlinux {
    fn function(
        &mut self,
        symbol: &Symbol,
        syntax: AsmSyntax,
        symfs: Option<&Path>,
        names: &mut Names,
    ) -> Result<FunctionCode, NoCode> {
        let address = symbol.start.wrapping_add(self.moved_by);
        let start = self.code.map().offset(address).ok_or(NoCode::NoBytes)?;
        let in_file = Symbol {
            start,
            ..symbol.clone()
        };
        let mut code = self.code.function_code(&in_file, syntax, symfs, names)?;
        for instruction in &mut code.instructions {
            instruction.offset = instruction.offset - start + symbol.start;
        }
        Ok(code)
    }
}

/// Whether it is more than a file of debug info.
fn has_code(file: &FoundFile) -> bool {
    let object = object::File::parse((*file.image).as_ref()).ok();
    let text = object.as_ref().and_then(|it| it.section_by_name(".text"));
    text.is_some_and(|text| text.file_range().is_some())
}

/// `schedule+0x10`
fn name_of(
    target: u64,
    function: &Symbol,
    start: u64,
    symbols: Option<&KernelSymbols>,
) -> Option<String> {
    let inside = target.checked_sub(start).filter(|&it| it < function.size);
    let (name, offset) = match inside {
        Some(offset) => (Cow::Borrowed(&*function.raw), offset),
        None => {
            let found = symbols?.find(target)?;
            (found.name, target - found.start)
        }
    };
    Some(match offset {
        0 => name.into_owned(),
        offset => format!("{name}+{offset:#x}"),
    })
}

/// Where distributions, perf and debuginfod put a kernel's file.
fn places(build_id: BuildId, options: &Options) -> Vec<ForeignPath> {
    let root = options.symfs.as_deref().unwrap_or(Path::new("/"));
    let release = options.kernel_release.as_deref();
    let installed = release.into_iter().flat_map(|release| {
        [
            format!("boot/vmlinux-{release}"),
            format!("usr/lib/debug/boot/vmlinux-{release}"),
            format!("lib/modules/{release}/build/vmlinux"),
            format!("usr/lib/debug/lib/modules/{release}/vmlinux"),
            format!("usr/lib/debug/boot/vmlinux-{release}.debug"),
        ]
    });
    let by_id = format!("usr/lib/debug/.build-id/{}.debug", caches::split(build_id));
    let installed = installed.chain([by_id]);
    let installed = installed.map(|path| ForeignPath::below(root, Path::new(&path)));
    let cached = caches::kernel_files(build_id).into_iter();
    installed
        .chain(cached.map(|path| ForeignPath::at(&path)))
        .collect()
}

/// The machine that runs.
const OWN_MACHINE: Machine = if cfg!(target_arch = "aarch64") {
    Machine::Aarch64
} else {
    Machine::X86 { bits: 64 }
};
