//! What a thread does or waits for, by the functions of the kernel that it waits in.
//!
//! The table is also in `docs/waiting.md`; a test compares them.

use prof_profile::{FrameId, Profile, SampleKey, Unit};

use crate::{Places, SymbolKind};

/// What a thread does, or what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ThreadState {
    /// It runs, and waits for nothing.
    Running,
    /// For a CPU: it was interrupted, or has given way, and could go on.
    Runnable,
    /// For another thread that has a lock or is to wake it.
    Lock,
    /// For a disk or a file system.
    Disk,
    /// For data of a connection, or for a connection.
    Network,
    /// For any of several files, as event loops do.
    Poll,
    /// For the other end of a pipe, a terminal or an eventfd.
    Pipe,
    /// For a time to pass.
    Sleep,
    /// For another process to end or to start its program.
    Child,
    /// For a signal.
    Signal,
    /// For work that it has handed to io_uring.
    IoUring,
    /// For memory: a page that is being read, or one to be found.
    Memory,
    /// It is not known for what.
    Other,
}

/// What names of functions begin with, and what is waited for in them. The innermost function that stands here
/// decides.
const FUNCTIONS: [(ThreadState, &[&str]); 11] = [
    (
        ThreadState::Disk,
        &[
            "folio_wait_",
            "__folio_lock",
            "filemap_",
            "wait_on_page_",
            "wait_on_buffer",
            "__wait_on_buffer",
            "blk_",
            "submit_bio_wait",
            "bio_await",
            "iomap_",
            "__iomap_",
            "blkdev_",
            "jbd2_",
            "ext4_",
            "xfs_",
            "btrfs_",
            "f2fs_",
            "nfs_",
            "nfs4_",
            "fuse_",
            "ovl_",
            "rq_qos_wait",
            "wbt_wait",
            "balance_dirty_pages",
            "__sync_dirty_buffer",
            "do_writepages",
            "file_write_and_wait_range",
            "__x64_sys_fsync",
        ],
    ),
    (
        ThreadState::Network,
        &[
            "tcp_",
            "udp_",
            "inet_",
            "sk_wait_",
            "sk_stream_wait_",
            "__skb_wait_",
            "unix_",
            "sock_",
            "__sock_",
            "wait_for_connect",
            "vsock_",
            "sctp_",
            "netlink_",
            "packet_recvmsg",
            "skb_",
        ],
    ),
    (
        ThreadState::Poll,
        &[
            "ep_poll",
            "do_epoll_",
            "do_poll",
            "do_sys_poll",
            "do_select",
            "core_sys_select",
            "poll_schedule_timeout",
        ],
    ),
    (
        ThreadState::Pipe,
        &[
            "anon_pipe_",
            "pipe_",
            "fifo_",
            "wait_for_partner",
            "n_tty_",
            "tty_",
            "eventfd_",
            "timerfd_",
            "inotify_",
            "signalfd_",
        ],
    ),
    (
        ThreadState::Memory,
        &[
            "do_swap_page",
            "mem_cgroup_",
            "try_charge",
            "shrink_",
            "wait_iff_congested",
            "userfaultfd_",
            "handle_userfault",
            "migration_entry_wait",
            "reclaim_throttle",
        ],
    ),
    (
        ThreadState::Lock,
        &[
            "futex_",
            "__futex_",
            "do_futex",
            "rwsem_down_",
            "__rwsem_",
            "down_",
            "__down",
            "mutex_lock",
            "__mutex_lock",
            "ww_mutex_",
            "percpu_rwsem_",
            "percpu_down_",
            "do_semtimedop",
            "__do_semtimedop",
            "flock_lock_",
            "posix_lock_",
            "rt_mutex_",
            "rtlock_",
        ],
    ),
    (
        ThreadState::Sleep,
        &[
            "hrtimer_nanosleep",
            "do_nanosleep",
            "common_nsleep",
            "msleep",
            "usleep_range",
        ],
    ),
    (
        ThreadState::Child,
        &[
            "do_wait",
            "kernel_wait",
            "__do_wait",
            "wait_for_vfork_done",
            "pidfd_",
        ],
    ),
    (
        ThreadState::Signal,
        &[
            "__x64_sys_pause",
            "__ia32_sys_pause",
            "__arm64_sys_pause",
            "sigsuspend",
            "do_sigtimedwait",
            "do_signal_stop",
            "ptrace_",
            "do_freezer_trap",
            "do_jobctl_trap",
        ],
    ),
    (ThreadState::IoUring, &["io_cqring_wait", "io_uring_"]),
    (
        ThreadState::Runnable,
        &[
            "irqentry_exit",
            "exit_to_user_mode",
            "preempt_schedule",
            "__cond_resched",
            "do_sched_yield",
            "syscall_exit_to_user_mode",
            "asm_sysvec_",
            "raw_irqentry_exit",
        ],
    ),
];

impl ThreadState {
    /// All of them, in the order of summaries.
    pub const ALL: [Self; 13] = [
        Self::Running,
        Self::Runnable,
        Self::Lock,
        Self::Disk,
        Self::Network,
        Self::Poll,
        Self::Pipe,
        Self::Sleep,
        Self::Child,
        Self::Signal,
        Self::IoUring,
        Self::Memory,
        Self::Other,
    ];

    /// Its name in tables, and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Runnable => "runnable",
            Self::Lock => "lock",
            Self::Disk => "disk",
            Self::Network => "network",
            Self::Poll => "poll",
            Self::Pipe => "pipe",
            Self::Sleep => "sleep",
            Self::Child => "child",
            Self::Signal => "signal",
            Self::IoUring => "io_uring",
            Self::Memory => "memory",
            Self::Other => "other",
        }
    }

    /// What is waited for in a function of the kernel, if that shows it.
    pub fn of_function(name: &str) -> Option<Self> {
        let begins = |starts: &&[&str]| starts.iter().any(|start| name.starts_with(start));
        let found = FUNCTIONS.iter().find(|(_, starts)| begins(starts));
        found.map(|(state, _)| *state)
    }

    /// The state with this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What the kernel's functions of a profile tell of waits, looked up once for each frame.
pub(crate) struct StatesOfFrames(Vec<OfFrame>);

#[derive(Clone, Copy)]
enum OfFrame {
    User,
    Kernel(Option<ThreadState>),
}

impl StatesOfFrames {
    /// Those of all frames of a profile.
    pub(crate) fn of(profile: &Profile, places: &Places) -> Self {
        let of_frame = |frame: FrameId| {
            let symbol = places.symbol_at(places.physical(frame));
            match (symbol.level(), symbol.kind) {
                ('k', SymbolKind::Function) => {
                    OfFrame::Kernel(ThreadState::of_function(&symbol.name))
                }
                ('k', _) => OfFrame::Kernel(None),
                _ => OfFrame::User,
            }
        };
        Self(profile.frames().map(|(frame, _)| of_frame(frame)).collect())
    }

    /// What these frames, innermost first, wait for.
    pub(crate) fn of_stack(&self, frames: impl Iterator<Item = FrameId>) -> ThreadState {
        let of = frames.map(|frame| self.0[frame.index()]);
        let mut kernel = of.map_while(|of| match of {
            OfFrame::Kernel(state) => Some(state),
            OfFrame::User => None,
        });
        kernel.find_map(|state| state).unwrap_or(ThreadState::Other)
    }

    /// What a sample tells: of an event that counts no waiting time that the thread runs.
    pub(crate) fn of_sample(&self, profile: &Profile, key: &SampleKey) -> ThreadState {
        match profile.events[usize::from(key.event)].unit {
            Unit::WaitTime => self.of_stack(profile.stacks().frames(key.stack)),
            _ => ThreadState::Running,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_function_that_is_known_tells_what_is_waited_for() {
        let state = |functions: &[&str]| {
            functions
                .iter()
                .find_map(|name| ThreadState::of_function(name))
        };
        for (functions, expected) in [
            (
                &["futex_do_wait", "__futex_wait", "do_syscall_64"][..],
                Some(ThreadState::Lock),
            ),
            (
                &["folio_wait_bit_common", "filemap_fault", "exc_page_fault"],
                Some(ThreadState::Disk),
            ),
            (&["anon_pipe_read", "vfs_read"], Some(ThreadState::Pipe)),
            (
                &["wait_woken", "sk_wait_data", "tcp_recvmsg"],
                Some(ThreadState::Network),
            ),
            (&["do_epoll_wait"], Some(ThreadState::Poll)),
            (
                &["do_nanosleep", "hrtimer_nanosleep"],
                Some(ThreadState::Sleep),
            ),
            (
                &["exit_to_user_mode_loop", "asm_sysvec_apic_timer_interrupt"],
                Some(ThreadState::Runnable),
            ),
            (
                &[
                    "rwsem_down_write_slowpath",
                    "down_write",
                    "ext4_file_write_iter",
                ],
                Some(ThreadState::Lock),
            ),
            (&["do_syscall_64"], None),
        ] {
            assert_eq!(state(functions), expected, "{functions:?}");
        }
    }

    #[test]
    fn the_document_has_the_same_table() {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/waiting.md");
        let document = std::fs::read_to_string(document).unwrap();
        for (state, functions) in FUNCTIONS {
            let start = format!("| `{}` | ", state.name());
            let row = document.lines().find(|line| line.starts_with(&start));
            let names: Vec<_> = functions.iter().map(|it| format!("`{it}`")).collect();
            let end = format!(" | {} |", names.join(", "));
            assert!(
                row.is_some_and(|row| row.ends_with(&end)),
                "{start}...{end}"
            );
        }
    }

    #[test]
    fn each_state_has_a_name_of_its_own() {
        let mut names = ThreadState::ALL.map(ThreadState::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
