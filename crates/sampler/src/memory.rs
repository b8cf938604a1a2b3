use std::io::IoSliceMut;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use prof_model::{Pid, VirtAddr};

/// Reads a process's memory while it runs. Returns how many bytes could be read, counted from the
/// start of `into`: none without the permission to trace it.
pub fn read_memory(pid: Pid, addr: VirtAddr, into: &mut [u8]) -> usize {
    let Ok(base) = usize::try_from(addr.0) else {
        return 0;
    };
    let remote = RemoteIoVec {
        base,
        len: into.len(),
    };
    let pid = nix::unistd::Pid::from_raw(pid.0);
    process_vm_readv(pid, &mut [IoSliceMut::new(into)], &[remote]).unwrap_or(0)
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
        assert_eq!((read_memory(us, addr, &mut read), read), (21, bytes));
        assert_eq!(read_memory(us, VirtAddr(8), &mut read), 0);
        assert_eq!(read_memory(us, VirtAddr(u64::MAX), &mut read), 0);
    }
}
