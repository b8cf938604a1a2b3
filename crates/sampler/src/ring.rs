//! The memory that the kernel writes records into and we read them from.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use perf_event_open_sys::bindings::perf_event_mmap_page;
use prof_event::{HEADER_SIZE, RawRecord};

use crate::sys::{EventFd, page_size};

/// A ring of records. Positions count bytes since the start of sampling and never wrap.
#[derive(Debug)]
pub(crate) struct Ring {
    page: NonNull<perf_event_mmap_page>,
    mapped: usize,
    data: NonNull<u8>,
    size: usize, // a power of two
    tail: u64,   // everything before it was given back to the kernel
}

// SAFETY: the mapping belongs to this value alone and is not tied to the thread that made it.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps a ring of `size` bytes, a power of two of pages, for an event.
    pub(crate) fn map(owner: &EventFd, size: usize) -> io::Result<Self> {
        let mapped = size + page_size();
        let len = NonZeroUsize::new(mapped).expect("a page is not empty");
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let page = unsafe {
            mmap(
                None,
                len,
                protection,
                MapFlags::MAP_SHARED,
                owner.file().as_fd(),
                0,
            )
        }?
        .cast::<perf_event_mmap_page>();
        // SAFETY: the kernel wrote both fields before `mmap` returned and does not change them.
        let (offset, size) = unsafe {
            let page = page.as_ptr();
            (
                (&raw const (*page).data_offset).read(),
                (&raw const (*page).data_size).read(),
            )
        };
        let (offset, size) = (offset as usize, size as usize);
        assert!(
            size.is_power_of_two() && offset + size <= mapped,
            "the kernel mapped {size} bytes at {offset}"
        );
        // SAFETY: `offset` is inside the mapping, as just checked.
        let data = unsafe { page.cast::<u8>().add(offset) };
        Ok(Self {
            page,
            mapped,
            data,
            size,
            tail: 0,
        })
    }

    /// Bytes of data.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// How far the kernel has written.
    pub(crate) fn head(&self) -> u64 {
        // SAFETY: `page` stays mapped until `Drop`. The kernel stores to `data_head` at any moment,
        // so we touch it only as an atomic and never form a plain reference to it.
        let head = unsafe { AtomicU64::from_ptr(&raw mut (*self.page.as_ptr()).data_head) };
        head.load(Ordering::Acquire) // pairs with the kernel's barrier: records below it are complete
    }

    /// Where the first record lies that was not given back yet.
    pub(crate) fn tail(&self) -> u64 {
        self.tail
    }

    /// Gives everything before `position` back to the kernel.
    pub(crate) fn release(&mut self, position: u64) {
        debug_assert!(self.tail <= position);
        self.tail = position;
        // SAFETY: as in `head`. Only we write `data_tail`.
        let tail = unsafe { AtomicU64::from_ptr(&raw mut (*self.page.as_ptr()).data_tail) };
        tail.store(position, Ordering::Release); // our reads come before the kernel's next writes
    }

    /// The record at `position`, which lies between `tail` and `head`, an earlier answer of
    /// [`Self::head`]. A record that wraps around the end is copied into `scratch`. `None` if the
    /// bytes are no record: the ring is corrupt.
    pub(crate) fn record<'a>(
        &'a self,
        position: u64,
        head: u64,
        scratch: &'a mut Vec<u8>,
    ) -> Option<RawRecord<'a>> {
        let available = head.checked_sub(position)?;
        if position < self.tail || available > self.size as u64 || available < 8 {
            return None;
        }
        // Records are 8-aligned, so a header never wraps.
        let at = (position as usize) & (self.size - 1);
        if at + HEADER_SIZE > self.size {
            return None;
        }
        // SAFETY: the kernel does not write between `tail` and `head` until we release it, which
        // needs `&mut self`; the range lies inside the mapping, as checked.
        let header = unsafe { self.slice(at, HEADER_SIZE) };
        let size = usize::from(u16::from_le_bytes([header[6], header[7]]));
        if size < HEADER_SIZE || size as u64 > available {
            return None;
        }
        if at + size <= self.size {
            // SAFETY: as above.
            return RawRecord::parse(unsafe { self.slice(at, size) }).ok();
        }
        let first = self.size - at;
        scratch.clear();
        // SAFETY: as above, for the two parts.
        unsafe {
            scratch.extend_from_slice(self.slice(at, first));
            scratch.extend_from_slice(self.slice(0, size - first));
        }
        RawRecord::parse(scratch).ok()
    }

    /// # Safety
    /// The range must lie in the data area and between `tail` and `head`.
    unsafe fn slice(&self, at: usize, len: usize) -> &[u8] {
        // SAFETY: the caller's promise; the mapping lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr().add(at), len) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: exactly what `map` mapped; no slice of it outlives `self`. A failure would leak.
        let _ = unsafe { munmap(self.page.cast(), self.mapped) };
    }
}
