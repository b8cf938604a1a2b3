//! What records say about processes: which thread has which name, and what is mapped where.

use prof_model::{BuildId, CpuMode, Dso, DsoId, DsoKind, FileId, Mapping, Pid, ProcessTable};
use prof_model::{Tid, VirtAddr};
use rustc_hash::FxHashMap;
use std::borrow::Cow;

use crate::abi::{misc, record};
use crate::encode::RecordBuilder;
use crate::record::{Ksymbol, Mmap, Record, SampleId, Task};

const PROT_EXEC: u32 = 4;
const MAP_HUGETLB: u32 = 0x40000;
const MAP_PRIVATE: u32 = 2;

/// perf's name for the kernel's own text.
pub const KERNEL_NAME: &str = "[kernel.kallsyms]";

/// Applies records to a [`ProcessTable`]. They must come in time order.
#[derive(Clone, Debug)]
pub struct Tracker {
    /// The state as of the last record.
    pub processes: ProcessTable,
    /// What the kernel's MMAP said: the address of the reference symbol, and that symbol's name.
    pub kernel_reference: Option<(u64, String)>,
    files: FxHashMap<FileKey, Vec<(FileId, DsoId)>>,
}

/// Path and file, its generation left out.
type FileKey = (Vec<u8>, FileId);

/// How far behind the end of its text the kernel has other code of its own: what ran at boot.
const BOOT_CODE: u64 = 64 << 20;

impl Default for Tracker {
    /// Knows the idle threads, for which there is no record: perf calls them `swapper`.
    fn default() -> Self {
        let mut processes = ProcessTable::default();
        processes.comm(Pid(0), Tid(0), b"swapper", false);
        Self {
            processes,
            kernel_reference: None,
            files: FxHashMap::default(),
        }
    }
}

impl Tracker {
    /// Takes in what `record` says; most say nothing.
    pub fn apply(&mut self, record: &Record<'_>) {
        match *record {
            Record::Mmap(ref mmap) => self.map(mmap),
            // What has just ended, or is out of our pid namespace, has the number of the idle threads.
            Record::Comm { tid: Tid(0), .. } | Record::Fork(Task { tid: Tid(0), .. }) => {}
            Record::Comm {
                pid,
                tid,
                exec,
                name,
            } => self.processes.comm(pid, tid, name, exec),
            Record::Fork(task) => {
                let inherits = !task.made_up;
                self.processes
                    .fork(task.pid, task.tid, task.ppid, task.ptid, inherits);
            }
            Record::Ksymbol(ksymbol) => self.ksymbol(ksymbol),
            _ => {}
        }
    }

    /// The mapping of kernel code at an address.
    ///
    /// The kernel's own MMAP covers its text up to `_etext`, but the idle thread's stack leads through
    /// the boot code behind it.
    pub fn kernel_mapping(&self, addr: VirtAddr) -> Option<&Mapping> {
        let kernel = &self.processes.kernel;
        kernel.find(addr).or_else(|| {
            let before = kernel.before(addr)?;
            let kind = self.processes.dsos.get(before.dso).kind;
            (kind == DsoKind::Kernel && addr.0 - before.end < BOOT_CODE).then_some(before)
        })
    }

    /// The kernel's DSO if no record said where the kernel lies: `kernel.kptr_restrict` hid it.
    pub fn hidden_kernel(&mut self) -> Option<DsoId> {
        let is_hidden = self.processes.kernel.iter().next().is_none();
        is_hidden.then(|| self.intern_kernel(KERNEL_NAME.as_bytes(), DsoKind::Kernel, None))
    }

    fn map(&mut self, mmap: &Mmap<'_>) {
        let Some(end) = mmap.addr.checked_add(mmap.len) else {
            return;
        };
        let kernel = mmap.mode == CpuMode::Kernel;
        if !kernel && !matches!(mmap.mode, CpuMode::User | CpuMode::Unknown) {
            return; // a guest's
        }
        let dso = if kernel {
            self.kernel_dso(mmap)
        } else {
            self.user_dso(mmap)
        };
        let relative = self.processes.dsos.get(dso).kind.is_file_relative();
        let mapping = Mapping {
            start: mmap.addr,
            end,
            dso_start: if relative { mmap.pgoff } else { mmap.addr },
            dso,
            executable: mmap.prot & PROT_EXEC != 0,
        };
        if kernel {
            self.processes.kernel.insert(mapping);
        } else {
            self.processes.map(mmap.pid, mapping);
        }
    }

    fn kernel_dso(&mut self, mmap: &Mmap<'_>) -> DsoId {
        let (path, kind) = match mmap.name.strip_prefix(KERNEL_NAME.as_bytes()) {
            Some(reference) => {
                let reference = String::from_utf8_lossy(reference).into_owned();
                self.kernel_reference = Some((mmap.pgoff, reference));
                (KERNEL_NAME.as_bytes(), DsoKind::Kernel)
            }
            None => (&*module_name(mmap.name), DsoKind::KernelModule),
        };
        self.intern_kernel(path, kind, mmap.build_id)
    }

    fn intern_kernel(&mut self, path: &[u8], kind: DsoKind, build_id: Option<BuildId>) -> DsoId {
        self.processes.dsos.intern(Dso {
            path: path.to_vec(),
            kind,
            file: None,
            build_id,
        })
    }

    fn user_dso(&mut self, mmap: &Mmap<'_>) -> DsoId {
        let kind = user_kind(mmap);
        if let DsoKind::Jit(pid) = kind {
            return self.processes.dsos.intern(Dso::generated(pid));
        }
        let file = mmap.file.filter(|_| kind == DsoKind::File);
        let build_id = mmap.build_id;
        let dso = Dso {
            path: mmap.name.to_vec(),
            kind,
            file,
            build_id,
        };
        match file {
            Some(file) => self.file_dso(dso, file),
            None => self.processes.dsos.intern(dso),
        }
    }

    /// The kernel tells a file's generation, `/proc/PID/maps` does not: 0 there means any.
    fn file_dso(&mut self, dso: Dso, file: FileId) -> DsoId {
        let key = (dso.path.clone(), file.without_generation());
        let known = self.files.entry(key).or_default();
        for (same, id) in known.iter_mut() {
            if same.is_same(file) {
                same.generation = same.generation.max(file.generation);
                return *id;
            }
        }
        let id = self.processes.dsos.intern(dso);
        known.push((file, id));
        id
    }

    /// The DSO of a file that was mapped by this path.
    pub fn file(&self, path: &[u8], file: FileId) -> Option<DsoId> {
        let known = self
            .files
            .get(&(path.to_vec(), file.without_generation()))?;
        let mut same = known.iter().filter(|(known, _)| known.is_same(file));
        same.next().map(|&(_, id)| id)
    }

    fn ksymbol(&mut self, ksymbol: Ksymbol<'_>) {
        let Some(end) = ksymbol.addr.checked_add(u64::from(ksymbol.len)) else {
            return;
        };
        let kernel = &mut self.processes.kernel;
        if ksymbol.unregister {
            kernel.remove(ksymbol.addr, end);
            return;
        }
        let covered = kernel.find(prof_model::VirtAddr(ksymbol.addr));
        let covered = covered.map(|mapping| self.processes.dsos.get(mapping.dso).kind);
        if matches!(covered, Some(DsoKind::Kernel | DsoKind::KernelModule)) {
            return; // the kernel's own tables name it
        }
        let dso = self.processes.dsos.intern(Dso {
            path: ksymbol.name.to_vec(),
            kind: DsoKind::KernelSymbol,
            file: None,
            build_id: None,
        });
        self.processes.kernel.insert(Mapping {
            start: ksymbol.addr,
            end,
            dso_start: ksymbol.addr,
            dso,
            executable: true,
        });
    }
}

impl Tracker {
    /// Appends records that bring a new tracker to this state, as a recorder makes them up for what
    /// was there before it came. Their time is 0.
    pub fn restate(&self, sample_type: u64, out: &mut Vec<u8>) {
        let mut put = |kind, misc, fill: &mut dyn FnMut(&mut RecordBuilder<'_>)| {
            let mut record = RecordBuilder::new(out, kind, misc);
            fill(&mut record);
            record.sample_id(sample_type, &SampleId::default());
            let _ = record.finish(); // a name came in a record, so it fits into one
        };
        let processes = &self.processes;
        for mapping in processes.kernel.iter() {
            let (start, len) = (mapping.start, mapping.end - mapping.start);
            let dso = processes.dsos.get(mapping.dso);
            if dso.kind == DsoKind::KernelSymbol {
                put(record::KSYMBOL, 0, &mut |record| {
                    record
                        .u64(start)
                        .u32(u32::try_from(len).unwrap_or(u32::MAX));
                    record.u16(1).u16(0).c_string(&dso.path); // 1: a BPF program
                });
                continue;
            }
            let (pgoff, name) = match &self.kernel_reference {
                Some((address, symbol)) if dso.kind == DsoKind::Kernel => {
                    (*address, [&dso.path, symbol.as_bytes()].concat())
                }
                _ => (0, dso.path.clone()),
            };
            put(record::MMAP, misc::KERNEL, &mut |record| {
                record.u32(u32::MAX).u32(0).u64(start).u64(len).u64(pgoff);
                record.c_string(&name);
            });
        }
        let mut threads: Vec<_> = processes.threads().collect();
        threads.sort_unstable_by_key(|(tid, thread)| (thread.pid, *tid));
        let mut mapped = None;
        for (tid, thread) in threads {
            if let Some(comm) = thread.comm {
                let name = processes.comms.bytes(comm);
                put(record::COMM, 0, &mut |record| {
                    record
                        .u32(thread.pid.0 as u32)
                        .u32(tid.0 as u32)
                        .c_string(name);
                });
            }
            if mapped.replace(thread.pid) == Some(thread.pid) {
                continue;
            }
            let mappings = processes
                .space(thread.pid)
                .into_iter()
                .flat_map(|it| it.iter());
            for mapping in mappings {
                let dso = processes.dsos.get(mapping.dso);
                put(record::MMAP2, misc::USER, &mut |record| {
                    restate_mapping(record, thread.pid, mapping, dso);
                });
            }
        }
    }
}

fn restate_mapping(record: &mut RecordBuilder<'_>, pid: Pid, mapping: &Mapping, dso: &Dso) {
    let file = dso.file.unwrap_or(FileId {
        major: 0,
        minor: 0,
        inode: 0,
        generation: 0,
    });
    let name: &[u8] = match dso.kind {
        DsoKind::Jit(_) => b"//anon",
        _ => &dso.path,
    };
    let prot = if mapping.executable { 1 | PROT_EXEC } else { 1 };
    record.u32(pid.0 as u32).u32(pid.0 as u32);
    record
        .u64(mapping.start)
        .u64(mapping.end - mapping.start)
        .u64(mapping.dso_start);
    record
        .u32(file.major)
        .u32(file.minor)
        .u64(file.inode)
        .u64(file.generation);
    record.u32(prot).u32(MAP_PRIVATE).c_string(name);
}

fn user_kind(mmap: &Mmap<'_>) -> DsoKind {
    let name = mmap.name;
    let starts = |prefix: &str| name.starts_with(prefix.as_bytes());
    if name == b"[vdso]" {
        return DsoKind::Vdso;
    }
    // Memory without a file that may be executed holds generated code, whatever the kernel calls it.
    let anonymous = name.is_empty()
        || starts("//anon")
        || starts("[anon")
        || starts("/dev/zero")
        || starts("/anon_hugepage")
        || starts("/SYSV")
        || starts("[heap]")
        || starts("[stack")
        || mmap.flags & MAP_HUGETLB != 0;
    if anonymous && mmap.prot & PROT_EXEC != 0 {
        return DsoKind::Jit(Pid(mmap.pid.0));
    }
    if anonymous || starts("[") {
        return DsoKind::Memory;
    }
    DsoKind::File
}

/// A module's name as `/proc/modules` has it, in brackets, of the file that it was loaded from.
fn module_name(path: &[u8]) -> Cow<'_, [u8]> {
    let file = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    let packed: [&[u8]; 3] = [b".gz", b".xz", b".zst"];
    let plain = packed.iter().find_map(|&end| file.strip_suffix(end));
    let Some(name) = plain.unwrap_or(file).strip_suffix(b".ko") else {
        return Cow::Borrowed(path);
    };
    let underlined = |&byte: &u8| if byte == b'-' { b'_' } else { byte };
    let name = name.iter().map(underlined);
    Cow::Owned([b'['].into_iter().chain(name).chain([b']']).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_has_its_name_wherever_it_was_loaded_from() {
        for (path, name) in [
            ("/lib/modules/6.1.0/kernel/fs/nfs/nfs-v4.ko", "[nfs_v4]"),
            ("/lib/modules/6.1.0/kernel/net/tls.ko.xz", "[tls]"),
            ("x-x.ko.gz", "[x_x]"),
            ("/x/x.ko.zst", "[x]"),
            ("[test_module]", "[test_module]"),
            ("[test-module]", "[test-module]"),
            ("/x/x.gz", "/x/x.gz"),
            ("/x/kok", "/x/kok"),
        ] {
            let found = module_name(path.as_bytes());
            assert_eq!(String::from_utf8_lossy(&found), name);
        }
    }
    use prof_model::{DsoAddr, Tid, VirtAddr};

    const PID: Pid = Pid(5);

    fn mmap(name: &str, addr: u64, generation: u64) -> Record<'_> {
        Record::Mmap(Mmap {
            pid: PID,
            tid: Tid(5),
            addr,
            len: 0x1000,
            pgoff: 0x3000,
            file: Some(FileId {
                major: 8,
                minor: 1,
                inode: 99,
                generation,
            }),
            build_id: None,
            prot: 5,
            flags: 2,
            mode: CpuMode::User,
            name: name.as_bytes(),
        })
    }

    fn place(tracker: &Tracker, addr: u64) -> (DsoId, DsoAddr) {
        let space = tracker.processes.space(PID).unwrap();
        let mapping = space.find(VirtAddr(addr)).unwrap();
        (mapping.dso, mapping.dso_addr(VirtAddr(addr)))
    }

    #[test]
    fn a_file_is_one_dso_whether_proc_or_the_kernel_reported_it_and_a_reused_inode_another() {
        let mut tracker = Tracker::default();
        tracker.apply(&mmap("/bin/a", 0x1000, 0)); // from /proc
        tracker.apply(&mmap("/bin/a", 0x5000, 7)); // from the kernel
        tracker.apply(&mmap("/bin/a", 0x9000, 8)); // rebuilt meanwhile
        let (first, at) = place(&tracker, 0x1010);
        assert_eq!(at, DsoAddr(0x3010));
        assert_eq!(place(&tracker, 0x5000).0, first);
        assert_ne!(place(&tracker, 0x9000).0, first);
    }

    #[test]
    fn a_file_that_was_written_over_is_another_dso_whoever_reports_it() {
        let mut tracker = Tracker::default();
        tracker.apply(&mmap("/bin/a", 0x1000, 0)); // from /proc
        tracker.apply(&mmap("/bin/a", 0x5000, 1 << 32 | 7));
        tracker.apply(&mmap("/bin/a", 0x9000, 1 << 32));
        let [first, second, again] = [0x1000, 0x5000, 0x9000].map(|at| place(&tracker, at).0);
        assert_ne!(first, second);
        assert_eq!(second, again);
        let file = tracker.processes.dsos.get(first).file.unwrap();
        assert_eq!(tracker.file(b"/bin/a", file), Some(first));
        assert_eq!(tracker.file(b"/bin/a", file.written_over(1)), Some(second));
        assert_eq!(tracker.file(b"/bin/a", file.written_over(2)), None);
    }

    #[test]
    fn executable_memory_without_a_file_is_generated_code_at_its_own_addresses() {
        let mut tracker = Tracker::default();
        tracker.apply(&mmap("//anon", 0x7000, 0));
        let (dso, at) = place(&tracker, 0x7123);
        assert_eq!(tracker.processes.dsos.get(dso).kind, DsoKind::Jit(PID));
        assert_eq!(tracker.processes.dsos.get(dso).path, b"/tmp/perf-5.map");
        assert_eq!(at, DsoAddr(0x7123));
    }

    #[test]
    fn a_bpf_program_is_known_from_its_load_to_its_unload() {
        let mut tracker = Tracker::default();
        let at = |unregister| {
            Record::Ksymbol(Ksymbol {
                kind: 1,
                addr: 0xffff_ffff_c000_0000,
                len: 0x100,
                unregister,
                name: b"bpf_prog_1_x",
            })
        };
        tracker.apply(&at(false));
        let found = |tracker: &Tracker| {
            let kernel = &tracker.processes.kernel;
            kernel.find(VirtAddr(0xffff_ffff_c000_0010)).is_some()
        };
        assert!(found(&tracker));
        tracker.apply(&at(true));
        assert!(!found(&tracker));
    }

    #[test]
    fn a_restated_tracker_knows_the_same_threads_and_mappings() {
        use crate::RawRecord;
        use crate::abi::sample;
        let mut tracker = Tracker::default();
        tracker.apply(&kernel_mmap(
            "[kernel.kallsyms]_text",
            0xffff_ffff_8100_0000,
        ));
        tracker.apply(&kernel_mmap("[ext4]", 0xffff_ffff_8180_0000));
        tracker.apply(&Record::Ksymbol(Ksymbol {
            kind: 1,
            addr: 0xffff_ffff_c000_0000,
            len: 0x100,
            unregister: false,
            name: b"bpf_prog_1_x",
        }));
        tracker.apply(&mmap("/bin/a", 0x5000, 7));
        tracker.apply(&mmap("//anon", 0x7000, 0));
        tracker.apply(&mmap("[vdso]", 0x9000, 0));
        for (tid, name) in [(5, "main"), (6, "worker")] {
            tracker.apply(&Record::Comm {
                pid: PID,
                tid: Tid(tid),
                exec: false,
                name: name.as_bytes(),
            });
        }

        let attr = crate::EventAttr {
            sample_type: sample::TID | sample::TIME | sample::CPU | sample::IDENTIFIER,
            flags: crate::abi::flag::SAMPLE_ID_ALL,
            ..crate::EventAttr::default()
        };
        let mut bytes = Vec::new();
        tracker.restate(attr.sample_type, &mut bytes);
        let mut again = Tracker::default();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let raw = RawRecord::parse(rest).unwrap();
            again.apply(&crate::decode(raw, &attr).unwrap().0);
            rest = &rest[raw.bytes.len()..];
        }

        let spaces = |tracker: &Tracker| {
            let processes = &tracker.processes;
            let user = processes.space(PID).unwrap();
            let mappings = processes.kernel.iter().chain(user.iter());
            let mappings = mappings.map(|it| (*it, processes.dsos.get(it.dso).clone()));
            let places =
                mappings.map(|(it, dso)| (it.start, it.end, it.dso_start, it.executable, dso));
            places.collect::<Vec<_>>()
        };
        assert_eq!(spaces(&again), spaces(&tracker));
        assert_eq!(again.kernel_reference, tracker.kernel_reference);
        let name = |tracker: &Tracker, tid| {
            let processes = &tracker.processes;
            processes
                .comms
                .display(processes.comm_of(PID, Tid(tid)).unwrap())
                .into_owned()
        };
        assert_eq!([name(&again, 5), name(&again, 6)], ["main", "worker"]);
    }

    #[test]
    fn thread_0_is_the_idle_one_whatever_a_record_says() {
        let mut tracker = Tracker::default();
        let (none, idle) = (Pid(0), Tid(0));
        let task = Task {
            pid: none,
            tid: idle,
            ppid: PID,
            ptid: Tid(5),
            time: 1,
            made_up: false,
        };
        for (pid, tid) in [(PID, Tid(5)), (PID, idle), (none, idle)] {
            tracker.apply(&Record::Comm {
                pid,
                tid,
                exec: false,
                name: b"powerd",
            });
            tracker.apply(&Record::Fork(task));
        }
        tracker.processes.forget(none, idle);
        let processes = &tracker.processes;
        let name = |pid, tid| {
            processes
                .comms
                .display(processes.comm_of(pid, tid).unwrap())
        };
        assert_eq!(name(none, idle), "swapper");
        assert_eq!(name(PID, idle), "swapper"); // as Linux 3.8 tells what it samples of an idle CPU
        assert_eq!(name(PID, Tid(5)), "powerd");
    }

    fn kernel_mmap(name: &str, addr: u64) -> Record<'_> {
        Record::Mmap(Mmap {
            pid: Pid(-1),
            tid: Tid(0),
            addr,
            len: 0x1000,
            pgoff: addr,
            file: None,
            build_id: None,
            prot: 4,
            flags: 0,
            mode: CpuMode::Kernel,
            name: name.as_bytes(),
        })
    }

    #[test]
    fn boot_code_behind_the_text_is_the_kernels_but_not_what_comes_after_a_module() {
        let mut tracker = Tracker::default();
        tracker.apply(&kernel_mmap(
            "[kernel.kallsyms]_text",
            0xffff_ffff_8100_0000,
        ));
        tracker.apply(&kernel_mmap("[ext4]", 0xffff_ffff_8180_0000));
        let kind = |addr| {
            let mapping = tracker.kernel_mapping(VirtAddr(addr))?;
            Some(tracker.processes.dsos.get(mapping.dso).kind)
        };
        assert_eq!(kind(0xffff_ffff_8100_0010), Some(DsoKind::Kernel));
        assert_eq!(kind(0xffff_ffff_8178_423d), Some(DsoKind::Kernel));
        assert_eq!(kind(0xffff_ffff_8180_0010), Some(DsoKind::KernelModule));
        assert_eq!(kind(0xffff_ffff_8180_1010), None);
        assert_eq!(kind(0xffff_ffff_80ff_fff0), None);
    }

    #[test]
    fn the_kernel_map_names_its_reference_symbol() {
        let mut tracker = Tracker::default();
        tracker.apply(&kernel_mmap(
            "[kernel.kallsyms]_text",
            0xffff_ffff_8100_0000,
        ));
        let reference = (0xffff_ffff_8100_0000, "_text".to_owned());
        assert_eq!(tracker.kernel_reference, Some(reference));
    }
}
