//! Blocks of memory for vmctx, recycled per engine.
//!
//! Blocks are of size classes (powers of two from 256 bytes to 1 MiB); larger ones come from the
//! allocator each time. Every block is zeroed when it is handed out, so nothing of an instance that
//! is gone shows. A class keeps a bounded number of idle blocks.
//!
//! Caller: `instance`, for each instance's vmctx.

use std::alloc::{self, Layout};
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, PoisonError};

/// The alignment of every block, in bytes. Compiled code wants 16; a cache line costs nothing more.
const ALIGNMENT: usize = 64;

const SMALLEST_LOG2: u32 = 8;
const LARGEST_LOG2: u32 = 20;
const CLASSES: usize = (LARGEST_LOG2 - SMALLEST_LOG2 + 1) as usize;

/// Idle memory that a class keeps, in bytes, and never fewer than [`IDLE_BLOCKS_AT_LEAST`] blocks.
const IDLE_BYTES: usize = 256 << 10;
const IDLE_BLOCKS_AT_LEAST: usize = 4;

/// A source of zeroed blocks.
#[derive(Debug)]
pub struct BlockPool {
    idle: [Mutex<Vec<RawBlock>>; CLASSES],
}

/// Memory from the allocator; freed when dropped.
#[derive(Debug)]
struct RawBlock {
    at: NonNull<u8>,
    layout: Layout,
}

// SAFETY: memory belongs to no thread.
unsafe impl Send for RawBlock {}
// SAFETY: as above; shared access gives out addresses only.
unsafe impl Sync for RawBlock {}

impl RawBlock {
    fn new_zeroed(size: usize) -> RawBlock {
        let layout = Layout::from_size_align(size, ALIGNMENT).expect("vmctx sizes fit 32 bits");
        // SAFETY: the layout's size is not zero.
        let at = unsafe { alloc::alloc_zeroed(layout) };
        let Some(at) = NonNull::new(at) else {
            alloc::handle_alloc_error(layout)
        };
        RawBlock { at, layout }
    }
}

impl Drop for RawBlock {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { alloc::dealloc(self.at.as_ptr(), self.layout) }
    }
}

/// A zeroed block, aligned for a vmctx. Goes back to its pool when dropped.
#[derive(Debug)]
pub struct Block {
    /// `None` only while dropping.
    raw: Option<RawBlock>,
    size: usize,
    pool: Arc<BlockPool>,
}

/// The class for blocks of `size` bytes, or `None` when they are not pooled.
fn class(size: usize) -> Option<usize> {
    let log2 = size.next_power_of_two().ilog2().max(SMALLEST_LOG2);
    (log2 <= LARGEST_LOG2).then(|| (log2 - SMALLEST_LOG2) as usize)
}

impl Default for BlockPool {
    fn default() -> Self {
        BlockPool {
            idle: std::array::from_fn(|_| Mutex::new(Vec::new())),
        }
    }
}

impl BlockPool {
    /// Hands out a block of at least `size` zero bytes.
    pub fn allocate(self: &Arc<Self>, size: usize) -> Block {
        let raw = match class(size) {
            None => RawBlock::new_zeroed(size.next_multiple_of(ALIGNMENT)),
            Some(class) => match self.pop(class) {
                Some(raw) => {
                    // SAFETY: an idle block is nobody's, and at least as large as its class.
                    unsafe { ptr::write_bytes(raw.at.as_ptr(), 0, size) };
                    raw
                }
                None => RawBlock::new_zeroed(1 << (class as u32 + SMALLEST_LOG2)),
            },
        };
        Block {
            raw: Some(raw),
            size,
            pool: self.clone(),
        }
    }

    fn pop(&self, class: usize) -> Option<RawBlock> {
        let mut idle = self.idle[class]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        idle.pop()
    }

    fn give_back(&self, raw: RawBlock) {
        let Some(class) = class(raw.layout.size()) else {
            return;
        };
        let limit = (IDLE_BYTES >> (class as u32 + SMALLEST_LOG2)).max(IDLE_BLOCKS_AT_LEAST);
        let mut idle = self.idle[class]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if idle.len() < limit {
            idle.push(raw);
        } else {
            drop(idle);
            drop(raw);
        }
    }
}

impl Block {
    /// The first byte, aligned to at least 16 bytes.
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.raw.as_ref().expect("present until dropped").at
    }

    /// The size that was asked for, in bytes.
    pub fn size(&self) -> usize {
        self.size
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(raw) = self.raw.take() {
            self.pool.give_back(raw);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(block: &Block) -> &[u8] {
        // SAFETY: the block is alive and at least this large.
        unsafe { std::slice::from_raw_parts(block.as_ptr().as_ptr(), block.size()) }
    }

    fn scribble(block: &Block) {
        // SAFETY: the block is alive and at least this large, and only we use it.
        unsafe { ptr::write_bytes(block.as_ptr().as_ptr(), 0xaa, block.size()) }
    }

    #[test]
    fn a_recycled_block_shows_nothing_of_its_last_user() {
        let pool = Arc::new(BlockPool::default());
        for size in [1, 100, 256, 257, 5000, 1 << 20, (1 << 20) + 1] {
            for _ in 0..3 {
                let block = pool.allocate(size);
                assert_eq!(block.size(), size);
                assert!(block.as_ptr().as_ptr().addr().is_multiple_of(16));
                assert!(contents(&block).iter().all(|&b| b == 0));
                scribble(&block);
            }
        }
    }

    #[test]
    fn a_smaller_user_does_not_leave_a_larger_ones_bytes() {
        let pool = Arc::new(BlockPool::default());
        scribble(&pool.allocate(512));
        drop(pool.allocate(300));
        assert!(contents(&pool.allocate(512)).iter().all(|&b| b == 0));
    }

    #[test]
    fn blocks_are_recycled_and_idle_ones_bounded() {
        let pool = Arc::new(BlockPool::default());
        let first = pool.allocate(400).as_ptr();
        assert_eq!(pool.allocate(500).as_ptr(), first);
        let many: Vec<_> = (0..1000).map(|_| pool.allocate(1 << 16)).collect();
        drop(many);
        let class = class(1 << 16).unwrap();
        assert_eq!(pool.idle[class].lock().unwrap().len(), 4);
    }
}
