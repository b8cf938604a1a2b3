//! bpf(2): maps and a program of the kernel's virtual machine.

use std::ffi::CStr;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const PROG_LOAD: libc::c_int = 5;

/// Of programs that run when a perf event overflows.
const PERF_EVENT_PROGRAM: u32 = 7;
/// What the kernel wants to be told before a program may call helpers that it gives to GPL-compatible ones only.
const LICENSE: &CStr = c"Dual MIT/GPL";

/// Kinds of maps, by the kernel's numbers.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum MapKind {
    Array = 2,
    /// Programs that others go on with.
    ProgramArray = 3,
    /// Events that a program writes into, by CPU.
    PerfEventArray = 4,
    /// Forgets what was not asked for longest when it is full.
    LruHash = 9,
}

/// The fields of `union bpf_attr` for a new map.
#[repr(C)]
struct NewMap {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
    flags: u32,
}

/// The same for a map's entry that is set.
#[repr(C)]
struct SetEntry {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The same for a program.
#[repr(C)]
struct NewProgram {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// A map from `K` to `V`.
#[derive(Debug)]
pub(super) struct Map<K, V> {
    fd: OwnedFd,
    entry: PhantomData<(K, V)>,
}

impl<K, V> Map<K, V> {
    /// Makes a map with room for so many entries.
    pub(super) fn new(kind: MapKind, entries: u32) -> io::Result<Self> {
        let attr = NewMap {
            kind: kind as u32,
            key_bytes: size_of::<K>() as u32,
            value_bytes: size_of::<V>() as u32,
            entries,
            flags: 0,
        };
        // SAFETY: no field of this command's is a pointer.
        let fd = unsafe { bpf(MAP_CREATE, &attr) }?;
        Ok(Self {
            fd: owned(fd),
            entry: PhantomData,
        })
    }

    /// The map, for a program to use.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<K: Number, V: Number> Map<K, V> {
    /// Sets an entry.
    pub(super) fn set(&self, key: K, value: V) -> io::Result<()> {
        let attr = SetEntry {
            map: self.fd.as_raw_fd() as u32,
            padding: 0,
            key: (&raw const key) as u64,
            value: (&raw const value) as u64,
            flags: 0,
        };
        // SAFETY: the kernel reads the sizes of a `K` and a `V`, with which the map was made, at the pointers
        // to one each, which live for the call. Numbers have no bytes that are not set.
        unsafe { bpf(MAP_UPDATE_ELEM, &attr) }.map(drop)
    }
}

/// What is set as a key or a value.
pub(super) trait Number {}
impl Number for u32 {}
impl Number for u64 {}

/// Has the kernel check and compile a program.
pub(super) fn load(instructions: &[u64]) -> io::Result<OwnedFd> {
    let attr = NewProgram {
        kind: PERF_EVENT_PROGRAM,
        instruction_count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: 0,
        log_bytes: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads 8 bytes for each instruction of the slice, and a C string; both live for the
    // call. It writes no log where none is asked for.
    let fd = unsafe { bpf(PROG_LOAD, &attr) }?;
    Ok(owned(fd))
}

/// # Safety
/// The pointers among the fields of `attr` must be valid for what the command does with them.
unsafe fn bpf<A>(command: libc::c_int, attr: &A) -> io::Result<RawFd> {
    // SAFETY: the kernel reads as many bytes of `attr` as it is told; what they point to is the caller's
    // promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr as *const A, size_of::<A>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(io::Error::other)
}

fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just returned this descriptor, so nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
