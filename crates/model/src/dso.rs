use rustc_hash::FxHashMap;

use crate::{BuildId, Pid};

/// Index of a DSO in its [`DsoTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DsoId(pub u32);

/// Which file was mapped, whatever its name is by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// Device, major number.
    pub major: u32,
    /// Device, minor number.
    pub minor: u32,
    /// Inode.
    pub inode: u64,
    /// Inode generation, of 32 bits; 0 where it came from `/proc`. Above them the recorder counts how often the
    /// file was written over while it was recorded, which the inode does not tell.
    pub generation: u64,
}

impl FileId {
    const INODE_GENERATION: u64 = 0xffff_ffff;

    /// The same file after it was written over so many times.
    pub fn written_over(self, times: u32) -> Self {
        let generation = self.generation & Self::INODE_GENERATION;
        Self {
            generation: u64::from(times) << 32 | generation,
            ..self
        }
    }

    /// Without the inode's generation, which not all know.
    pub fn without_generation(self) -> Self {
        Self {
            generation: self.generation & !Self::INODE_GENERATION,
            ..self
        }
    }

    /// Whether both are one file with one content, as far as is known.
    pub fn is_same(self, other: Self) -> bool {
        let [one, two] = [self, other].map(|id| id.generation & Self::INODE_GENERATION);
        self.without_generation() == other.without_generation()
            && (one == two || one == 0 || two == 0)
    }
}

/// What sort of code a DSO holds. Decides how its addresses are numbered, see [`crate::DsoAddr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DsoKind {
    /// The kernel's own text.
    Kernel,
    /// A kernel module.
    KernelModule,
    /// A BPF program, or other kernel text that came and went, named by a KSYMBOL record.
    KernelSymbol,
    /// The code that the kernel maps into every process.
    Vdso,
    /// A file.
    File,
    /// Executable memory without a file: generated code of this process.
    Jit(Pid),
    /// Other memory without a file: heap, stack, data.
    Memory,
}

impl DsoKind {
    /// Whether addresses in it are offsets in a file rather than virtual addresses.
    pub fn is_file_relative(self) -> bool {
        matches!(self, Self::File | Self::Vdso)
    }

    /// Whether it is kernel code.
    pub fn is_kernel(self) -> bool {
        matches!(self, Self::Kernel | Self::KernelModule | Self::KernelSymbol)
    }
}

/// Something that can be mapped: a file, the kernel, the vDSO, JIT memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dso {
    /// The path as the mapping process saw it, or perf's word for it (`[vdso]`,
    /// `[kernel.kallsyms]`, `/tmp/perf-PID.map`). Any bytes.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: DsoKind,
    /// Device and inode, where a record said so.
    pub file: Option<FileId>,
    /// Its build-id, where a record or a feature section said so.
    pub build_id: Option<BuildId>,
}

impl Dso {
    /// The code that a process generates.
    pub fn generated(pid: Pid) -> Self {
        Self {
            path: format!("/tmp/perf-{pid}.map").into_bytes(),
            kind: DsoKind::Jit(pid),
            file: None,
            build_id: None,
        }
    }

    /// The path for printing.
    pub fn long_name(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.path)
    }

    /// Whose generated code it describes, if it has the name of a jitdump: `jit-PID.dump`, wherever it
    /// lies.
    pub fn jitdump(&self) -> Option<Pid> {
        let path = self.path.strip_suffix(b" (deleted)").unwrap_or(&self.path);
        let name = path.rsplit(|&byte| byte == b'/').next()?;
        let pid = name.strip_prefix(b"jit-")?.strip_suffix(b".dump")?;
        let is_number = pid.iter().all(u8::is_ascii_digit);
        let pid = std::str::from_utf8(pid).ok().filter(|_| is_number)?;
        pid.parse()
            .ok()
            .filter(|_| self.kind == DsoKind::File)
            .map(Pid)
    }

    /// Whether it lies where runtimes put code that they generate: in a file of memory, in one without a
    /// name any more, or among temporary files. Programs may lie there, too.
    pub fn may_be_generated(&self) -> bool {
        const PLACES: [&[u8]; 6] = [
            b"/memfd:",
            b"/dev/shm/",
            b"/tmp/",
            b"/var/tmp/",
            b"/run/",
            b"/var/run/",
        ];
        let is_temporary = PLACES.iter().any(|place| self.path.starts_with(place));
        self.kind == DsoKind::File && (is_temporary || self.path.ends_with(b" (deleted)"))
    }

    /// What perf's `dso` column shows: the last component of the path, `[JIT] tid PID` for generated
    /// code.
    pub fn short_name(&self) -> String {
        match self.kind {
            DsoKind::Jit(pid) => format!("[JIT] tid {pid}"),
            DsoKind::File => {
                if let Some(pid) = self.jitdump() {
                    return format!("[JIT] tid {pid}");
                }
                let path = self.long_name();
                match path.rsplit('/').next() {
                    Some(name) if !name.is_empty() => name.to_owned(),
                    _ => path.into_owned(),
                }
            }
            _ => self.long_name().into_owned(),
        }
    }

    /// What it is called where processes and recordings are put together: [`Self::short_name`], but the
    /// generated code of all processes is `[JIT]`.
    pub fn common_name(&self) -> String {
        match matches!(self.kind, DsoKind::Jit(_)) || self.jitdump().is_some() {
            true => "[JIT]".to_owned(),
            false => self.short_name(),
        }
    }
}

/// Every DSO of a recording, each once. Ids are never reused.
#[derive(Clone, Debug, Default)]
pub struct DsoTable {
    dsos: Vec<Dso>,
    ids: FxHashMap<Dso, DsoId>,
}

impl DsoTable {
    /// The id of `dso`, which is added if no equal one is there. Two files at the same path differ
    /// by their [`FileId`] or build-id.
    pub fn intern(&mut self, dso: Dso) -> DsoId {
        if let Some(&id) = self.ids.get(&dso) {
            return id;
        }
        let id = DsoId(u32::try_from(self.dsos.len()).expect("fewer than 2^32 mappings in a file"));
        self.dsos.push(dso.clone());
        self.ids.insert(dso, id);
        id
    }

    /// The DSO behind an id of this table.
    pub fn get(&self, id: DsoId) -> &Dso {
        &self.dsos[id.0 as usize]
    }

    /// Notes a build-id that was learnt after the mapping, as perf's BUILD_ID section is; or that it
    /// is not known after all.
    pub fn set_build_id(&mut self, id: DsoId, build_id: Option<BuildId>) {
        self.dsos[id.0 as usize].build_id = build_id;
    }

    /// All of them with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (DsoId, &Dso)> {
        self.dsos
            .iter()
            .enumerate()
            .map(|(index, dso)| (DsoId(index as u32), dso))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.dsos.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.dsos.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jitdump_is_known_by_its_name() {
        let file = |path: &str| Dso {
            path: path.as_bytes().to_vec(),
            kind: DsoKind::File,
            file: None,
            build_id: None,
        };
        let name = |path: &str| file(path).short_name();
        assert_eq!(name("/tmp/jit-17.dump"), "[JIT] tid 17");
        assert_eq!(name("/root/jit/x/jit-1.dump (deleted)"), "[JIT] tid 1");
        assert_eq!(name("/tmp/jit-.dump"), "jit-.dump");
        assert_eq!(name("/tmp/jit-+1.dump"), "jit-+1.dump");
        assert_eq!(name("/tmp/jit-1.dump/a"), "a");
        assert_eq!(file("/tmp/jit-17.dump").common_name(), "[JIT]");
        assert_eq!(Dso::generated(Pid(17)).common_name(), "[JIT]");
        assert_eq!(file("/tmp/jit-.dump").common_name(), "jit-.dump");
    }
}
