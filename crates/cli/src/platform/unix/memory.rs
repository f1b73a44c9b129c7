//! Where memory comes from.

use std::{
    alloc::{GlobalAlloc, Layout},
    ptr,
};

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned,
};

/// What is at least as long begins with a large page, and has them where the system gives any.
const LARGE_BYTES: usize = 2 << 20;
/// The largest alignment that mimalloc gives unasked, to what is at least as long.
const ALIGN_BYTES: usize = 16;

/// Small objects come and go with every request, on any thread: mimalloc costs less than the system's allocator.
///
/// It is asked for an alignment only where it would not give that by itself, since it takes longer to find a place by
/// it. Only large tables have large pages: to find one of a million peers, a processor would else look for the page
/// before it looks at the peer. Room in a buffer that nothing fills takes no memory in small pages, and does in large
/// ones.
#[derive(Debug)]
pub struct Memory;

// SAFETY: it does as mimalloc does, from which all its memory comes.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_usual(layout) {
            // SAFETY: any size will do.
            return unsafe { mi_malloc(layout.size()) }.cast();
        }
        let layout = aligned(layout);
        // SAFETY: the alignment is a power of two.
        let at = unsafe { mi_malloc_aligned(layout.size(), layout.align()) }.cast();
        advise(at, layout);
        at
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_usual(layout) {
            // SAFETY: any size will do.
            return unsafe { mi_zalloc(layout.size()) }.cast();
        }
        let layout = aligned(layout);
        // SAFETY: the alignment is a power of two.
        let at = unsafe { mi_zalloc_aligned(layout.size(), layout.align()) }.cast();
        advise(at, layout);
        at
    }

    unsafe fn dealloc(&self, at: *mut u8, _: Layout) {
        // SAFETY: it was given by mimalloc, which needs no layout to take it back.
        unsafe { mi_free(at.cast()) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller sees to it that the size is a valid one.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if is_usual(new) {
            // SAFETY: it was given by mimalloc.
            return unsafe { mi_realloc(at.cast(), size) }.cast();
        }
        if size < LARGE_BYTES {
            // SAFETY: it was given by mimalloc, with this alignment or a larger one.
            return unsafe { mi_realloc_aligned(at.cast(), size, layout.align()) }.cast();
        }
        // SAFETY: the new place has room for as much as is copied; the old one was given for `layout`.
        unsafe {
            let larger = self.alloc(new);
            if !larger.is_null() {
                ptr::copy_nonoverlapping(at, larger, layout.size().min(size));
                self.dealloc(at, layout);
            }
            larger
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

/// Whether mimalloc gives it the right alignment unasked.
fn is_usual(layout: Layout) -> bool {
    layout.size() < LARGE_BYTES && layout.align() <= ALIGN_BYTES.min(layout.size())
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

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;

    #[test]
    fn what_is_given_is_aligned_and_keeps_its_content_when_it_grows_and_shrinks() {
        const SIZES: [usize; 12] =
            [1, 8, 9, 24, 48, 100, 1000, 1304, 5000, 70_000, LARGE_BYTES, LARGE_BYTES + 1];
        let aligns = (0..=13).map(|power| 1 << power);
        for (align, size, next) in aligns
            .flat_map(|align| SIZES.iter().flat_map(move |&a| SIZES.iter().map(move |&b| (align, a, b))))
        {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: each place is used for what it was given for, and given back once.
            unsafe {
                let zeroed = Memory.alloc_zeroed(layout);
                assert!(slice::from_raw_parts(zeroed, size).iter().all(|&byte| byte == 0), "{layout:?}");
                let place = Memory.alloc(layout);
                place.write_bytes(7, size);
                let moved = Memory.realloc(place, layout, next);
                let kept = slice::from_raw_parts(moved, size.min(next));
                assert!(kept.iter().all(|&byte| byte == 7), "{layout:?} to {next}");
                for at in [zeroed, moved] {
                    assert_eq!(at.addr() % align, 0, "{layout:?} to {next}");
                }
                Memory.dealloc(zeroed, layout);
                Memory.dealloc(moved, Layout::from_size_align(next, align).unwrap());
            }
        }
    }
}
