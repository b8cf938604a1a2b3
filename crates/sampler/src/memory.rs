use std::io::{self, IoSliceMut};

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use prof_model::{Pid, VirtAddr};

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
    let pid = nix::unistd::Pid::from_raw(pid.0);
    Ok(process_vm_readv(
        pid,
        &mut [IoSliceMut::new(into)],
        &[remote],
    )?)
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
