//! The system calls that no crate makes safe. All of the sampler's `unsafe` is here, in `ring.rs` and
//! in `deep_stacks/bpf.rs`.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use perf_event_open_sys::bindings::{PERF_FLAG_FD_CLOEXEC, PERF_FLAG_PID_CGROUP, perf_event_attr};
use perf_event_open_sys::{ioctls, perf_event_open};
use prof_event::{EventAttr, WRITTEN_ATTR_SIZE};
use prof_model::{Cpu, Pid, Tid};

use crate::scope::Scope;

/// The descriptor of one opened event.
#[derive(Debug)]
pub(crate) struct EventFd(File);

impl EventFd {
    /// Opens an event on one CPU, as a member of the group that `leader` leads.
    pub(crate) fn open(
        attr: &EventAttr,
        scope: Scope,
        cpu: Cpu,
        leader: Option<&Self>,
    ) -> io::Result<Self> {
        let mut kernel_attr = perf_event_attr::default();
        // SAFETY: the struct has room for the bytes, as checked below, and only integers and unions of
        // them, for which all bytes are values.
        unsafe {
            let bytes = (&raw mut kernel_attr).cast::<[u8; WRITTEN_ATTR_SIZE]>();
            bytes.write(attr.to_bytes());
        }
        let (pid, kind): (libc::pid_t, _) = match scope {
            Scope::Everything => (-1, 0),
            Scope::Thread(tid) => (tid.0, 0),
            Scope::Cgroup(folder) => (folder, PERF_FLAG_PID_CGROUP),
        };
        let group_fd = leader.map_or(-1, |leader| leader.0.as_raw_fd());
        // SAFETY: `kernel_attr` is a whole `perf_event_attr` whose size field says how much of it we
        // use. The kernel reads that, and writes to it only its size field when it does not know our
        // version.
        let fd = unsafe {
            perf_event_open(
                &raw mut kernel_attr,
                pid,
                cpu.0 as libc::c_int,
                group_fd,
                (PERF_FLAG_FD_CLOEXEC | kind).into(),
            )
        };
        owned(fd.into()).map(|fd| Self(File::from(fd)))
    }

    /// Starts counting, in inherited copies too.
    pub(crate) fn enable(&self) -> io::Result<()> {
        // SAFETY: takes an integer and no pointer.
        done(unsafe { ioctls::ENABLE(self.0.as_raw_fd(), 0) })
    }

    /// Stops counting.
    pub(crate) fn disable(&self) -> io::Result<()> {
        // SAFETY: takes an integer and no pointer.
        done(unsafe { ioctls::DISABLE(self.0.as_raw_fd(), 0) })
    }

    /// Lets this event write into the ring of another one of the same CPU.
    pub(crate) fn set_output(&self, owner: &Self) -> io::Result<()> {
        // SAFETY: takes a descriptor and no pointer.
        done(unsafe { ioctls::SET_OUTPUT(self.0.as_raw_fd(), owner.0.as_raw_fd()) })
    }

    /// Lets only those hits of a tracepoint count that the filter lets through.
    pub(crate) fn set_filter(&self, filter: &str) -> io::Result<()> {
        let filter = CString::new(filter)?;
        // SAFETY: the kernel reads a string that ends with a zero, which lives until the call is over.
        done(unsafe { ioctls::SET_FILTER(self.0.as_raw_fd(), filter.as_ptr().cast_mut()) })
    }

    /// Has a program of the kernel's run with each sample, also of copies that are inherited from now on.
    pub(crate) fn set_bpf(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: takes a descriptor and no pointer.
        done(unsafe { ioctls::SET_BPF(self.0.as_raw_fd(), program.as_raw_fd() as u32) })
    }

    /// The id that its records carry.
    pub(crate) fn id(&self) -> io::Result<u64> {
        let mut id = 0u64;
        // SAFETY: stores one u64 through the pointer, which is valid for the call.
        done(unsafe { ioctls::ID(self.0.as_raw_fd(), &raw mut id) })?;
        Ok(id)
    }

    /// The file, for reading counts, mapping and polling.
    pub(crate) fn file(&self) -> &File {
        &self.0
    }
}

const _: () = assert!(WRITTEN_ATTR_SIZE <= size_of::<perf_event_attr>());

fn done(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just returned this descriptor, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor that becomes readable when the process exits.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: two integers, no pointer.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// Whether two processes have one address space. Not without the permission to trace both, or a kernel that tells.
pub(crate) fn share_memory(one: Pid, other: Pid) -> bool {
    const KCMP_VM: libc::c_int = 1;
    // SAFETY: integers, no pointer.
    unsafe { libc::syscall(libc::SYS_kcmp, one.0, other.0, KCMP_VM, 0, 0) == 0 }
}

/// How the kernel schedules a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scheduling {
    /// `SCHED_OTHER`, `SCHED_FIFO`, ...
    pub(crate) policy: i32,
    pub(crate) nice: i32,
    /// Of real-time policies.
    pub(crate) priority: u32,
    /// How long it runs at a time, of other policies; zero: as usual.
    pub(crate) slice: Duration,
    /// Whether what it starts comes before others as well.
    pub(crate) is_inherited: bool,
}

impl Scheduling {
    /// The same, for this thread alone.
    pub(crate) fn for_one(self) -> Self {
        Self {
            is_inherited: false,
            ..self
        }
    }
}

/// How a thread is scheduled, with the usual slice.
pub(crate) fn scheduling(tid: Tid) -> io::Result<Scheduling> {
    let mut attr = EMPTY_SCHED_ATTR;
    // SAFETY: the kernel writes at most the given size, which is that of the struct, and all bytes are
    // values of its integers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_getattr,
            tid.0,
            &raw mut attr,
            size_of_val(&attr),
            0,
        )
    };
    done(result as libc::c_int)?;
    Ok(Scheduling {
        policy: attr.sched_policy as i32,
        nice: attr.sched_nice,
        priority: attr.sched_priority,
        slice: Duration::ZERO,
        is_inherited: attr.sched_flags & RESET_ON_FORK == 0,
    })
}

/// Has a thread scheduled so.
pub(crate) fn set_scheduling(tid: Tid, scheduling: &Scheduling) -> io::Result<()> {
    let mut attr = libc::sched_attr {
        sched_policy: scheduling.policy as u32,
        sched_flags: if scheduling.is_inherited {
            0
        } else {
            RESET_ON_FORK
        },
        sched_nice: scheduling.nice,
        sched_priority: scheduling.priority,
        sched_runtime: scheduling.slice.as_nanos() as u64,
        ..EMPTY_SCHED_ATTR
    };
    // SAFETY: the struct says its size, lives until the call is over, and the kernel writes to it only its size
    // where it does not know that.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, tid.0, &raw mut attr, 0) };
    done(result as libc::c_int)
}

const RESET_ON_FORK: u64 = libc::SCHED_FLAG_RESET_ON_FORK as u64;
const EMPTY_SCHED_ATTR: libc::sched_attr = libc::sched_attr {
    size: size_of::<libc::sched_attr>() as u32,
    sched_policy: 0,
    sched_flags: 0,
    sched_nice: 0,
    sched_priority: 0,
    sched_runtime: 0,
    sched_deadline: 0,
    sched_period: 0,
};

/// Whether a seccomp filter forbids `perf_event_open` altogether, as Docker's default does: without
/// one, the kernel looks at the attr first and finds a null pointer.
pub fn perf_is_filtered() -> bool {
    // SAFETY: the pointer goes to the kernel only, which copies the attr with a checked access and
    // returns EFAULT for null.
    let result = unsafe { perf_event_open(std::ptr::null_mut(), 0, 0, -1, 0) };
    let error = io::Error::last_os_error().raw_os_error();
    result < 0 && matches!(error, Some(libc::EPERM | libc::ENOSYS))
}

/// Bytes of a page.
pub fn page_size() -> usize {
    // SAFETY: no pointer; `_SC_PAGESIZE` always exists.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// Forks a child that waits until `gate` is readable and then runs `argv`; a gate whose other end,
/// `parents_end`, was closed ends it. If the program cannot be run, the child writes the error
/// number to `report`.
pub(crate) fn fork_and_wait(
    argv: &[CString],
    gate: &OwnedFd,
    report: &OwnedFd,
    parents_end: &OwnedFd,
) -> io::Result<nix::unistd::Pid> {
    let mut pointers: Vec<_> = argv.iter().map(|argument| argument.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let (gate, report) = (gate.as_raw_fd(), report.as_raw_fd());
    let parents_end = parents_end.as_raw_fd();
    // SAFETY: the child calls nothing but async-signal-safe functions, on memory that was prepared
    // above, before it becomes another program or exits.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(child),
        nix::unistd::ForkResult::Child => {
            // SAFETY: as above; `pointers` is a null-terminated array of C strings, and the reads
            // and writes are into and from locals of the given size.
            unsafe {
                let mut mask: libc::sigset_t = std::mem::zeroed();
                libc::sigemptyset(&raw mut mask);
                libc::sigprocmask(libc::SIG_SETMASK, &raw const mask, std::ptr::null_mut());
                libc::signal(libc::SIGPIPE, libc::SIG_DFL);
                libc::close(parents_end); // else our own copy would keep the gate open
                let mut go = 0u8;
                if libc::read(gate, (&raw mut go).cast(), 1) == 1 {
                    libc::execvp(pointers[0], pointers.as_ptr());
                    let error = *libc::__errno_location();
                    libc::write(report, (&raw const error).cast(), size_of_val(&error));
                }
                libc::_exit(127)
            }
        }
    }
}
