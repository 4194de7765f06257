//! Laying out data segments: initial memory contents that can be mapped, and the rest.
//!
//! ```text
//!   image's data section
//!   +---------------------------+ 0
//!   | image of memory a         |   page-aligned: mapped copy-on-write at instantiation
//!   | image of memory b         |
//!   +---------------------------+
//!   | other segments, in order  |   copied at instantiation, or by memory.init
//!   +---------------------------+
//! ```
//!
//! # When a memory gets an image
//!
//! Instantiation applies active segments in order and stops at the first that does not fit (core
//! specification, §4.7.3 "Instantiation"). With an image a memory has all of its contents at once,
//! so nobody may be able to tell:
//!
//! - The memory is the module's own, all of its active segments have constant offsets, and all fit
//!   its minimum size: they cannot fail.
//! - Some *other* segment may fail. Then the instance is never handed out, and its memories are
//!   unreachable with it, unless an element segment has put one of its functions into an imported
//!   table before. In that case no memory gets an image.
//!
//! An image must also be dense: scattered segments are cheaper to copy than pages are to map.

use sarsen_abi::module::{DataMode, ElementMode, IMAGE_PAGE_SIZE, MemoryImage, Module};
use sarsen_abi::{ConstExpr, MemoryIndex};
use std::ops::Range;

/// An image may be this much larger than twice the data in it, in bytes.
const SLACK_BYTES: u64 = 128 << 10;

/// The image that a memory gets; empty when it has no data.
struct Plan {
    /// Its address in the memory.
    address: u64,
    /// Its range of the data section.
    section: Range<u64>,
}

/// Lays out `contents`, the bytes of each of `module.data`, whose modes are known. Sets the images of
/// memories, takes the segments that became part of one out, sets the ranges of the others, and returns
/// the data section.
pub(super) fn lay_out(module: &mut Module, contents: &[&[u8]]) -> Vec<u8> {
    assert_eq!(module.data.len(), contents.len());
    let plans = plan_images(module, contents);
    let images_end = plans.iter().flatten().map(|plan| plan.section.end).max();
    let mut section = vec![0; images_end.unwrap_or(0) as usize];
    let num_imported = module.num_imports.memories;
    module.data.retain_mut(|segment| {
        let bytes = contents[segment.index.index()];
        if let DataMode::Active { memory, offset } = &segment.mode
            && let Some(plan) = plan_of(&plans, num_imported, *memory)
        {
            let address = offset.as_unsigned_constant().expect("planned so");
            if !bytes.is_empty() {
                let start = (plan.section.start + (address - plan.address)) as usize;
                section[start..start + bytes.len()].copy_from_slice(bytes);
            }
            false
        } else {
            let start = section.len() as u64;
            section.extend_from_slice(bytes);
            segment.bytes = start..section.len() as u64;
            true
        }
    });
    module.memory_images = plans.iter().map(|p| memory_image(p.as_ref()?)).collect();
    section
}

fn plan_of(plans: &[Option<Plan>], num_imported: u32, memory: MemoryIndex) -> Option<&Plan> {
    let defined = memory.as_u32().checked_sub(num_imported)?;
    plans[defined as usize].as_ref()
}

fn memory_image(plan: &Plan) -> Option<MemoryImage> {
    (!plan.section.is_empty()).then(|| MemoryImage {
        address: plan.address,
        bytes: plan.section.clone(),
    })
}

/// What the active segments of one memory cover.
#[derive(Clone, Default)]
struct Extent {
    /// The addresses from the first to the last byte.
    addresses: Option<Range<u64>>,
    /// The number of bytes in segments.
    data: u64,
}

impl Extent {
    fn add(&mut self, address: u64, len: u64) {
        if len == 0 {
            return;
        }
        let added = address..address + len;
        self.addresses = Some(match &self.addresses {
            None => added,
            Some(known) => known.start.min(added.start)..known.end.max(added.end),
        });
        self.data += len;
    }

    /// The pages covered, if an image of them is worth having. Empty without data.
    fn pages(&self) -> Option<Range<u64>> {
        let Some(addresses) = &self.addresses else {
            return Some(0..0);
        };
        let start = addresses.start - addresses.start % IMAGE_PAGE_SIZE;
        // Data at the end of 64 bits is for a memory that nobody can make.
        let end = addresses.end.checked_next_multiple_of(IMAGE_PAGE_SIZE)?;
        (end - start <= 2 * self.data + SLACK_BYTES).then_some(start..end)
    }
}

/// Decides which defined memories get images, and where those lie in the data section.
fn plan_images(module: &Module, contents: &[&[u8]]) -> Vec<Option<Plan>> {
    let imported = module.num_imports.memories;
    let mut extents = vec![Some(Extent::default()); module.memories.len() - imported as usize];
    // Pages are mapped whole: they must not reach past a memory of bytes.
    for (extent, ty) in extents
        .iter_mut()
        .zip(&module.memories[imported as usize..])
    {
        if ty.page_size() % IMAGE_PAGE_SIZE != 0 {
            *extent = None;
        }
    }
    let mut may_fail = false;
    for (segment, bytes) in module.data.iter().zip(contents) {
        let DataMode::Active { memory, offset } = &segment.mode else {
            continue;
        };
        let size = module.memories[memory.index()].minimum_bytes();
        let address = fitting(offset, bytes.len() as u64, size.unwrap_or(u64::MAX));
        may_fail |= address.is_none();
        if let Some(defined) = memory.as_u32().checked_sub(imported) {
            let extent = &mut extents[defined as usize];
            match (address, &mut *extent) {
                (Some(address), Some(extent)) => extent.add(address, bytes.len() as u64),
                _ => *extent = None,
            }
        }
    }
    if may_be_observed_early(module, may_fail) {
        extents.fill(None);
    }
    let mut end = 0;
    extents
        .into_iter()
        .map(|extent| {
            let pages = extent?.pages()?;
            let start = end;
            end += pages.end - pages.start;
            Some(Plan {
                address: pages.start,
                section: start..end,
            })
        })
        .collect()
}

/// The constant offset of a segment of `len` elements that certainly fits `size`.
fn fitting(offset: &ConstExpr, len: u64, size: u64) -> Option<u64> {
    let offset = offset.as_unsigned_constant()?;
    (offset.checked_add(len)? <= size).then_some(offset)
}

/// Whether an instance may be reachable though one of its segments failed.
fn may_be_observed_early(module: &Module, data_may_fail: bool) -> bool {
    let mut may_fail = data_may_fail;
    let mut leaks = false;
    for segment in &module.elements {
        if let ElementMode::Active { table, offset } = &segment.mode {
            let size = module.tables[table.index()].minimum;
            may_fail |= fitting(offset, segment.items.len() as u64, size).is_none();
            leaks |= module.is_imported_table(*table);
        }
    }
    may_fail && leaks
}
