//! The allocator of the shipped binary: mimalloc, with its one setting, and with a note to `fatal` when
//! it has no memory to give. Many threads allocate and free small things, which mimalloc does without
//! contention; but it keeps freed memory for a while, and a memory budget counts what the process
//! holds.

use std::alloc::{GlobalAlloc, Layout};

use mimalloc::MiMalloc;

use crate::fatal::note_refused_allocation;

/// `mi_option_purge_delay`: milliseconds for which freed pages are kept.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Gives freed pages back to the system at once. Attempts free little but large buffers, so this
/// costs nothing that can be measured, and takes a third off the peak.
pub fn give_back_at_once() {
    // SAFETY: the option takes any number, and mimalloc reads it whenever pages are freed.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 0) };
}

/// mimalloc, which tells why a thread that gets no memory aborts.
#[derive(Debug, Clone, Copy)]
pub struct Allocator;

// SAFETY: every call is mimalloc's, with the caller's own arguments and promises; a note is taken of
// null pointers and nothing else.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the one asked for.
        noted(unsafe { MiMalloc.alloc(layout) }, layout.size())
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the one asked for.
        noted(unsafe { MiMalloc.alloc_zeroed(layout) }, layout.size())
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the one asked for.
        unsafe { MiMalloc.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: the caller's promise is the one asked for.
        noted(unsafe { MiMalloc.realloc(block, layout, bytes) }, bytes)
    }
}

#[inline]
fn noted(block: *mut u8, bytes: usize) -> *mut u8 {
    if block.is_null() {
        note_refused_allocation(bytes);
    }
    block
}
