//! The heap of the static build, and how free memory goes back to the system.
//!
//! A fit needs ten times the memory that its model keeps, and what it frees lies between what it keeps: an allocator that
//! only gives back the end of its heap holds on to all of it. [`purge`] gives back the pages inside free blocks; it is called
//! after each fit. musl's own allocator would cost the model's runtime up to four times the time, so the static build has
//! dlmalloc (`Heap`); glibc has a function for it.
#![expect(unsafe_code, reason = "a global allocator, madvise on its free blocks, and a function of the C library")]

#[cfg(target_env = "musl")]
pub use dl::{Heap, purge};

/// Gives the pages inside free blocks back to the system.
#[cfg(target_env = "gnu")]
pub fn purge() {
    unsafe extern "C" {
        fn malloc_trim(pad: usize) -> i32;
    }
    // SAFETY: glibc's own function; it takes its own locks and may be called at any time.
    unsafe { malloc_trim(0) };
}

/// Other C libraries are left alone.
#[cfg(not(any(target_env = "gnu", target_env = "musl")))]
pub fn purge() {}

#[cfg(target_env = "musl")]
mod dl {
    use std::alloc::{GlobalAlloc, Layout};
    use std::ffi::c_void;
    use std::ptr::null_mut;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use dlmalloc::{Allocator, Dlmalloc};
    use rustix::mm::{Advice, MapFlags, MremapFlags, ProtFlags};

    const PAGE: usize = 4096;
    /// Free blocks are looked for from this size …
    const LARGEST: usize = 1 << 20;
    /// … down to this one: smaller ones hold few whole pages.
    const SMALLEST: usize = 2 * PAGE;
    /// Most free blocks that one call gives back.
    const BLOCKS: usize = 512;

    static HEAP: Mutex<Dlmalloc<Pages>> = Mutex::new(Dlmalloc::new_with_allocator(Pages));
    /// While set the heap gets no new memory: an allocation finds a free block or fails. Changed with the heap locked.
    static CLOSED: AtomicBool = AtomicBool::new(false);

    /// Nothing that panics runs while it is held.
    fn heap() -> MutexGuard<'static, Dlmalloc<Pages>> {
        HEAP.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory from the system.
    struct Pages;

    // SAFETY: plain anonymous mappings; sizes and addresses come from dlmalloc, which got them here.
    unsafe impl Allocator for Pages {
        fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
            if CLOSED.load(Relaxed) {
                return (null_mut(), 0, 0);
            }
            // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
            let mapped = unsafe {
                rustix::mm::mmap_anonymous(null_mut(), size, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
            };
            mapped.map_or((null_mut(), 0, 0), |at| (at.cast(), size, 0))
        }

        fn remap(&self, ptr: *mut u8, old: usize, new: usize, can_move: bool) -> *mut u8 {
            let flags = if can_move { MremapFlags::MAYMOVE } else { MremapFlags::empty() };
            // SAFETY: the range is a mapping made above.
            unsafe { rustix::mm::mremap(ptr.cast(), old, new, flags) }.map_or(null_mut(), <*mut c_void>::cast)
        }

        fn free_part(&self, ptr: *mut u8, old: usize, new: usize) -> bool {
            // SAFETY: the end of a mapping made above, which dlmalloc does not use any more.
            unsafe { rustix::mm::munmap(ptr.add(new).cast(), old - new) }.is_ok()
        }

        fn free(&self, ptr: *mut u8, size: usize) -> bool {
            // SAFETY: a mapping made above, which dlmalloc does not use any more.
            unsafe { rustix::mm::munmap(ptr.cast(), size) }.is_ok()
        }

        fn can_release_part(&self, _flags: u32) -> bool {
            true
        }

        fn allocates_zeros(&self) -> bool {
            true
        }

        fn page_size(&self) -> usize {
            PAGE
        }
    }

    /// dlmalloc as the global allocator.
    #[derive(Debug)]
    pub struct Heap;

    // SAFETY: every call is forwarded to dlmalloc under its lock, with the caller's layout.
    unsafe impl GlobalAlloc for Heap {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: the caller's contract is dlmalloc's.
            unsafe { heap().malloc(layout.size(), layout.align()) }
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            // SAFETY: as above.
            unsafe { heap().calloc(layout.size(), layout.align()) }
        }

        unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
            // SAFETY: `at` came from this heap with this layout.
            unsafe { heap().free(at, layout.size(), layout.align()) }
        }

        unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            // SAFETY: `at` came from this heap with this layout.
            unsafe { heap().realloc(at, layout.size(), layout.align(), size) }
        }
    }

    /// Gives the pages inside free blocks back to the system: takes all free blocks that hold whole pages, tells the kernel
    /// that their content is not needed, and frees them again. Nothing but the lock is waited for.
    pub fn purge() {
        let mut heap = heap();
        let (mut taken, mut count) = ([(null_mut::<u8>(), 0_usize); BLOCKS], 0);
        CLOSED.store(true, Relaxed);
        let mut size = LARGEST;
        while size >= SMALLEST && count < BLOCKS {
            // SAFETY: an allocation like any other; it finds a free block or fails, for the heap is closed.
            let block = unsafe { heap.malloc(size, 16) };
            if block.is_null() {
                size /= 2;
                continue;
            }
            taken[count] = (block, size);
            count += 1;
            let (first, end) = ((block as usize).next_multiple_of(PAGE), (block as usize + size) / PAGE * PAGE);
            if first < end {
                // SAFETY: whole pages inside a block that is ours and holds nothing; they read as zeros from now on.
                let done = unsafe { rustix::mm::madvise(first as *mut c_void, end - first, Advice::LinuxDontNeed) };
                debug_assert!(done.is_ok(), "the pages are mapped");
            }
        }
        for (block, size) in &taken[..count] {
            // SAFETY: taken above, with this size.
            unsafe { heap.free(*block, *size, 16) };
        }
        CLOSED.store(false, Relaxed);
        // SAFETY: the end of the heap and segments that are wholly free go back.
        unsafe { heap.trim(0) };
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_held_stays_as_it_is() {
        let held: Vec<Vec<u8>> = (0..200_u8).map(|i| vec![i; 20_000]).collect();
        let freed: Vec<Vec<u8>> = (0..200_u8).map(|i| vec![i; 20_000]).collect();
        drop(freed);
        super::purge();
        assert!(held.iter().enumerate().all(|(i, v)| v.iter().all(|x| usize::from(*x) == i)));
        let again: Vec<Vec<u8>> = (0..200).map(|_| vec![0; 20_000]).collect();
        assert!(again.iter().flatten().all(|x| *x == 0), "zeroed memory is zero");
    }
}
