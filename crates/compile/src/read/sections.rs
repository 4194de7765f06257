//! The sections of a module that is being read: each into its part of [`Module`].
//!
//! A section comes here after the validator has accepted it, so indices are in range and counts are
//! what they claim.

use crate::error::Result;
use crate::read::features::Used;
use crate::read::types::{self, TypeKinds};
use crate::read::{bodies, const_expr};
use sarsen_abi::module::{
    DataMode, DataSegment, ElementItems, ElementMode, ElementSegment, Export, Import,
};
use sarsen_abi::types::{RefType, ValType};
use sarsen_abi::{
    ConstExpr, DataIndex, EntityIndex, Feature, FuncIndex, GlobalIndex, MemoryIndex, Module,
    TableIndex, TagIndex, TypeIndex,
};
use wasmparser::{
    DataKind, DataSectionReader, ElementKind, ElementSectionReader, ExportSectionReader,
    ExternalKind, FunctionSectionReader, GlobalSectionReader, ImportSectionReader, KnownCustom,
    MemorySectionReader, Payload, TableInit, TableSectionReader, TagSectionReader, TypeRef,
    TypeSectionReader,
};

/// What has been read so far.
#[derive(Default)]
pub(super) struct Sections<'a> {
    /// The declarations. Layout of data, names and features come last, from the fields below.
    pub(super) module: Module,
    /// Bodies in order, not validated yet.
    pub(super) bodies: Vec<bodies::Unchecked<'a>>,
    /// The bytes of each data segment.
    pub(super) data: Vec<&'a [u8]>,
    /// Functions that need a reference, in no order, with repetitions, imported ones too.
    pub(super) escaping: Vec<FuncIndex>,
    /// The name section.
    pub(super) names: Option<wasmparser::NameSectionReader<'a>>,
    /// The section of branch hints.
    pub(super) hints: Option<wasmparser::BranchHintSectionReader<'a>>,
    /// Custom sections that are kept.
    pub(super) custom: Vec<(&'a str, &'a [u8])>,
    /// Features seen.
    pub(super) used: Used,
    types: TypeKinds,
}

impl<'a> Sections<'a> {
    /// Reads a section. Bodies are for the caller to push.
    pub(super) fn read(&mut self, payload: Payload<'a>) -> Result<()> {
        match payload {
            Payload::TypeSection(section) => self.types(section),
            Payload::ImportSection(section) => self.imports(section),
            Payload::FunctionSection(section) => self.functions(section),
            Payload::TableSection(section) => self.tables(section),
            Payload::MemorySection(section) => self.memories(section),
            Payload::TagSection(section) => self.tags(section),
            Payload::GlobalSection(section) => self.globals(section),
            Payload::ExportSection(section) => self.exports(section),
            Payload::StartSection { func, .. } => {
                self.start(FuncIndex::new(func));
                Ok(())
            }
            Payload::ElementSection(section) => self.elements(section),
            Payload::DataCountSection { .. } => {
                self.used.add(Feature::BulkMemory);
                Ok(())
            }
            Payload::DataSection(section) => self.data(section),
            Payload::CodeSectionStart {
                unchecked_range, ..
            } => {
                self.module.code_offset = unchecked_range.start;
                Ok(())
            }
            Payload::CustomSection(section) => {
                self.custom(section);
                Ok(())
            }
            // Whatever else there is, the validator has judged.
            _ => Ok(()),
        }
    }

    fn types(&mut self, section: TypeSectionReader<'a>) -> Result<()> {
        self.types = TypeKinds::read_section(section, &mut self.module, &mut self.used)?;
        Ok(())
    }

    fn imports(&mut self, section: ImportSectionReader<'a>) -> Result<()> {
        for import in section.into_imports() {
            let import = import?;
            let entity = self.imported(import.ty)?;
            self.module.imports.push(Import {
                module: import.module.to_owned(),
                name: import.name.to_owned(),
                entity,
            });
        }
        Ok(())
    }

    fn imported(&mut self, ty: TypeRef) -> Result<EntityIndex> {
        let module = &mut self.module;
        Ok(match ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                module.num_imports.funcs += 1;
                module.funcs.push(TypeIndex::new(ty));
                EntityIndex::Func(FuncIndex::from_usize(module.funcs.len() - 1))
            }
            TypeRef::Table(ty) => {
                module.num_imports.tables += 1;
                self.table(ty)?;
                EntityIndex::Table(TableIndex::from_usize(self.module.tables.len() - 1))
            }
            TypeRef::Memory(ty) => {
                module.num_imports.memories += 1;
                self.memory(ty);
                EntityIndex::Memory(MemoryIndex::from_usize(self.module.memories.len() - 1))
            }
            TypeRef::Global(ty) => {
                module.num_imports.globals += 1;
                self.used.add_if(ty.mutable, Feature::MutableGlobal);
                self.global(ty)?;
                EntityIndex::Global(GlobalIndex::from_usize(self.module.globals.len() - 1))
            }
            TypeRef::Tag(ty) => {
                module.num_imports.tags += 1;
                self.tag(ty);
                EntityIndex::Tag(TagIndex::from_usize(self.module.tags.len() - 1))
            }
        })
    }

    fn functions(&mut self, section: FunctionSectionReader<'a>) -> Result<()> {
        for ty in section {
            self.module.funcs.push(TypeIndex::new(ty?));
        }
        Ok(())
    }

    fn tables(&mut self, section: TableSectionReader<'a>) -> Result<()> {
        for table in section {
            let table = table?;
            self.table(table.ty)?;
            let init = match table.init {
                TableInit::RefNull => None,
                TableInit::Expr(expr) => {
                    self.used.add(Feature::FunctionReferences);
                    Some(self.const_expr(&expr)?)
                }
            };
            self.module.table_inits.push(init);
        }
        Ok(())
    }

    fn table(&mut self, ty: wasmparser::TableType) -> Result<()> {
        self.used.add_if(ty.table64, Feature::Memory64);
        let ty = self.types.table_type(ty)?;
        if ty.element != RefType::FUNCREF {
            types::note_val_type(ValType::Ref(ty.element), &mut self.used);
        }
        self.module.tables.push(ty);
        self.used
            .add_if(self.module.tables.len() > 1, Feature::ReferenceTypes);
        Ok(())
    }

    fn memories(&mut self, section: MemorySectionReader<'a>) -> Result<()> {
        for ty in section {
            self.memory(ty?);
        }
        Ok(())
    }

    fn memory(&mut self, ty: wasmparser::MemoryType) {
        self.used.add_if(ty.memory64, Feature::Memory64);
        self.used.add_if(ty.shared, Feature::Threads);
        self.used
            .add_if(ty.page_size_log2.is_some(), Feature::CustomPageSizes);
        self.module.memories.push(types::memory_type(ty));
        self.used
            .add_if(self.module.memories.len() > 1, Feature::MultiMemory);
    }

    fn tags(&mut self, section: TagSectionReader<'a>) -> Result<()> {
        for ty in section {
            self.tag(ty?);
        }
        Ok(())
    }

    fn tag(&mut self, ty: wasmparser::TagType) {
        self.used.add(Feature::Exceptions);
        self.module.tags.push(types::tag_type(ty));
    }

    fn globals(&mut self, section: GlobalSectionReader<'a>) -> Result<()> {
        for global in section {
            let global = global?;
            self.global(global.ty)?;
            let init = self.const_expr(&global.init_expr)?;
            self.module.global_inits.push(init);
        }
        Ok(())
    }

    fn global(&mut self, ty: wasmparser::GlobalType) -> Result<()> {
        let ty = self.types.global_type(ty)?;
        types::note_val_type(ty.content, &mut self.used);
        self.module.globals.push(ty);
        Ok(())
    }

    fn exports(&mut self, section: ExportSectionReader<'a>) -> Result<()> {
        for export in section {
            let export = export?;
            let entity = match export.kind {
                ExternalKind::Func | ExternalKind::FuncExact => {
                    let func = FuncIndex::new(export.index);
                    self.escaping.push(func);
                    EntityIndex::Func(func)
                }
                ExternalKind::Table => EntityIndex::Table(TableIndex::new(export.index)),
                ExternalKind::Memory => EntityIndex::Memory(MemoryIndex::new(export.index)),
                ExternalKind::Global => {
                    let global = GlobalIndex::new(export.index);
                    self.used.add_if(
                        self.module.globals[global.index()].mutable,
                        Feature::MutableGlobal,
                    );
                    EntityIndex::Global(global)
                }
                ExternalKind::Tag => EntityIndex::Tag(TagIndex::new(export.index)),
            };
            self.module.exports.push(Export {
                name: export.name.to_owned(),
                entity,
            });
        }
        Ok(())
    }

    fn start(&mut self, func: FuncIndex) {
        self.module.start = Some(func);
        self.escaping.push(func);
    }

    fn elements(&mut self, section: ElementSectionReader<'a>) -> Result<()> {
        for segment in section {
            let segment = segment?;
            let mode = match segment.kind {
                ElementKind::Passive => {
                    self.used.add(Feature::BulkMemory);
                    ElementMode::Passive
                }
                ElementKind::Active {
                    table_index,
                    offset_expr,
                } => ElementMode::Active {
                    table: TableIndex::new(table_index.unwrap_or(0)),
                    offset: self.const_expr(&offset_expr)?,
                },
                ElementKind::Declared => {
                    self.used.add(Feature::ReferenceTypes);
                    ElementMode::Declared
                }
            };
            let (ty, items) = self.element_items(segment.items)?;
            self.module
                .elements
                .push(ElementSegment { mode, ty, items });
        }
        Ok(())
    }

    fn element_items(
        &mut self,
        items: wasmparser::ElementItems<'a>,
    ) -> Result<(RefType, ElementItems)> {
        match items {
            wasmparser::ElementItems::Functions(section) => {
                let mut funcs = Vec::with_capacity(section.count() as usize);
                for func in section {
                    funcs.push(FuncIndex::new(func?));
                }
                self.escaping.extend_from_slice(&funcs);
                // A table of non-null references may be initialized from it, too.
                let ty = RefType {
                    nullable: false,
                    ..RefType::FUNCREF
                };
                Ok((ty, ElementItems::Funcs(funcs)))
            }
            wasmparser::ElementItems::Expressions(ty, section) => {
                let ty = self.types.ref_type(ty)?;
                self.used.add(Feature::ReferenceTypes);
                types::note_val_type(ValType::Ref(ty), &mut self.used);
                let mut exprs = Vec::with_capacity(section.count() as usize);
                for expr in section {
                    exprs.push(self.const_expr(&expr?)?);
                }
                Ok((ty, ElementItems::Exprs(exprs)))
            }
        }
    }

    fn data(&mut self, section: DataSectionReader<'a>) -> Result<()> {
        for (index, segment) in section.into_iter().enumerate() {
            let segment = segment?;
            let mode = match segment.kind {
                DataKind::Passive => {
                    self.used.add(Feature::BulkMemory);
                    DataMode::Passive
                }
                DataKind::Active {
                    memory_index,
                    offset_expr,
                } => DataMode::Active {
                    memory: MemoryIndex::new(memory_index),
                    offset: self.const_expr(&offset_expr)?,
                },
            };
            self.module.data.push(DataSegment {
                index: DataIndex::new(index as u32),
                mode,
                bytes: 0..0,
            });
            self.data.push(segment.data);
        }
        Ok(())
    }

    fn custom(&mut self, section: wasmparser::CustomSectionReader<'a>) {
        if section.name().starts_with(".debug_") {
            self.custom.push((section.name(), section.data()));
            return;
        }
        match section.as_known() {
            KnownCustom::Name(names) => {
                self.names.get_or_insert(names);
            }
            KnownCustom::BranchHints(hints) if self.bodies.is_empty() => {
                self.hints.get_or_insert(hints);
            }
            _ => {}
        }
    }

    fn const_expr(&mut self, expr: &wasmparser::ConstExpr<'a>) -> Result<ConstExpr> {
        const_expr::read(expr, &self.types, &mut self.escaping, &mut self.used)
    }
}
