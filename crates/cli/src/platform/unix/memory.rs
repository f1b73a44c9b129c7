//! Where memory comes from.

use std::{
    alloc::{GlobalAlloc, Layout},
    ptr,
};

use mimalloc::MiMalloc;

/// What is at least as long begins with a large page, and has them where the system gives any.
const LARGE_BYTES: usize = 2 << 20;

/// Small objects come and go with every request, on any thread: mimalloc costs less than the system's allocator.
///
/// Only large tables have large pages: to find one of a million peers, a processor would else look for the page before
/// it looks at the peer. Room in a buffer that nothing fills takes no memory in small pages, and does in large ones.
#[derive(Debug)]
pub struct Memory;

// SAFETY: it does as mimalloc does, from which all its memory comes.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps to the same rules.
        let at = unsafe { MiMalloc.alloc(aligned(layout)) };
        advise(at, layout);
        at
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let at = unsafe { MiMalloc.alloc_zeroed(aligned(layout)) };
        advise(at, layout);
        at
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: it was given by mimalloc, which needs no layout to take it back.
        unsafe { MiMalloc.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size < LARGE_BYTES {
            // SAFETY: it was given by mimalloc, with this alignment or a larger one.
            return unsafe { MiMalloc.realloc(at, layout, size) };
        }
        // SAFETY: the caller sees to it that the size is a valid one.
        let larger = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the new place has room for as much as is copied; the old one was given for `layout`.
        unsafe {
            let new = self.alloc(larger);
            if !new.is_null() {
                ptr::copy_nonoverlapping(at, new, layout.size().min(size));
                self.dealloc(at, layout);
            }
            new
        }
    }
}

/// Sees to it that the system gives large pages to nothing but what asks for them, in this process and those that it
/// starts. Linux can do that from 6.18 on; before that, what it is set to counts.
pub fn large_pages_on_request() {
    #[cfg(target_os = "linux")]
    {
        /// `PR_THP_DISABLE_EXCEPT_ADVISED`
        const EXCEPT_ADVISED: libc::c_ulong = 1 << 1;
        let (on, unused): (libc::c_ulong, libc::c_ulong) = (1, 0);
        // SAFETY: there are no pointers in it.
        unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, on, EXCEPT_ADVISED, unused, unused) };
    }
}

fn aligned(layout: Layout) -> Layout {
    if layout.size() < LARGE_BYTES { layout } else { layout.align_to(LARGE_BYTES).unwrap_or(layout) }
}

/// Asks for large pages. That the system has none does no harm.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "only Linux is asked"))]
fn advise(at: *mut u8, layout: Layout) {
    #[cfg(target_os = "linux")]
    if layout.size() >= LARGE_BYTES && !at.is_null() {
        // SAFETY: all of it was just given, and this changes nothing that is in it.
        unsafe { libc::madvise(at.cast(), layout.size(), libc::MADV_HUGEPAGE) };
    }
}
