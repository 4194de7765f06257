//! [`Module::check`]: whether a decoded module is one that the compiler can have written.
//!
//! An image is trusted not to be malicious, but it can be damaged in a way that its checksums do not
//! show (written by a faulty machine), so nothing of a module is used before this check: afterwards
//! every index is in range, constant expressions have the types that are wanted, and sizes do not
//! overflow. It is not a validator of WebAssembly: what only concerns function bodies is not here.

use crate::const_expr::{ConstExpr, ConstOp};
use crate::index::{EntityIndex, FuncIndex, GlobalIndex, MemoryIndex, TableIndex, TypeIndex};
use crate::module::{
    DataMode, ElementItems, ElementMode, ElementSegment, IMAGE_PAGE_SIZE, ImportCounts,
    MemoryImage, Module,
};
use crate::types::{
    CompositeType, FieldType, HeapType, IndexType, MemoryType, RefType, StorageType, SubType,
    TableType, ValType,
};
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

mod subtyping;

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

    fn types(&self) -> Result {
        let mut next = 0;
        for group in &self.module.rec_groups {
            ensure(group.start == next && group.end > next, || {
                format!("recursion group {group:?} after type {next}")
            })?;
            next = group.end;
            for index in group.clone() {
                let ty = self.module.types.get(index as usize);
                let ty = ty.ok_or_else(|| InvalidModule(format!("no type {index}")))?;
                self.sub_type(index, ty, group.end)?;
            }
        }
        ensure(next as usize == self.module.types.len(), || {
            "a type without recursion group".to_owned()
        })
    }

    /// A type that may refer to types below `limit`.
    fn sub_type(&self, index: u32, ty: &SubType, limit: u32) -> Result {
        let wrong = |what: &str| InvalidModule(format!("type {index}: {what}"));
        if let Some(supertype) = ty.supertype {
            ensure(supertype.as_u32() < index, || {
                format!("type {index}: supertype {} comes later", supertype.as_u32())
            })?;
            let supertype = &self.module.types[supertype.index()];
            let same_kind = core::mem::discriminant(&supertype.composite)
                == core::mem::discriminant(&ty.composite);
            if supertype.is_final || !same_kind {
                return Err(wrong("it cannot have this supertype"));
            }
        }
        match &ty.composite {
            CompositeType::Func(func) => func
                .params
                .iter()
                .chain(&func.results)
                .try_for_each(|t| self.val_type(t, limit)),
            CompositeType::Struct(fields) => fields
                .iter()
                .try_for_each(|field| self.field_type(field, limit)),
            CompositeType::Array(field) => self.field_type(field, limit),
            CompositeType::Cont(func) => self.heap_type(HeapType::ConcreteFunc(*func), limit),
        }
    }

    fn field_type(&self, field: &FieldType, limit: u32) -> Result {
        match &field.storage {
            StorageType::I8 | StorageType::I16 => Ok(()),
            StorageType::Val(ty) => self.val_type(ty, limit),
        }
    }

    fn val_type(&self, ty: &ValType, limit: u32) -> Result {
        match ty {
            ValType::Ref(reference) => self.heap_type(reference.heap, limit),
            _ => Ok(()),
        }
    }

    /// A concrete heap type must name a type below `limit`, of the kind that it says.
    fn heap_type(&self, heap: HeapType, limit: u32) -> Result {
        let Some(index) = heap.concrete() else {
            return Ok(());
        };
        let ty = self
            .module
            .types
            .get(index.index())
            .filter(|_| index.as_u32() < limit);
        let is_right = ty.is_some_and(|ty| {
            matches!(
                (heap, &ty.composite),
                (HeapType::ConcreteFunc(_), CompositeType::Func(_))
                    | (HeapType::ConcreteStruct(_), CompositeType::Struct(_))
                    | (HeapType::ConcreteArray(_), CompositeType::Array(_))
                    | (HeapType::ConcreteCont(_), CompositeType::Cont(_))
            )
        });
        ensure(is_right, || {
            format!("a reference to {heap:?}, which is none")
        })
    }

    fn any_val_type(&self, ty: &ValType) -> Result {
        self.val_type(ty, u32::MAX)
    }

    fn any_ref_type(&self, ty: &RefType) -> Result {
        self.heap_type(ty.heap, u32::MAX)
    }

    fn func_type(&self, index: TypeIndex) -> Result {
        self.heap_type(HeapType::ConcreteFunc(index), u32::MAX)
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
        self.module
            .tags
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
                self.const_op_type(ConstOp::RefFunc(func), 0)
                    .and_then(|ty| self.subtype(ty, ValType::Ref(segment.ty)))
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

    /// A constant expression must give one value of type `expected`, and may read the immutable
    /// globals below `num_globals`.
    fn const_expr(&self, expr: &ConstExpr, expected: ValType, num_globals: usize) -> Result {
        let mut stack = Vec::new();
        for &op in &expr.ops {
            let operands = match op {
                ConstOp::I32Add | ConstOp::I32Sub | ConstOp::I32Mul => Some(ValType::I32),
                ConstOp::I64Add | ConstOp::I64Sub | ConstOp::I64Mul => Some(ValType::I64),
                _ => None,
            };
            if let Some(ty) = operands {
                let right = stack.pop() == Some(ty) && stack.pop() == Some(ty);
                ensure(right, || format!("{op:?} without operands"))?;
            }
            stack.push(self.const_op_type(op, num_globals)?);
        }
        match *stack {
            [ty] => self.subtype(ty, expected),
            _ => Err(InvalidModule(
                "a constant expression without one value".to_owned(),
            )),
        }
    }

    /// The type of an instruction's result.
    fn const_op_type(&self, op: ConstOp, num_globals: usize) -> Result<ValType> {
        let reference = |nullable, heap| ValType::Ref(RefType { nullable, heap });
        Ok(match op {
            ConstOp::I32Const(_) | ConstOp::I32Add | ConstOp::I32Sub | ConstOp::I32Mul => {
                ValType::I32
            }
            ConstOp::I64Const(_) | ConstOp::I64Add | ConstOp::I64Sub | ConstOp::I64Mul => {
                ValType::I64
            }
            ConstOp::StructNew(_)
            | ConstOp::StructNewDefault(_)
            | ConstOp::ArrayNew(_)
            | ConstOp::ArrayNewDefault(_)
            | ConstOp::ArrayNewFixed(..)
            | ConstOp::RefI31
            | ConstOp::AnyConvertExtern
            | ConstOp::ExternConvertAny => {
                return Err(InvalidModule(format!("{op:?} is not supported yet")));
            }
            ConstOp::F32Const(_) => ValType::F32,
            ConstOp::F64Const(_) => ValType::F64,
            ConstOp::V128Const(_) => ValType::V128,
            ConstOp::GlobalGet(global) => return self.immutable_global(global, num_globals),
            ConstOp::RefNull(heap) => {
                self.heap_type(heap, u32::MAX)?;
                reference(true, heap)
            }
            ConstOp::RefFunc(func) => {
                self.func_with_reference(func)?;
                reference(
                    false,
                    HeapType::ConcreteFunc(self.module.funcs[func.index()]),
                )
            }
        })
    }

    fn immutable_global(&self, global: GlobalIndex, num_globals: usize) -> Result<ValType> {
        in_range("global", global.index(), num_globals)?;
        let ty = self.module.globals[global.index()];
        ensure(!ty.mutable, || {
            "a constant expression reads a mutable global".to_owned()
        })?;
        Ok(ty.content)
    }

    fn subtype(&self, actual: ValType, expected: ValType) -> Result {
        let fits = match (actual, expected) {
            (ValType::Ref(a), ValType::Ref(e)) => self.types.is_ref_subtype(a, e),
            (a, e) => a == e,
        };
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
