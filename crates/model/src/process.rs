use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::{AddressSpace, Dso, DsoKind, DsoTable, Mapping, Pid, Tid};

/// A thread's name, interned in a [`CommTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommId(pub u32);

/// Thread names, each once. Any bytes but NUL.
#[derive(Clone, Debug, Default)]
pub struct CommTable {
    names: Vec<Arc<[u8]>>,
    ids: FxHashMap<Arc<[u8]>, CommId>,
}

impl CommTable {
    /// The id of `name`, added if it is new.
    pub fn intern(&mut self, name: &[u8]) -> CommId {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        let id = CommId(u32::try_from(self.names.len()).expect("fewer than 2^32 thread names"));
        let name: Arc<[u8]> = name.into();
        self.names.push(Arc::clone(&name));
        self.ids.insert(name, id);
        id
    }

    /// The name's bytes.
    pub fn bytes(&self, id: CommId) -> &[u8] {
        &self.names[id.0 as usize]
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The name for printing.
    pub fn display(&self, id: CommId) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.bytes(id))
    }
}

/// A thread as the records so far describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its process.
    pub pid: Pid,
    /// Its current name; `None` if no record said, which perf prints as `:TID`.
    pub comm: Option<CommId>,
    /// The process that forked it, where known.
    pub parent: Option<Pid>,
}

/// Threads, their names and what is mapped where, as of the last record applied.
///
/// Records must be applied in time order; a sample is looked up in between.
#[derive(Clone, Debug, Default)]
pub struct ProcessTable {
    /// Every DSO that was ever mapped.
    pub dsos: DsoTable,
    /// Every name that a thread ever had.
    pub comms: CommTable,
    /// Kernel text, modules and BPF programs.
    pub kernel: AddressSpace,
    threads: FxHashMap<Tid, Thread>,
    spaces: FxHashMap<Pid, AddressSpace>, // a parent and its fork share what they do not change
    forked: FxHashSet<Pid>,               // whose generated code may still be called its parent's
    renamed: usize,                       // mappings that became the own ones of a fork
}

/// Beyond so many a fork's generated code stays its parent's: each takes memory of its own.
const MOST_RENAMED: usize = 1 << 18;

impl ProcessTable {
    /// Names a thread. With `exec` the process runs another program from here on: its old mappings
    /// are gone.
    pub fn comm(&mut self, pid: Pid, tid: Tid, name: &[u8], exec: bool) {
        let comm = Some(self.comms.intern(name));
        let thread = self.threads.entry(tid).or_insert(Thread {
            pid,
            comm,
            parent: None,
        });
        if thread.pid != pid {
            *thread = Thread {
                pid,
                comm,
                parent: None,
            }; // the tid was used again
        }
        thread.comm = comm;
        if exec {
            self.spaces.remove(&pid);
            self.forked.remove(&pid);
        }
    }

    /// A thread or process starts. It takes over its creator's name, and a new process a copy of its
    /// creator's mappings if `clone_space` (false for records that a recorder made up for
    /// processes which it found running; their mappings follow).
    pub fn fork(&mut self, pid: Pid, tid: Tid, ppid: Pid, ptid: Tid, clone_space: bool) {
        let comm = self.threads.get(&ptid).and_then(|thread| thread.comm);
        self.threads.insert(
            tid,
            Thread {
                pid,
                comm,
                parent: Some(ppid),
            },
        );
        if pid != ppid && clone_space {
            match self.spaces.get(&ppid).cloned() {
                Some(space) => self.spaces.insert(pid, space),
                None => self.spaces.remove(&pid), // nothing of an earlier process with this pid
            };
            self.forked.insert(pid);
        }
    }

    /// Makes the generated code that a process has from the one which forked it its own: each of the two
    /// changes its copy from then on. To be called before a sample of it is looked up; most children run
    /// another program before they have any.
    pub fn own_generated_code(&mut self, pid: Pid) {
        if self.forked.is_empty() || !self.forked.remove(&pid) {
            return;
        }
        let Some(space) = self.spaces.get_mut(&pid) else {
            return;
        };
        let is_anothers = |dsos: &DsoTable, mapping: &Mapping| matches!(dsos.get(mapping.dso).kind, DsoKind::Jit(owner) if owner != pid);
        let dsos = &self.dsos;
        let count = space.iter().filter(|it| is_anothers(dsos, it)).count();
        if count == 0 || self.renamed + count > MOST_RENAMED {
            return;
        }
        self.renamed += count;
        let own = self.dsos.intern(Dso::generated(pid));
        let dsos = &self.dsos;
        space.change(|it| is_anothers(dsos, it), |mapping| mapping.dso = own);
    }

    /// Forgets a thread that has ended, and with its process's last thread the mappings. Idle threads do not end.
    pub fn forget(&mut self, pid: Pid, tid: Tid) {
        let is_its = |thread: &Thread| thread.pid == pid && tid != Tid(0);
        if self.threads.get(&tid).is_some_and(is_its) {
            self.threads.remove(&tid);
        }
        let has_first = self.threads.contains_key(&Tid(pid.0));
        if !has_first && !self.threads.values().any(|it| it.pid == pid) {
            self.spaces.remove(&pid);
            self.forked.remove(&pid);
        }
    }

    /// Maps a DSO into a process.
    pub fn map(&mut self, pid: Pid, mapping: Mapping) {
        self.spaces.entry(pid).or_default().insert(mapping);
    }

    /// The thread, if any record named it.
    pub fn thread(&self, tid: Tid) -> Option<&Thread> {
        self.threads.get(&tid)
    }

    /// A name for the thread: its own, else that of its process. The idle threads, number 0, are of no process.
    pub fn comm_of(&self, pid: Pid, tid: Tid) -> Option<CommId> {
        let is_own = |thread: &&Thread| thread.pid == pid || tid == Tid(0);
        let own = self.threads.get(&tid).filter(is_own);
        own.and_then(|thread| thread.comm)
            .or_else(|| self.threads.get(&Tid(pid.0)).and_then(|thread| thread.comm))
    }

    /// The mappings of a process.
    pub fn space(&self, pid: Pid) -> Option<&AddressSpace> {
        self.spaces.get(&pid)
    }

    /// The mappings of every process, in no order.
    pub fn spaces(&self) -> impl Iterator<Item = (Pid, &AddressSpace)> {
        self.spaces.iter().map(|(&pid, space)| (pid, space))
    }

    /// All threads, in no order.
    pub fn threads(&self) -> impl Iterator<Item = (Tid, &Thread)> {
        self.threads.iter().map(|(&tid, thread)| (tid, thread))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DsoId, VirtAddr};

    const SHELL: Pid = Pid(10);
    const CHILD: Pid = Pid(11);

    fn text(start: u64) -> Mapping {
        Mapping {
            start,
            end: start + 0x1000,
            dso_start: 0,
            dso: DsoId(0),
            executable: true,
        }
    }

    fn shell() -> ProcessTable {
        let mut table = ProcessTable::default();
        table.comm(SHELL, Tid(10), b"sh", false);
        table.map(SHELL, text(0x1000));
        table
    }

    fn has(table: &ProcessTable, pid: Pid, addr: u64) -> bool {
        table
            .space(pid)
            .is_some_and(|space| space.find(VirtAddr(addr)).is_some())
    }

    #[test]
    fn a_fork_keeps_the_mappings_and_later_ones_stay_apart() {
        let mut table = shell();
        table.fork(CHILD, Tid(11), SHELL, Tid(10), true);
        table.map(CHILD, text(0x5000));
        assert!(has(&table, CHILD, 0x1000) && has(&table, CHILD, 0x5000));
        assert!(has(&table, SHELL, 0x1000) && !has(&table, SHELL, 0x5000));
        assert_eq!(
            table.comms.display(table.comm_of(CHILD, Tid(11)).unwrap()),
            "sh"
        );
    }

    #[test]
    fn exec_drops_the_mappings_of_the_old_program() {
        let mut table = shell();
        table.fork(CHILD, Tid(11), SHELL, Tid(10), true);
        table.comm(CHILD, Tid(11), b"sleep", true);
        assert!(!has(&table, CHILD, 0x1000) && has(&table, SHELL, 0x1000));
    }

    #[test]
    fn generated_code_is_its_parents_no_more_once_a_fork_is_sampled() {
        let mut table = shell();
        let program = Dso {
            path: b"/bin/sh".to_vec(),
            kind: DsoKind::File,
            file: None,
            build_id: None,
        };
        assert_eq!(table.dsos.intern(program), text(0).dso);
        let dso = table.dsos.intern(Dso::generated(SHELL));
        table.map(
            SHELL,
            Mapping {
                dso,
                ..text(0x7000)
            },
        );
        table.fork(CHILD, Tid(11), SHELL, Tid(10), true);
        table.own_generated_code(CHILD);
        table.own_generated_code(SHELL);
        let kind_at = |pid, addr| {
            let mapping = table.space(pid).unwrap().find(VirtAddr(addr)).unwrap();
            (mapping.dso_start, table.dsos.get(mapping.dso).kind)
        };
        assert_eq!(kind_at(CHILD, 0x7000), (0, DsoKind::Jit(CHILD)));
        assert_eq!(kind_at(SHELL, 0x7000), (0, DsoKind::Jit(SHELL)));
        let start = |pid| table.space(pid).unwrap().iter().next().copied();
        assert_eq!(start(CHILD), start(SHELL)); // a program is the same file in both
    }

    #[test]
    fn a_new_thread_shares_the_mappings_of_its_process() {
        let mut table = shell();
        table.fork(SHELL, Tid(12), SHELL, Tid(10), true);
        table.comm(SHELL, Tid(12), b"worker", false);
        assert!(has(&table, SHELL, 0x1000));
        assert_eq!(
            table.comms.display(table.comm_of(SHELL, Tid(12)).unwrap()),
            "worker"
        );
        assert_eq!(
            table.comms.display(table.comm_of(SHELL, Tid(10)).unwrap()),
            "sh"
        );
    }

    #[test]
    fn the_last_thread_takes_the_mappings_with_it() {
        let mut table = shell();
        table.fork(SHELL, Tid(12), SHELL, Tid(10), true);
        table.forget(SHELL, Tid(10));
        assert!(has(&table, SHELL, 0x1000));
        table.forget(CHILD, Tid(12)); // another process's thread by then
        assert!(table.thread(Tid(12)).is_some());
        table.forget(SHELL, Tid(12));
        assert!(!has(&table, SHELL, 0x1000));
    }

    #[test]
    fn a_thread_without_a_name_of_its_own_has_that_of_its_process() {
        let table = shell();
        assert_eq!(table.comm_of(SHELL, Tid(99)), table.comm_of(SHELL, Tid(10)));
        assert_eq!(table.comm_of(CHILD, Tid(99)), None);
    }
}
