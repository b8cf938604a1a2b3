use std::io::{self, IoSliceMut};

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use prof_model::{Pid, Tid, VirtAddr};

use crate::proc;

/// Reads a process's memory while it runs, through a thread of it that was there just now. Returns how many
/// bytes could be read, counted from the start of `into`.
///
/// # Errors
/// [`io::ErrorKind::PermissionDenied`] without the permission to trace it; another kind if it has
/// ended, or nothing is mapped there.
pub fn read_memory(pid: Pid, tid: Tid, addr: VirtAddr, into: &mut [u8]) -> io::Result<usize> {
    let base = usize::try_from(addr.0).map_err(io::Error::other)?;
    let remote = RemoteIoVec {
        base,
        len: into.len(),
    };
    let mut read = |task: i32| {
        let task = nix::unistd::Pid::from_raw(task);
        process_vm_readv(task, &mut [IoSliceMut::new(into)], &[remote])
    };
    // Its first thread may have ended, and so may this one while others go on. Only the last way asks
    // `/proc` for one of those, which takes longer the more there are.
    let tasks: [&dyn Fn() -> i32; 3] = [&|| tid.0, &|| pid.0, &|| proc::living_task(pid)];
    let mut before = None;
    for task in tasks {
        let task = task();
        if before.replace(task) == Some(task) {
            continue;
        }
        match read(task) {
            Err(Errno::ESRCH) => {}
            result => return Ok(result?),
        }
    }
    Err(Errno::ESRCH.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_up_to_where_memory_ends() {
        let bytes = *b"the stack of a thread";
        let us = std::process::id() as i32;
        let mut read = [0; 21];
        let addr = VirtAddr(bytes.as_ptr() as u64);
        assert_eq!(read_memory(Pid(us), Tid(us), addr, &mut read).unwrap(), 21);
        assert_eq!(read, bytes);
        for nowhere in [8, u64::MAX] {
            assert!(read_memory(Pid(us), Tid(us), VirtAddr(nowhere), &mut read).is_err());
        }
    }

    #[test]
    fn the_memory_is_that_of_any_thread_that_still_runs() {
        let bytes = *b"shared";
        let addr = VirtAddr(bytes.as_ptr() as u64);
        let us = std::process::id() as i32;
        let gone = i32::MAX; // more than there are numbers
        let read = |pid, tid| {
            let mut read = [0; 6];
            read_memory(Pid(pid), Tid(tid), addr, &mut read).map(|_| read)
        };
        assert_eq!(read(gone, us).unwrap(), bytes);
        assert_eq!(read(us, gone).unwrap(), bytes);
        let error = read(gone, gone).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::ESRCH as i32));
    }
}
