//! What a thread waits for, by the functions of the kernel that it waits in.
//!
//! The table is also in `docs/waiting.md`; a test compares them.

use prof_profile::{Profile, StackId};

use crate::{Places, SymbolKind};

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WaitState {
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
pub const FUNCTIONS: [(WaitState, &[&str]); 11] = [
    (
        WaitState::Disk,
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
        WaitState::Network,
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
        WaitState::Poll,
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
        WaitState::Pipe,
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
        WaitState::Memory,
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
        WaitState::Lock,
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
        WaitState::Sleep,
        &[
            "hrtimer_nanosleep",
            "do_nanosleep",
            "common_nsleep",
            "msleep",
            "usleep_range",
        ],
    ),
    (
        WaitState::Child,
        &[
            "do_wait",
            "kernel_wait",
            "__do_wait",
            "wait_for_vfork_done",
            "pidfd_",
        ],
    ),
    (
        WaitState::Signal,
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
    (WaitState::IoUring, &["io_cqring_wait", "io_uring_"]),
    (
        WaitState::Runnable,
        &[
            "irqentry_exit",
            "exit_to_user_mode",
            "preempt_schedule",
            "__cond_resched",
            "do_sched_yield",
            "syscall_exit_to_user_mode",
            "asm_sysvec_",
            "ret_from_fork",
            "raw_irqentry_exit",
        ],
    ),
];

impl WaitState {
    /// All of them, in the order of summaries.
    pub const ALL: [Self; 12] = [
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

    /// What the stack of a wait waits for.
    pub(crate) fn of_stack(profile: &Profile, places: &Places, stack: StackId) -> Self {
        let frames = profile.stacks().frames(stack);
        let symbols = frames.map(|frame| places.symbol_at(places.physical(frame)));
        let kernel = symbols.take_while(|symbol| symbol.level() == 'k');
        let mut named = kernel.filter(|symbol| symbol.kind == SymbolKind::Function);
        named
            .find_map(|symbol| Self::of_function(&symbol.name))
            .unwrap_or(Self::Other)
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
                .find_map(|name| WaitState::of_function(name))
        };
        for (functions, expected) in [
            (
                &["futex_do_wait", "__futex_wait", "do_syscall_64"][..],
                Some(WaitState::Lock),
            ),
            (
                &["folio_wait_bit_common", "filemap_fault", "exc_page_fault"],
                Some(WaitState::Disk),
            ),
            (&["anon_pipe_read", "vfs_read"], Some(WaitState::Pipe)),
            (
                &["wait_woken", "sk_wait_data", "tcp_recvmsg"],
                Some(WaitState::Network),
            ),
            (&["do_epoll_wait"], Some(WaitState::Poll)),
            (
                &["do_nanosleep", "hrtimer_nanosleep"],
                Some(WaitState::Sleep),
            ),
            (
                &["exit_to_user_mode_loop", "asm_sysvec_apic_timer_interrupt"],
                Some(WaitState::Runnable),
            ),
            (
                &[
                    "rwsem_down_write_slowpath",
                    "down_write",
                    "ext4_file_write_iter",
                ],
                Some(WaitState::Lock),
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
        let mut names = WaitState::ALL.map(WaitState::name);
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
