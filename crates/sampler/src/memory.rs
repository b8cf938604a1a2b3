use std::io::{self, IoSliceMut};

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use prof_model::{Pid, VirtAddr};

use crate::proc;

/// Reads a process's memory while it runs. Returns how many bytes could be read, counted from the
/// start of `into`.
///
/// # Errors
/// [`io::ErrorKind::PermissionDenied`] without the permission to trace it; another kind if it has
/// ended, or nothing is mapped there.
pub fn read_memory(pid: Pid, addr: VirtAddr, into: &mut [u8]) -> io::Result<usize> {
    let base = usize::try_from(addr.0).map_err(io::Error::other)?;
    let remote = RemoteIoVec {
        base,
        len: into.len(),
    };
    let mut read = |task: i32| {
        let task = nix::unistd::Pid::from_raw(task);
        process_vm_readv(task, &mut [IoSliceMut::new(into)], &[remote])
    };
    match read(pid.0) {
        // Its first thread has ended, perhaps, and others go on.
        Err(Errno::ESRCH) => match proc::living_task(pid) {
            task if task == pid.0 => Err(Errno::ESRCH.into()),
            task => Ok(read(task)?),
        },
        result => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_up_to_where_memory_ends() {
        let bytes = *b"the stack of a thread";
        let us = Pid(std::process::id() as i32);
        let mut read = [0; 21];
        let addr = VirtAddr(bytes.as_ptr() as u64);
        assert_eq!(read_memory(us, addr, &mut read).unwrap(), 21);
        assert_eq!(read, bytes);
        for nowhere in [8, u64::MAX] {
            assert!(read_memory(us, VirtAddr(nowhere), &mut read).is_err());
        }
    }
}
