//! Files as bytes. The only `unsafe` of this crate.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// The bytes of a file, mapped read-only, or bytes that were unpacked into memory.
///
/// A mapped file that shrinks while it is being read gives zero bytes behind its new end instead of
/// ending the program with SIGBUS. What parses these bytes must be ready for any content anyway.
pub struct MappedFile {
    bytes: Bytes,
}

enum Bytes {
    Mapped(Mapping),
    Owned(Vec<u8>),
}

struct Mapping {
    start: NonNull<u8>,
    len: usize,
    guard: &'static GuardedRange,
}

// SAFETY: the mapping is read-only and private, belongs to this value alone and lives until `Drop`,
// so that any thread may read it or drop it.
unsafe impl Send for Mapping {}
// SAFETY: as above; no method writes to the mapping.
unsafe impl Sync for Mapping {}

impl MappedFile {
    /// Maps the whole of a regular file; reads it where its file system cannot map.
    ///
    /// # Errors
    /// If it is not a regular file, or cannot be read.
    pub fn open(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let len = usize::try_from(metadata.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if let Some(mapping) = Mapping::new(file, 0, len) {
            return Ok(Self {
                bytes: Bytes::Mapped(mapping),
            });
        }
        let mut bytes = Vec::new();
        file.take(metadata.len()).read_to_end(&mut bytes)?;
        Ok(Self::from_bytes(bytes))
    }

    /// Maps a part of a regular file; `None` where its file system cannot map, or if `offset` is no
    /// multiple of the page size.
    pub fn open_part(file: &File, offset: u64, len: usize) -> Option<Self> {
        Some(Self {
            bytes: Bytes::Mapped(Mapping::new(file, offset, len)?),
        })
    }

    /// Bytes that are in memory already.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self {
            bytes: Bytes::Owned(bytes),
        }
    }

    /// A copy of the vDSO that the kernel mapped into this very process.
    pub fn own_vdso() -> Option<Self> {
        // SAFETY: getauxval reads a table that the kernel filled before `main`.
        let start = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
        let start = usize::try_from(start).ok().filter(|&start| start != 0)?;
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let end = maps.lines().find_map(|line| {
            let (first, rest) = line.split_once('-')?;
            let (end, _) = rest.split_once(' ')?;
            (usize::from_str_radix(first, 16) == Ok(start))
                .then(|| usize::from_str_radix(end, 16).ok())?
        })?;
        let len = end.checked_sub(start)?;
        // SAFETY: `/proc/self/maps` lists `start..end` as one mapping, which is the vDSO: readable,
        // never written, and never unmapped by this program.
        let image = unsafe { std::slice::from_raw_parts(start as *const u8, len) };
        Some(Self::from_bytes(image.to_vec()))
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        match &self.bytes {
            // SAFETY: `start..start + len` stays mapped and readable until `Drop`, which needs
            // `&mut self`. Others may write to the file and so change these bytes; a file that is
            // mapped as program text is not written but replaced, and every reader here checks what
            // it reads on each use.
            Bytes::Mapped(map) => unsafe {
                std::slice::from_raw_parts(map.start.as_ptr(), map.len)
            },
            Bytes::Owned(bytes) => bytes,
        }
    }
}

impl fmt::Debug for MappedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MappedFile({} bytes)", self.as_ref().len())
    }
}

impl Mapping {
    fn new(file: &File, offset: u64, len: usize) -> Option<Self> {
        if len == 0 {
            return None;
        }
        let offset = libc::off_t::try_from(offset).ok()?;
        install_handler();
        // SAFETY: a new mapping at an address of the kernel's choice; nothing else uses it.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ,
                libc::MAP_PRIVATE,
                file.as_raw_fd(),
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return None;
        }
        Some(Self {
            start: NonNull::new(start.cast())?,
            len,
            guard: GuardedRange::acquire(start as usize, len),
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.guard.release();
        // SAFETY: exactly the range that `new` mapped; no slice of it can outlive this value. A
        // failure would leave it mapped, which harms nobody.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// A shared file as a `gimli` reader wants it: cheap to clone, never moving.
#[derive(Clone, Debug)]
pub(crate) struct SharedBytes(pub(crate) Arc<MappedFile>);

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

// SAFETY: the bytes lie in a mapping or on the heap behind the `Arc`, and `MappedFile` has no method
// that moves or frees them while the `Arc` lives; moving the `Arc` itself does not move them.
unsafe impl gimli::StableDeref for SharedBytes {}
// SAFETY: a clone shares the `Arc`, so it dereferences to the same bytes.
unsafe impl gimli::CloneStableDeref for SharedBytes {}

/// One entry of the list of our mappings, which the signal handler walks.
///
/// Entries are never freed but used again, so that the handler needs no lock; there are at most as
/// many as files were mapped at one time.
struct GuardedRange {
    start: AtomicUsize, // usize::MAX while unused
    end: AtomicUsize,
    next: *const GuardedRange, // not written once the entry is in the list
}

// SAFETY: `start` and `end` are atomics; `next` is written before the entry is published and points
// to an entry that is never freed.
unsafe impl Sync for GuardedRange {}

static RANGES: AtomicPtr<GuardedRange> = AtomicPtr::new(ptr::null_mut());
static UNUSED: Mutex<Vec<&'static GuardedRange>> = Mutex::new(Vec::new());
static PAGE_SIZE: AtomicUsize = AtomicUsize::new(0);
static PREVIOUS: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());
static INSTALL: Once = Once::new();

impl GuardedRange {
    fn acquire(start: usize, len: usize) -> &'static Self {
        let mut unused = UNUSED.lock().unwrap_or_else(|poison| poison.into_inner());
        if let Some(range) = unused.pop() {
            range.end.store(start + len, Ordering::Release);
            range.start.store(start, Ordering::Release); // last: from here on the entry matches
            return range;
        }
        let range = Box::leak(Box::new(Self {
            start: AtomicUsize::new(start),
            end: AtomicUsize::new(start + len),
            next: RANGES.load(Ordering::Acquire), // only changed under the lock that we hold
        }));
        RANGES.store(range, Ordering::Release); // pairs with the handler's load: `next` is written
        range
    }

    fn release(&'static self) {
        let mut unused = UNUSED.lock().unwrap_or_else(|poison| poison.into_inner());
        self.start.store(usize::MAX, Ordering::Release);
        unused.push(self);
    }

    fn covers(&self, addr: usize) -> bool {
        let start = self.start.load(Ordering::Acquire);
        start <= addr
            && addr < self.end.load(Ordering::Acquire)
            && self.start.load(Ordering::Acquire) == start // not reused in between
    }
}

fn is_ours(addr: usize) -> bool {
    let mut next: *const GuardedRange = RANGES.load(Ordering::Acquire);
    // SAFETY: every pointer in the list is null or an entry that is never freed.
    while let Some(range) = unsafe { next.as_ref() } {
        if range.covers(addr) {
            return true;
        }
        next = range.next;
    }
    false
}

fn install_handler() {
    // SAFETY: sysconf and sigaction are given valid arguments; all-zero bytes are a valid
    // `sigaction`. The old action is stored before the new one can run, and never freed. The new
    // handler only does what a signal handler may.
    INSTALL.call_once(|| unsafe {
        let page_size = libc::sysconf(libc::_SC_PAGESIZE);
        PAGE_SIZE.store(
            usize::try_from(page_size).unwrap_or(4096),
            Ordering::Release,
        );
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut old);
        PREVIOUS.store(Box::into_raw(Box::new(old)), Ordering::Release);
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = on_sigbus as *const () as usize;
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut new.sa_mask);
        libc::sigaction(libc::SIGBUS, &raw const new, ptr::null_mut());
    });
}

/// Puts a page of zeros where a file of ours has none any more; leaves other faults to whoever was
/// responsible before.
extern "C" fn on_sigbus(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel passes a valid `siginfo_t` to a handler with SA_SIGINFO; for a fault
    // (positive code) it holds the address. errno is this thread's own, put back before returning.
    unsafe {
        let addr = (*info).si_addr() as usize;
        if (*info).si_code > 0 && is_ours(addr) {
            let errno = *libc::__errno_location();
            let page_size = PAGE_SIZE.load(Ordering::Acquire);
            let page = libc::mmap(
                (addr & !(page_size - 1)) as *mut libc::c_void,
                page_size,
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            );
            *libc::__errno_location() = errno;
            if page != libc::MAP_FAILED {
                return;
            }
        }
        hand_on(signal, info, context);
    }
}

/// Does what would have happened without our handler.
///
/// # Safety
/// Only from a signal handler, with the arguments that the kernel passed to it.
unsafe fn hand_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: `PREVIOUS` was set, before this handler was installed, to a `sigaction` that is never
    // freed. A handler in it has the signature that its SA_SIGINFO flag tells.
    unsafe {
        let previous = PREVIOUS.load(Ordering::Acquire);
        let handler = (*previous).sa_sigaction;
        if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
            libc::sigaction(signal, previous, ptr::null_mut());
            libc::raise(signal); // pending until our handler returns
        } else if (*previous).sa_flags & libc::SA_SIGINFO != 0 {
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                std::mem::transmute(handler);
            handler(signal, info, context);
        } else {
            let handler: extern "C" fn(libc::c_int) = std::mem::transmute(handler);
            handler(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_that_shrinks_reads_as_zeros_behind_its_new_end() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; 5 * 65536]).unwrap();
        let mapped = MappedFile::open(&file).unwrap();
        file.set_len(65536).unwrap();
        let bytes = mapped.as_ref();
        assert_eq!(bytes.len(), 5 * 65536);
        assert_eq!((bytes[0], bytes[65535]), (7, 7));
        assert_eq!((bytes[65536], bytes[5 * 65536 - 1]), (0, 0));
    }

    #[test]
    fn entries_of_unmapped_files_are_used_again() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[1; 100]).unwrap();
        for _ in 0..100 {
            assert_eq!(MappedFile::open(&file).unwrap().as_ref(), [1; 100]);
        }
        let mut entries = 0;
        let mut next: *const GuardedRange = RANGES.load(Ordering::Acquire);
        // SAFETY: every pointer in the list is null or an entry that is never freed.
        while let Some(range) = unsafe { next.as_ref() } {
            entries += 1;
            next = range.next;
        }
        assert!(
            entries < 100,
            "{entries} entries for a few mappings at a time"
        );
    }

    #[test]
    fn an_empty_file_has_no_bytes_and_a_directory_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(MappedFile::open(&file).unwrap().as_ref(), b"");
        assert!(MappedFile::open(&File::open("/").unwrap()).is_err());
    }

    #[test]
    fn the_vdso_of_this_process_is_an_elf_image() {
        let vdso = MappedFile::own_vdso().unwrap();
        assert_eq!(&vdso.as_ref()[..4], b"\x7fELF");
    }
}
