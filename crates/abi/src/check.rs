//! [`Module::check`]: whether a decoded module is one that the compiler can have written.
//!
//! An image is trusted not to be malicious, but it can be damaged in a way that its checksums do not
//! show (written by a faulty machine), so nothing of a module is used before this check: afterwards
//! every index is in range, constant expressions have the types that are wanted, and sizes do not
//! overflow. It is not a validator of WebAssembly: what only concerns function bodies is not here.

use crate::const_expr::ConstExpr;
use crate::index::{EntityIndex, FuncIndex, MemoryIndex, TableIndex};
use crate::module::{
    DataMode, ElementItems, ElementMode, ElementSegment, IMAGE_PAGE_SIZE, ImportCounts,
    MemoryImage, Module,
};
use crate::types::{IndexType, MemoryType, TableType, ValType};
use core::fmt;
use core::ops::Range;
use subtyping::Subtyping;

/// The largest size of an index space: that of the WebAssembly JavaScript API, which `wasmparser`
/// enforces. It keeps every vmctx far below 4 GiB.
const INDEX_SPACE_LIMIT: usize = 1_000_000;

/// Why a module is none that the compiler can have written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvalidModule(String);

impl fmt::Display for InvalidModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidModule {}

mod const_exprs;
mod subtyping;
mod types;

type Result<T = (), E = InvalidModule> = core::result::Result<T, E>;

fn ensure(condition: bool, what: impl FnOnce() -> String) -> Result {
    if condition {
        Ok(())
    } else {
        Err(InvalidModule(what()))
    }
}

impl Module {
    /// Checks the invariants that the rest of the runtime relies on.
    ///
    /// # Errors
    ///
    /// Says what is wrong.
    pub fn check(&self) -> Result {
        let check = Check {
            module: self,
            types: Subtyping::new(self),
        };
        check.index_spaces()?;
        check.types()?;
        check.imports()?;
        check.funcs()?;
        check.tables()?;
        check.memories()?;
        check.globals()?;
        check.tags()?;
        check.exports()?;
        check.elements()?;
        check.data()
    }

    /// The size that the image's data section must have at least, in bytes.
    pub fn data_size(&self) -> u64 {
        let segments = self.data.iter().map(|segment| segment.bytes.end);
        let images = self
            .memory_images
            .iter()
            .flatten()
            .map(|image| image.bytes.end);
        segments.chain(images).max().unwrap_or(0)
    }
}

struct Check<'a> {
    module: &'a Module,
    types: Subtyping<'a>,
}

impl Check<'_> {
    fn index_spaces(&self) -> Result {
        let m = self.module;
        let ImportCounts {
            funcs,
            tables,
            memories,
            globals,
            tags,
        } = m.num_imports;
        // Each space, how much of it is imported, and how many initial values there are for the rest.
        let spaces = [
            ("types", m.types.len(), 0, m.types.len()),
            (
                "functions",
                m.funcs.len(),
                funcs,
                m.funcs.len().saturating_sub(funcs as usize),
            ),
            ("tables", m.tables.len(), tables, m.table_inits.len()),
            (
                "memories",
                m.memories.len(),
                memories,
                m.memory_images.len(),
            ),
            ("globals", m.globals.len(), globals, m.global_inits.len()),
            (
                "tags",
                m.tags.len(),
                tags,
                m.tags.len().saturating_sub(tags as usize),
            ),
        ];
        for (name, len, imported, defined) in spaces {
            ensure(len <= INDEX_SPACE_LIMIT, || format!("{len} {name}"))?;
            ensure(len.checked_sub(imported as usize) == Some(defined), || {
                format!("{len} {name}, of which {imported} are imported and {defined} defined")
            })?;
        }
        ensure(
            m.features_used.iter().all(|f| m.features.contains(f)),
            || "a feature is used that was off".to_owned(),
        )
    }

    /// Imports must be numbered in order, in every index space.
    fn imports(&self) -> Result {
        let mut seen = ImportCounts::default();
        for import in &self.module.imports {
            let (count, index) = match import.entity {
                EntityIndex::Func(i) => (&mut seen.funcs, i.as_u32()),
                EntityIndex::Table(i) => (&mut seen.tables, i.as_u32()),
                EntityIndex::Memory(i) => (&mut seen.memories, i.as_u32()),
                EntityIndex::Global(i) => (&mut seen.globals, i.as_u32()),
                EntityIndex::Tag(i) => (&mut seen.tags, i.as_u32()),
            };
            ensure(index == *count, || {
                format!("import {:?} is out of order", import.entity)
            })?;
            *count += 1;
        }
        ensure(seen == self.module.num_imports, || {
            format!("imports {seen:?} instead of {:?}", self.module.num_imports)
        })
    }

    fn funcs(&self) -> Result {
        let m = self.module;
        m.funcs.iter().try_for_each(|&ty| self.func_type(ty))?;
        let ascend = m.escaping_funcs.is_sorted_by(|a, b| a < b);
        let in_range = |f: &FuncIndex| f.index() < m.funcs.len() && !m.is_imported_func(*f);
        ensure(ascend && m.escaping_funcs.iter().all(in_range), || {
            "escaping functions are out of order".to_owned()
        })?;
        let Some(start) = m.start else {
            return Ok(());
        };
        self.func_with_reference(start)?;
        let ty = m.func_type(start);
        ensure(ty.params.is_empty() && ty.results.is_empty(), || {
            "the start function has parameters or results".to_owned()
        })
    }

    /// A function that can be referred to: an imported one, or one that has a `VmFuncRef`.
    fn func_with_reference(&self, func: FuncIndex) -> Result {
        let m = self.module;
        let is_right = func.index() < m.funcs.len()
            && (m.is_imported_func(func) || m.escaping_position(func).is_some());
        ensure(is_right, || {
            format!("a reference to function {}", func.as_u32())
        })
    }

    fn tables(&self) -> Result {
        let m = self.module;
        for table in &m.tables {
            self.any_ref_type(&table.element)?;
            let limit = match table.index {
                IndexType::I32 => u64::from(u32::MAX),
                IndexType::I64 => u64::MAX,
            };
            check_limits("table", table.minimum, table.maximum, limit)?;
        }
        let defined = m.tables.iter().skip(m.num_imports.tables as usize);
        for (table, init) in defined.zip(&m.table_inits) {
            match init {
                Some(init) => {
                    self.const_expr(init, ValType::Ref(table.element), m.globals.len())?
                }
                None => ensure(table.element.nullable, || {
                    "a table of references that are not nullable has no initial element".to_owned()
                })?,
            }
        }
        Ok(())
    }

    fn memories(&self) -> Result {
        let m = self.module;
        for memory in &m.memories {
            ensure(matches!(memory.page_size_log2, 0 | 16), || {
                format!("a page size of 2^{}", memory.page_size_log2)
            })?;
            check_limits(
                "memory",
                memory.minimum,
                memory.maximum,
                memory.index_limit_pages(),
            )?;
            ensure(!memory.shared || memory.maximum.is_some(), || {
                "a shared memory without maximum".to_owned()
            })?;
        }
        let defined = m.memories.iter().skip(m.num_imports.memories as usize);
        for (memory, image) in defined.zip(&m.memory_images) {
            image
                .iter()
                .try_for_each(|image| check_memory_image(memory, image))?;
        }
        Ok(())
    }

    fn globals(&self) -> Result {
        let m = self.module;
        m.globals
            .iter()
            .try_for_each(|global| self.any_val_type(&global.content))?;
        let imported = m.num_imports.globals as usize;
        for (position, init) in m.global_inits.iter().enumerate() {
            let index = imported + position;
            self.const_expr(init, m.globals[index].content, index)?;
        }
        Ok(())
    }

    fn tags(&self) -> Result {
        let m = self.module;
        let mut names = m.tag_names.iter();
        names.try_for_each(|(tag, _)| in_range("tag", tag.index(), m.tags.len()))?;
        m.tags
            .iter()
            .try_for_each(|tag| self.func_type(tag.signature))
    }

    fn exports(&self) -> Result {
        let m = self.module;
        m.exports.iter().try_for_each(|export| match export.entity {
            EntityIndex::Func(func) => self.func_with_reference(func),
            EntityIndex::Table(table) => self.table(table).map(|_| ()),
            EntityIndex::Memory(memory) => self.memory(memory).map(|_| ()),
            EntityIndex::Global(global) => in_range("global", global.index(), m.globals.len()),
            EntityIndex::Tag(tag) => in_range("tag", tag.index(), m.tags.len()),
        })
    }

    fn table(&self, table: TableIndex) -> Result<&TableType> {
        in_range("table", table.index(), self.module.tables.len())?;
        Ok(&self.module.tables[table.index()])
    }

    fn memory(&self, memory: MemoryIndex) -> Result<&MemoryType> {
        in_range("memory", memory.index(), self.module.memories.len())?;
        Ok(&self.module.memories[memory.index()])
    }

    fn elements(&self) -> Result {
        let m = self.module;
        ensure(m.elements.len() <= INDEX_SPACE_LIMIT, || {
            "too many segments".to_owned()
        })?;
        m.elements
            .iter()
            .try_for_each(|segment| self.element_segment(segment))
    }

    fn element_segment(&self, segment: &ElementSegment) -> Result {
        self.any_ref_type(&segment.ty)?;
        if let ElementMode::Active { table, offset } = &segment.mode {
            let table = self.table(*table)?;
            self.offset(offset, table.index)?;
            let fits = self.types.is_ref_subtype(segment.ty, table.element);
            ensure(fits, || {
                "an element segment of another type than its table".to_owned()
            })?;
        }
        match &segment.items {
            ElementItems::Funcs(funcs) => funcs.iter().try_for_each(|&func| {
                let ty = self.ref_func(func)?;
                self.subtype(ty, ValType::Ref(segment.ty))
            }),
            ElementItems::Exprs(exprs) => exprs.iter().try_for_each(|expr| {
                self.const_expr(expr, ValType::Ref(segment.ty), self.module.globals.len())
            }),
        }
    }

    fn data(&self) -> Result {
        let m = self.module;
        ensure(m.data.len() <= INDEX_SPACE_LIMIT, || {
            "too many segments".to_owned()
        })?;
        ensure(m.data.is_sorted_by(|a, b| a.index < b.index), || {
            "data segments out of order".to_owned()
        })?;
        for segment in &m.data {
            ensure(segment.bytes.start <= segment.bytes.end, || {
                format!("a data segment at {:?}", segment.bytes)
            })?;
            if let DataMode::Active { memory, offset } = &segment.mode {
                self.offset(offset, self.memory(*memory)?.index)?;
            }
        }
        Ok(())
    }

    /// The offset of an active segment.
    fn offset(&self, offset: &ConstExpr, index: IndexType) -> Result {
        let ty = match index {
            IndexType::I32 => ValType::I32,
            IndexType::I64 => ValType::I64,
        };
        self.const_expr(offset, ty, self.module.globals.len())
    }

    fn subtype(&self, actual: ValType, expected: ValType) -> Result {
        let fits = self.types.is_val_subtype(actual, expected);
        ensure(fits, || format!("{actual:?} where {expected:?} is needed"))
    }
}

fn in_range(what: &str, index: usize, len: usize) -> Result {
    ensure(index < len, || format!("{what} {index} of {len}"))
}

fn check_limits(what: &str, minimum: u64, maximum: Option<u64>, limit: u64) -> Result {
    let maximum_fits = maximum.is_none_or(|maximum| minimum <= maximum && maximum <= limit);
    ensure(minimum <= limit && maximum_fits, || {
        format!("a {what} of at least {minimum} and at most {maximum:?}")
    })
}

/// An image must consist of whole pages, and lie within the memory's first pages.
fn check_memory_image(memory: &MemoryType, image: &MemoryImage) -> Result {
    let Range { start, end } = image.bytes;
    let aligned = [image.address, start, end]
        .iter()
        .all(|n| n.is_multiple_of(IMAGE_PAGE_SIZE));
    let image_end = end
        .checked_sub(start)
        .and_then(|len| image.address.checked_add(len));
    let memory_end = memory
        .minimum_bytes()
        .and_then(|bytes| bytes.checked_next_multiple_of(IMAGE_PAGE_SIZE))
        .unwrap_or(u64::MAX);
    ensure(
        aligned && image_end.is_some_and(|image_end| image_end <= memory_end),
        || format!("a memory image {image:?} of a memory of {memory_end} bytes"),
    )
}

#[cfg(test)]
mod tests;
