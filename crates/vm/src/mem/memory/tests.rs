//! Tests of memories and of the slots under them: sizes, images, and that nothing leaks from one
//! user to the next.

use super::*;
use crate::mem::ImageToken;
use crate::os::pages::sealed_memfd;
use sarsen_abi::Settings;
use sarsen_abi::types::IndexType;
use std::fs::File;
use std::os::fd::AsFd;

const WASM_PAGE: u64 = 64 << 10;

fn pool() -> Arc<SlotPool> {
    Arc::new(SlotPool::new(Settings::default()))
}

fn small_pool(reservation_pages: u64) -> Arc<SlotPool> {
    Arc::new(SlotPool::new(Settings {
        memory_reservation: reservation_pages * WASM_PAGE,
        memory_guard: WASM_PAGE,
        ..Settings::default()
    }))
}

fn ty(minimum: u64, maximum: Option<u64>) -> MemoryType {
    MemoryType {
        index: IndexType::I32,
        shared: false,
        minimum,
        maximum,
        page_size_log2: 16,
    }
}

fn memory(pool: &Arc<SlotPool>, pages: u64) -> LinearMemory {
    LinearMemory::new_for_host(pool, ty(pages, None)).unwrap()
}

fn contents(memory: &LinearMemory) -> &[u8] {
    // SAFETY: there is no compiled code, and no other user.
    unsafe { memory.data() }
}

fn assert_zero(memory: &LinearMemory, why: &str) {
    assert!(contents(memory).iter().all(|&b| b == 0), "{why}");
}

fn scribble(memory: &mut LinearMemory) {
    // SAFETY: there is no compiled code, and no other user.
    unsafe { memory.data_mut() }.fill(0xaa);
}

/// An image of `pages` system pages, each filled with its number plus `first`.
struct Image {
    token: ImageToken,
    bytes: Vec<u8>,
    file: File,
}

impl Image {
    fn new(pool: &Arc<SlotPool>, pages: usize, first: u8) -> Image {
        let bytes: Vec<u8> = (0..pages)
            .flat_map(|i| [first + i as u8; PAGE_SIZE])
            .collect();
        // The file has a page before the image.
        let file = sealed_memfd("image", &[&[0xee; PAGE_SIZE], &*bytes].concat()).unwrap();
        Image {
            token: ImageToken::new(pool),
            bytes,
            file,
        }
    }

    fn source(&self, page: u64) -> ImageSource<'_> {
        ImageSource {
            token: &self.token,
            address: page * PAGE_SIZE as u64,
            bytes: &self.bytes,
            file: Some((self.file.as_fd(), PAGE_SIZE as u64)),
        }
    }
}

fn with_image(pool: &Arc<SlotPool>, pages: u64, image: ImageSource<'_>) -> LinearMemory {
    let cell = Cell::owned(NOWHERE);
    LinearMemory::with_cell(pool, ty(pages, None), Some(image), cell).unwrap()
}

fn assert_has_image(memory: &LinearMemory, image: &Image, page: u64, why: &str) {
    let start = page as usize * PAGE_SIZE;
    let end = start + image.bytes.len();
    let bytes = contents(memory);
    assert!(bytes[..start].iter().all(|&b| b == 0), "before: {why}");
    assert!(bytes[start..end] == *image.bytes, "image: {why}");
    assert!(bytes[end..].iter().all(|&b| b == 0), "after: {why}");
}

#[test]
fn nothing_of_one_user_is_seen_by_the_next() {
    let pool = pool();
    // Small ones are reset by writing, large ones by giving pages back; mixed so that each follows
    // each, and grown ones precede small ones.
    for sizes in [[1, 1, 1], [2, 1, 2], [40, 1, 40], [1, 40, 2], [0, 3, 0]] {
        for pages in sizes {
            let mut m = memory(&pool, pages);
            assert_zero(&m, "a new memory");
            scribble(&mut m);
            m.grow(3).unwrap();
            assert!(
                contents(&m)[(pages * WASM_PAGE) as usize..]
                    .iter()
                    .all(|&b| b == 0)
            );
            scribble(&mut m);
        }
    }
}

#[test]
fn nothing_of_one_user_is_seen_by_the_next_with_images() {
    let pool = pool();
    let images = [
        Image::new(&pool, 1, 10),
        Image::new(&pool, 30, 20),
        Image::new(&pool, 35, 100),
    ];
    // Every transition between image and image, other image, and none, small and large.
    let users: Vec<(Option<usize>, u64)> = [None, Some(0), Some(1), Some(2)]
        .into_iter()
        .flat_map(|image| [(image, 3), (image, 12)])
        .collect();
    for &first in &users {
        for &second in &users {
            for (image, pages) in [first, second, first] {
                let why = format!("{first:?} then {second:?}");
                let mut m = match image {
                    None => {
                        let m = memory(&pool, pages);
                        assert_zero(&m, &why);
                        m
                    }
                    Some(i) => {
                        let m = with_image(&pool, pages, images[i].source(2));
                        assert_has_image(&m, &images[i], 2, &why);
                        m
                    }
                };
                scribble(&mut m);
                m.grow(1).unwrap();
                scribble(&mut m);
            }
        }
    }
}

#[test]
fn instances_of_one_image_do_not_see_each_other() {
    let pool = pool();
    let image = Image::new(&pool, 20, 1);
    let mut a = with_image(&pool, 4, image.source(0));
    let b = with_image(&pool, 4, image.source(0));
    scribble(&mut a);
    assert_has_image(&b, &image, 0, "the other one was written");
}

#[test]
fn a_dropped_image_is_forgotten_by_idle_slots() {
    let pool = pool();
    let image = Image::new(&pool, 20, 1);
    drop(with_image(&pool, 4, image.source(0)));
    let base = with_image(&pool, 4, image.source(0)).base();
    assert_eq!(
        with_image(&pool, 4, image.source(0)).base(),
        base,
        "the slot that has the image is preferred"
    );
    drop(image);
    assert_zero(&memory(&pool, 4), "the image is gone");
}

#[test]
fn what_lies_past_the_length_is_inaccessible_after_recycling() {
    let pool = pool();
    let mut big = memory(&pool, 5);
    scribble(&mut big);
    let base = big.base();
    drop(big);
    let small = memory(&pool, 1);
    assert_eq!(small.base(), base, "recycled");
    // A system call that would write there fails where an access would fault.
    let past = small.base().wrapping_add(small.size_bytes());
    assert!(!is_accessible(past));
    assert!(is_accessible(past.wrapping_sub(1)));
    assert!(!is_accessible(base.wrapping_sub(1)));
    assert!(!is_accessible(base.wrapping_add((4 << 30) - 1)));
    assert!(!is_accessible(base.wrapping_add((4 << 30) + (31 << 20))));
    assert!(small.contains(base.addr() + (4 << 30) + (31 << 20)));
    assert!(small.contains(base.addr() - 1));
}

/// Compiled code leaves an access's offset and size to what is inaccessible after the length.
#[test]
fn what_lies_past_the_length_is_inaccessible_in_every_style() {
    let index_64 = MemoryType {
        index: IndexType::I64,
        ..ty(2, None)
    };
    for (pool, ty) in [
        (pool(), index_64),
        (small_pool(16), ty(2, Some(8))),
        (small_pool(16), ty(2, None)),
    ] {
        let make = |minimum| {
            let ty = MemoryType { minimum, ..ty };
            LinearMemory::new_for_host(&pool, ty).unwrap()
        };
        let mut big = make(2);
        big.grow(3).unwrap();
        scribble(&mut big);
        let base = big.base();
        drop(big);
        for minimum in [1, 0] {
            let small = make(minimum);
            let style = small.style();
            assert_eq!(small.base(), base, "recycled, {style:?}");
            let past = base.wrapping_add(small.size_bytes());
            assert!(!is_accessible(past), "{minimum} pages, {style:?}");
        }
    }
}

fn is_accessible(address: *mut u8) -> bool {
    let file = sealed_memfd("probe", b"x").unwrap();
    // SAFETY: `pread` checks the address, and writes a byte that no reference covers.
    let read = unsafe { libc::pread(std::os::fd::AsRawFd::as_raw_fd(&file), address.cast(), 1, 0) };
    read == 1
}

#[test]
fn growing_stops_at_the_maximum_and_changes_nothing_then() {
    let pool = pool();
    let mut m = LinearMemory::new_for_host(&pool, ty(1, Some(3))).unwrap();
    assert_eq!(m.style(), MemoryStyle::Reserved);
    let base = m.base();
    assert_eq!(m.grow(2).unwrap(), 1);
    assert!(matches!(m.grow(1), Err(MemoryError::TooLarge { pages: 4 })));
    assert!(m.grow(u64::MAX).is_err());
    assert_eq!(m.grow(0).unwrap(), 3);
    assert_eq!((m.size_pages(), m.base()), (3, base));
    // SAFETY: the cell lives as long as the memory.
    let cell = unsafe { m.vm().read() };
    assert_eq!(cell.length as u64, 3 * WASM_PAGE);
}

#[test]
fn a_memory_can_grow_to_four_gigabytes_and_no_further() {
    let pool = pool();
    let mut m = memory(&pool, 0);
    assert_eq!(m.grow(65_536).unwrap(), 0);
    m.write((4 << 30) - 1, &[7]).unwrap();
    assert_eq!(m.write(4 << 30, &[7]), Err(OutOfBounds));
    assert!(m.grow(1).is_err());
}

#[test]
fn a_movable_memory_keeps_its_contents_when_it_moves() {
    let pool = small_pool(2);
    let mut m = LinearMemory::new_for_host(
        &pool,
        MemoryType {
            index: IndexType::I64,
            ..ty(1, None)
        },
    )
    .unwrap();
    assert_eq!(m.style(), MemoryStyle::Movable);
    for page in 1..40 {
        m.write(page * WASM_PAGE - 1, &[page as u8]).unwrap();
        m.grow(1).unwrap();
        for earlier in 1..=page {
            let mut byte = [0];
            m.read(earlier * WASM_PAGE - 1, &mut byte).unwrap();
            assert_eq!(byte, [earlier as u8]);
        }
        assert!(m.contains(m.base().addr()));
    }
    drop(m);
    assert_zero(&memory(&pool, 2), "recycled after a move");
}

#[test]
fn a_checked_memory_has_room_for_its_maximum_and_never_moves() {
    let pool = small_pool(8);
    let mut m = LinearMemory::new_for_host(&pool, ty(1, Some(8))).unwrap();
    assert_eq!(m.style(), MemoryStyle::Checked);
    let base = m.base();
    m.grow(7).unwrap();
    assert_eq!(m.base(), base);
    scribble(&mut m);
    drop(m);
    // Larger than its length may be accessible here, but it is zero all the same.
    let mut m = LinearMemory::new_for_host(&pool, ty(1, Some(8))).unwrap();
    m.grow(7).unwrap();
    assert_zero(&m, "recycled");
}

#[test]
fn sizes_that_no_machine_has_are_refused() {
    let pool = pool();
    let huge = MemoryType {
        index: IndexType::I64,
        ..ty(1 << 47, None)
    };
    assert!(LinearMemory::new_for_host(&pool, huge).is_err());
    let mut m = LinearMemory::new_for_host(&pool, MemoryType { minimum: 1, ..huge }).unwrap();
    assert!(m.grow(1 << 47).is_err());
    assert!(m.grow(1 << 40).is_err());
    assert_eq!(m.size_pages(), 1);
}

#[test]
fn memories_with_pages_of_one_byte_have_their_exact_length() {
    let pool = pool();
    let mut m = LinearMemory::new_for_host(
        &pool,
        MemoryType {
            page_size_log2: 0,
            ..ty(10, Some(5000))
        },
    )
    .unwrap();
    assert_eq!(m.size_bytes(), 10);
    assert_eq!(m.write(9, &[1, 2]), Err(OutOfBounds));
    m.grow(4990).unwrap();
    m.write(4998, &[1, 2]).unwrap();
    assert!(m.grow(1).is_err());
}

#[test]
fn slots_are_recycled_across_threads_without_leaks() {
    let pool = pool();
    let image = Image::new(&pool, 20, 1);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (pool, image) = (&pool, &image);
            scope.spawn(move || {
                for round in 0..300 {
                    let pages = 2 + (round + thread) % 3;
                    let mut m = if round % 2 == 0 {
                        let m = with_image(pool, pages, image.source(1));
                        assert_has_image(&m, image, 1, "another thread's slot");
                        m
                    } else {
                        let m = memory(pool, pages);
                        assert_zero(&m, "another thread's slot");
                        m
                    };
                    scribble(&mut m);
                }
            });
        }
    });
}
