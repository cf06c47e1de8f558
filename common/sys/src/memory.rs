//! Hints to processor and system about memory. They change speed, never meaning.

/// Asks the processor to load the cache line at the start of `place`.
#[inline(always)]
pub fn prefetch<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: SSE is part of every x86-64, and a prefetch of any address has no effect that a
        // program can observe.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Asks the system to back the unused capacity of a large buffer with huge pages, which pays where
/// it will be read at random places. Small buffers are left alone.
pub fn prefer_huge_pages<T>(buffer: &mut Vec<T>) {
    const HUGE_PAGE: usize = 2 << 20;
    let spare = buffer.spare_capacity_mut();
    let start = (spare.as_mut_ptr() as usize).next_multiple_of(HUGE_PAGE);
    let end = spare.as_mut_ptr_range().end as usize / HUGE_PAGE * HUGE_PAGE;
    if start >= end {
        return;
    }
    // SAFETY: the range lies inside one allocation that this function borrows mutably, and
    // MADV_HUGEPAGE changes neither its content nor its protection. Failure means ordinary pages.
    unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_change_nothing() {
        let mut buffer: Vec<u64> = Vec::with_capacity(1 << 20);
        prefer_huge_pages(&mut buffer);
        buffer.extend(0..1 << 20);
        prefetch(&buffer[77]);
        assert_eq!(buffer.iter().sum::<u64>(), (1 << 19) * ((1 << 20) - 1));
        prefer_huge_pages(&mut Vec::<u8>::new());
    }
}
