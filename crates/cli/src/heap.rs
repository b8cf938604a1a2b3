//! The heap of commands that read a whole recording, print, and end; where it is that of the GNU C library.
#![allow(unsafe_code)] // its parameters are set by the C library

use libc::c_int;

/// So much address space the heap takes at once. It costs memory only where it is used.
const HEAP: c_int = 64 << 20;
/// By so much it grows once all of that is used.
const STEP: c_int = 1 << 20;
/// What is larger lies outside the heap: there it can grow without being copied.
const LARGE: c_int = 4 << 20;
const LARGE_PAGE: usize = 2 << 20;

/// Gives the heap large pages, and lets it keep what is freed: to touch five thousand small pages for
/// the first time takes as long as to aggregate a hundred thousand samples.
///
/// All threads share this heap; call it before there are any. Where the kernel has no large pages nothing
/// changes.
pub fn use_large_pages() {
    set(libc::M_ARENA_MAX, 1);
    set(libc::M_MMAP_THRESHOLD, LARGE);
    set(libc::M_TRIM_THRESHOLD, c_int::MAX);
    set(libc::M_TOP_PAD, HEAP);
    // SAFETY: the block is not used, and freed once. The advice is about pages, not about what they hold,
    // whatever lies there; where nothing does it is refused.
    unsafe {
        let block = libc::malloc(STEP as usize); // more than a heap has left when a program starts
        libc::free(block);
        let start = block.map_addr(|addr| addr.next_multiple_of(LARGE_PAGE));
        libc::madvise(start, HEAP as usize, libc::MADV_HUGEPAGE);
    }
    set(libc::M_TOP_PAD, STEP);
}

/// Sets a parameter of the heap; a value that it does not take changes nothing.
fn set(parameter: c_int, value: c_int) {
    // SAFETY: no pointers; the heap reads its parameters under its own lock.
    unsafe { libc::mallopt(parameter, value) };
}
