//! Builds `workload.c`, runs it, and reads what it wrote about itself.
#![allow(dead_code)] // each test file and the bench use a part

#[path = "emulator.rs"]
pub(crate) mod emulator;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol};
use prof_model::{AddressSpace, ChainEnd, Dso, DsoId, DsoKind, DsoTable, Mapping, VirtAddr};
use prof_unwinder::{
    Arch, Bytes, Images, LiveMemory, Process, Regs, StackCopy, StackMemory, Unwinder, UserState,
};

pub(crate) const NO_FRAME_POINTER: &[&str] = &["-O2", "-fomit-frame-pointer"];
pub(crate) const FRAME_POINTER: &[&str] = &["-O2", "-fno-omit-frame-pointer"];
/// Room for the whole stack of the workload.
pub(crate) const WHOLE: usize = 60_000;

/// `None`, and says so, where there is no C compiler; panics in CI.
pub(crate) fn build(dir: &Path, flags: &[&str]) -> Option<PathBuf> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/workload.c");
    let program = dir.join("workload");
    let run = Command::new("gcc")
        .args(["-std=gnu11", "-pthread", "-o"])
        .arg(&program)
        .args(flags)
        .arg(source)
        .output();
    match run {
        Ok(output) if output.status.success() => Some(program),
        Ok(output) => panic!("gcc: {}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => {
            assert!(std::env::var("CI").is_err(), "gcc is missing");
            println!("skipped: no gcc");
            None
        }
    }
}

/// What a program is when it is built and run: mappings, files, and the moments it wrote down.
pub(crate) struct Recorded {
    pub(crate) space: AddressSpace,
    pub(crate) dsos: DsoTable,
    pub(crate) files: HashMap<DsoId, Arc<Vec<u8>>>,
    pub(crate) samples: Vec<Sample>,
    symbols: HashMap<DsoId, Vec<(u64, u64, String)>>,
    _dir: tempfile::TempDir,
}

#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) regs: Regs,
    pub(crate) is_inside_handler: bool,
    pub(crate) stack: Vec<u8>,
    pub(crate) is_cut: bool,
    pub(crate) kernel_chain: Vec<u64>,
}

impl Sample {
    pub(crate) fn ip(&self) -> u64 {
        self.regs.ip().unwrap()
    }

    pub(crate) fn sp(&self) -> u64 {
        self.regs.sp().unwrap()
    }

    pub(crate) fn copy(&self) -> StackCopy<'_> {
        StackCopy::new(
            VirtAddr(self.regs.sp().unwrap_or(0)),
            &self.stack,
            self.is_cut,
        )
    }

    pub(crate) fn word(&self, addr: u64) -> Option<u64> {
        self.copy().read_u64(VirtAddr(addr))
    }
}

impl Images for Recorded {
    fn image(&mut self, dso: DsoId) -> Option<Bytes> {
        let file = Arc::clone(self.files.get(&dso)?);
        Some(file)
    }

    fn debug_image(&mut self, _dso: DsoId) -> Option<Bytes> {
        None
    }
}

/// Builds with `flags` and runs in `mode`, copying up to `copy` bytes of stack.
pub(crate) fn record(flags: &[&str], mode: &str, copy: usize) -> Option<Recorded> {
    record_changed(flags, mode, copy, |_| {})
}

/// As [`record`], with a change to the program's file before it runs.
pub(crate) fn record_changed(
    flags: &[&str],
    mode: &str,
    copy: usize,
    change: impl FnOnce(&Path),
) -> Option<Recorded> {
    let dir = tempfile::tempdir().unwrap();
    let program = build(dir.path(), flags)?;
    change(&program);
    let status = Command::new(&program)
        .arg(dir.path())
        .args([mode, &copy.to_string()])
        .env_clear() // a small stack
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    Some(Recorded::read(dir, copy))
}

/// Builds a program of the corpus that samples itself, with a C compiler for the part that does and the
/// command that `link` makes of that part, the corpus' folder and the program's path; and runs it.
/// `None`, and says so, where a tool is missing.
pub(crate) fn sample(
    cc: &str,
    link: impl FnOnce(&Path, &Path, &Path) -> Command,
) -> Option<Recorded> {
    let dir = tempfile::tempdir().unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/sampler.c");
    let corpus = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/targets"));
    let (object, program) = (dir.path().join("sampler.o"), dir.path().join("program"));
    let mut compile = Command::new(cc);
    compile
        .args(["-std=gnu11", "-O2", "-c", source, "-o"])
        .arg(&object);
    for mut step in [compile, link(&object, corpus, &program)] {
        match step.output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => panic!("{step:?}: {}", String::from_utf8_lossy(&output.stderr)),
            Err(_) => {
                assert!(std::env::var("CI").is_err(), "missing: {step:?}");
                println!("skipped: no {}", step.get_program().display());
                return None;
            }
        }
    }
    let mut run = Command::new(&program);
    run.arg("200").env_clear().env("SAMPLES", dir.path());
    let status = run.env("COPY", WHOLE.to_string()).status().unwrap();
    assert!(status.success(), "{status}");
    Some(Recorded::read(dir, WHOLE))
}

impl Recorded {
    fn read(dir: tempfile::TempDir, copy: usize) -> Self {
        let samples = read_samples(&fs::read(dir.path().join("samples")).unwrap(), copy);
        let maps = fs::read_to_string(dir.path().join("maps")).unwrap();
        Self::new(dir, &maps, samples)
    }

    /// Samples of a program with these mappings.
    pub(crate) fn new(dir: tempfile::TempDir, maps: &str, samples: Vec<Sample>) -> Self {
        let mut recorded = Self {
            space: AddressSpace::default(),
            dsos: DsoTable::default(),
            files: HashMap::new(),
            samples,
            symbols: HashMap::new(),
            _dir: dir,
        };
        let dir = recorded._dir.path().to_owned();
        for line in maps.lines() {
            recorded.add_mapping(line, &dir);
        }
        recorded
    }

    fn add_mapping(&mut self, line: &str, dir: &Path) {
        let fields: Vec<_> = line.split_whitespace().collect();
        let path = fields.get(5).copied().unwrap_or("//anon");
        let (start, end) = fields[0].split_once('-').unwrap();
        let hex = |text| u64::from_str_radix(text, 16).unwrap();
        let kind = match path {
            "[vdso]" => DsoKind::Vdso,
            path if path.starts_with('/') && path != "//anon" => DsoKind::File,
            _ => DsoKind::Memory,
        };
        let dso = self.dsos.intern(Dso {
            path: path.into(),
            kind,
            file: None,
            build_id: None,
        });
        let file = match kind {
            DsoKind::Vdso => fs::read(dir.join("vdso")).ok(),
            DsoKind::File => fs::read(path).ok(),
            _ => None,
        };
        if let Some(file) = file {
            self.symbols.entry(dso).or_insert_with(|| symbols(&file));
            self.files.entry(dso).or_insert_with(|| Arc::new(file));
        }
        self.space.insert(Mapping {
            start: hex(start),
            end: hex(end),
            dso_start: match kind.is_file_relative() {
                true => hex(fields[2]),
                false => hex(start),
            },
            dso,
            executable: fields[1].contains('x'),
        });
    }

    /// Unwinds one sample with everything it has.
    pub(crate) fn unwind(&mut self, unwinder: &mut Unwinder, index: usize) -> (Vec<u64>, ChainEnd) {
        let samples = std::mem::take(&mut self.samples);
        let result = self.unwind_sample(unwinder, &samples[index], 1000);
        self.samples = samples;
        result
    }

    pub(crate) fn unwind_sample(
        &mut self,
        unwinder: &mut Unwinder,
        sample: &Sample,
        max_frames: usize,
    ) -> (Vec<u64>, ChainEnd) {
        self.unwind_live(unwinder, sample, max_frames, None)
    }

    /// With what lies in the process's memory now.
    pub(crate) fn unwind_live(
        &mut self,
        unwinder: &mut Unwinder,
        sample: &Sample,
        max_frames: usize,
        live: Option<&mut dyn LiveMemory>,
    ) -> (Vec<u64>, ChainEnd) {
        let mut out = Vec::new();
        let space = self.space.clone();
        let process = Process {
            space: &space,
            images: self,
            live: live.map(|live| live as &mut dyn LiveMemory),
        };
        let state = UserState {
            regs: &sample.regs,
            stack: &sample.copy(),
            kernel_chain: &sample.kernel_chain,
        };
        let end = unwinder.unwind(process, state, max_frames, &mut out);
        (out.iter().map(|addr| addr.0).collect(), end)
    }

    /// The file bytes from an address on.
    pub(crate) fn code(&self, addr: u64) -> &[u8] {
        let mapping = self.space.find(VirtAddr(addr)).unwrap();
        let offset = mapping.dso_addr(VirtAddr(addr)).0 as usize;
        &self.files[&mapping.dso][offset..]
    }

    /// The function at an address by the program's symbol table; `libc`'s and others' files mostly
    /// have none, so that they are named by their file.
    pub(crate) fn name(&self, addr: u64) -> String {
        let Some(mapping) = self.space.find(VirtAddr(addr)) else {
            return format!("{addr:#x}");
        };
        let offset = mapping.dso_addr(VirtAddr(addr)).0;
        let symbols = self.symbols.get(&mapping.dso);
        let found = symbols.and_then(|symbols| {
            let after = symbols.partition_point(|symbol| symbol.0 <= offset);
            symbols[..after].last().filter(|symbol| offset < symbol.1)
        });
        match found {
            Some(symbol) => symbol.2.clone(),
            None => self.dsos.get(mapping.dso).short_name(),
        }
    }

    pub(crate) fn names(&self, chain: &[u64]) -> Vec<String> {
        chain.iter().map(|&addr| self.name(addr)).collect()
    }
}

/// Functions as (first file offset, behind the last, name).
fn symbols(file: &[u8]) -> Vec<(u64, u64, String)> {
    let Ok(object) = object::File::parse(file) else {
        return Vec::new();
    };
    let mut segments = Vec::new();
    for segment in object.segments() {
        segments.push((segment.address(), segment.file_range()));
    }
    let offset = |addr: u64| {
        let (start, (offset, _)) = segments
            .iter()
            .find(|(start, (_, size))| (*start..start + size).contains(&addr))?;
        Some(addr - start + offset)
    };
    let mut symbols: Vec<_> = object
        .symbols()
        .filter(|symbol| symbol.kind() == object::SymbolKind::Text && symbol.is_definition())
        .filter_map(|symbol| {
            let start = offset(symbol.address())?;
            let name = symbol.name().ok()?.to_owned();
            Some((start, start + symbol.size().max(1), name))
        })
        .collect();
    symbols.sort();
    symbols
}

fn read_samples(mut bytes: &[u8], copy: usize) -> Vec<Sample> {
    let mut samples = Vec::new();
    while !bytes.is_empty() {
        let mut word = || {
            let (word, rest) = bytes.split_first_chunk().unwrap();
            bytes = rest;
            u64::from_le_bytes(*word)
        };
        let mut regs = Regs::new(Arch::X86_64);
        for dwarf in 0..17 {
            regs.set(dwarf, word());
        }
        let is_inside_handler = word() == 1;
        let (size, frames) = (word() as usize, word() as usize);
        let (stack, rest) = bytes.split_at(size);
        let (chain, rest) = rest.split_at(8 * frames);
        bytes = rest;
        samples.push(Sample {
            regs,
            is_inside_handler,
            stack: stack.into(),
            is_cut: size == copy,
            kernel_chain: chain
                .chunks_exact(8)
                .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
                .collect(),
        });
    }
    samples
}

/// framehop for aarch64, fed with the same files.
pub(crate) struct FramehopAarch64 {
    unwinder: framehop::aarch64::UnwinderAarch64<Vec<u8>>,
    cache: framehop::aarch64::CacheAarch64,
}

impl FramehopAarch64 {
    pub(crate) fn new(recorded: &Recorded) -> Self {
        use framehop::Unwinder as _;
        let mut unwinder = framehop::aarch64::UnwinderAarch64::new();
        for (&dso, file) in &recorded.files {
            if let Some(module) = framehop_module(recorded, dso, file) {
                unwinder.add_module(module);
            }
        }
        Self {
            unwinder,
            cache: framehop::aarch64::CacheAarch64::new(),
        }
    }

    /// The call sites, and whether it believes to have reached the root.
    pub(crate) fn unwind(&mut self, sample: &Sample, out: &mut Vec<u64>) -> bool {
        use framehop::Unwinder as _;
        let [fp, lr] = [29, 30].map(|register| sample.regs.get(register).unwrap());
        let mask = framehop::aarch64::PtrAuthMask::from_max_known_address(1 << 47);
        let regs =
            framehop::aarch64::UnwindRegsAarch64::new_with_ptr_auth_mask(mask, lr, sample.sp(), fp);
        let mut read = |addr| sample.word(addr).ok_or(());
        let cache = &mut self.cache;
        let mut frames = self
            .unwinder
            .iter_frames(sample.ip(), regs, cache, &mut read);
        collect(out, || {
            frames
                .next()
                .map(|frame| frame.map(|frame| frame.address_for_lookup()))
        })
    }
}

/// Collects the call sites, and says whether there is an end to them.
fn collect<E>(out: &mut Vec<u64>, mut next: impl FnMut() -> Result<Option<u64>, E>) -> bool {
    out.clear();
    loop {
        match next() {
            Ok(Some(site)) => out.push(site),
            Ok(None) => return true,
            Err(_) => return false,
        }
        if out.len() > 1000 {
            return false;
        }
    }
}

/// framehop, fed with the same files.
pub(crate) struct Framehop {
    unwinder: framehop::x86_64::UnwinderX86_64<Vec<u8>>,
    cache: framehop::x86_64::CacheX86_64,
}

impl Framehop {
    pub(crate) fn new(recorded: &Recorded) -> Self {
        use framehop::Unwinder as _;
        let mut unwinder = framehop::x86_64::UnwinderX86_64::new();
        for (&dso, file) in &recorded.files {
            let Some(module) = framehop_module(recorded, dso, file) else {
                continue;
            };
            unwinder.add_module(module);
        }
        Self {
            unwinder,
            cache: framehop::x86_64::CacheX86_64::new(),
        }
    }

    /// The call sites, and whether it believes to have reached the root.
    pub(crate) fn unwind(&mut self, sample: &Sample, out: &mut Vec<u64>) -> bool {
        use framehop::Unwinder as _;
        let bp = sample.regs.get(6).unwrap();
        let regs = framehop::x86_64::UnwindRegsX86_64::new(sample.ip(), sample.sp(), bp);
        let mut read = |addr| sample.word(addr).ok_or(());
        let mut frames = self
            .unwinder
            .iter_frames(sample.ip(), regs, &mut self.cache, &mut read);
        collect(out, || {
            frames
                .next()
                .map(|frame| frame.map(|frame| frame.address_for_lookup()))
        })
    }
}

fn framehop_module(
    recorded: &Recorded,
    dso: DsoId,
    file: &[u8],
) -> Option<framehop::Module<Vec<u8>>> {
    let object = object::File::parse(file).ok()?;
    let of_dso = recorded.space.iter().filter(|mapping| mapping.dso == dso);
    let mappings: Vec<_> = of_dso.collect();
    let (first, end) = (mappings.first()?, mappings.last()?.end);
    let lowest = object.segments().map(|segment| segment.address()).min()? & !0xfff;
    let section = |name| object.section_by_name(name);
    let range = |name| section(name).map(|s| s.address()..s.address() + s.size());
    let data = |name| section(name).and_then(|s| Some(s.uncompressed_data().ok()?.into_owned()));
    Some(framehop::Module::new(
        recorded.dsos.get(dso).short_name(),
        first.start..end,
        first.start,
        framehop::ExplicitModuleSectionInfo {
            base_svma: lowest,
            text_svma: range(".text"),
            text: data(".text"),
            got_svma: range(".got"),
            eh_frame_svma: range(".eh_frame"),
            eh_frame: data(".eh_frame"),
            eh_frame_hdr_svma: range(".eh_frame_hdr"),
            eh_frame_hdr: data(".eh_frame_hdr"),
            debug_frame: data(".debug_frame"),
            ..Default::default()
        },
    ))
}
