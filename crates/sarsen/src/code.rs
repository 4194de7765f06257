//! Looking into a module, for tools: [`ModuleInfo`] tells how much there is of what, [`ModuleCode`]
//! shows the machine code and where it came from.

use crate::module::Module;
use crate::trap::Trap;
use core::ops::Range;
use sarsen_abi::image::{CodeKind, FuncEntry, ImageView};
use sarsen_abi::{EntityIndex, Features, FuncIndex, Printable};

/// How much there is of what in a module; see [`Module::info`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModuleInfo {
    /// Defined types.
    pub types: usize,
    /// Functions, imported ones among them.
    pub functions: usize,
    /// Functions that are imported.
    pub imported_functions: usize,
    /// Tables, imported ones among them.
    pub tables: usize,
    /// Tables that are imported.
    pub imported_tables: usize,
    /// Linear memories, imported ones among them.
    pub memories: usize,
    /// Linear memories that are imported.
    pub imported_memories: usize,
    /// Globals, imported ones among them.
    pub globals: usize,
    /// Globals that are imported.
    pub imported_globals: usize,
    /// Tags, imported ones among them.
    pub tags: usize,
    /// Tags that are imported.
    pub imported_tags: usize,
    /// Data segments.
    pub data_segments: usize,
    /// Element segments.
    pub element_segments: usize,
    /// Initial contents of memories and data segments, in bytes.
    pub data_bytes: usize,
    /// Machine code, stubs included, in bytes.
    pub code_bytes: usize,
    /// The proposals beyond WebAssembly 1.0 that the module was seen to use.
    pub features_used: Features,
}

impl Module {
    /// How much there is of what in the module.
    pub fn info(&self) -> ModuleInfo {
        let module = self.declared();
        let image = self.compiled().code().image();
        ModuleInfo {
            types: module.types.len(),
            functions: module.funcs.len(),
            imported_functions: module.num_imports.funcs as usize,
            tables: module.tables.len(),
            imported_tables: module.num_imports.tables as usize,
            memories: module.memories.len(),
            imported_memories: module.num_imports.memories as usize,
            globals: module.globals.len(),
            imported_globals: module.num_imports.globals as usize,
            tags: module.tags.len(),
            imported_tags: module.num_imports.tags as usize,
            data_segments: module.data.len(),
            element_segments: module.elements.len(),
            data_bytes: image.data().len(),
            code_bytes: image.text().len(),
            features_used: module.features_used,
        }
    }

    /// The module's machine code.
    pub fn code(&self) -> ModuleCode<'_> {
        ModuleCode {
            view: self.compiled().code().image(),
            module: self.declared(),
        }
    }
}

/// The machine code of a module. Offsets are in bytes from the beginning of its text.
#[derive(Clone, Copy, Debug)]
pub struct ModuleCode<'module> {
    view: ImageView<'module>,
    module: &'module sarsen_abi::Module,
}

impl<'module> ModuleCode<'module> {
    /// The bytes of all machine code.
    pub fn text(&self) -> &'module [u8] {
        self.view.text()
    }

    /// Every function and stub, in the order of text.
    pub fn functions(&self) -> impl Iterator<Item = CodeFunction<'module>> + use<'module> {
        let ModuleCode { view, module } = *self;
        view.funcs()
            .map(move |entry| CodeFunction::new(view, module, entry))
    }

    /// Where in a range of text code for another instruction begins, and for which: the innermost
    /// frame first, where functions were inlined.
    pub fn sources(
        &self,
        range: Range<usize>,
    ) -> impl Iterator<Item = (usize, Vec<SourceLocation<'module>>)> + use<'module> {
        let view = self.view;
        view.points_in(narrow(range)).map(move |at| {
            let frames = view.frames_at(at).map(|frame| SourceLocation {
                func: frame.func,
                name: view.func_name(frame.func),
                offset: frame.wasm_offset,
            });
            (at as usize, frames.collect())
        })
    }

    /// The instructions in a range of text that may trap, and why.
    pub fn traps(&self, range: Range<usize>) -> impl Iterator<Item = (usize, Trap)> + use<'module> {
        let traps = self.view.traps_in(narrow(range));
        traps.map(|(at, trap)| (at as usize, trap))
    }
}

/// Text offsets have 32 bits; beyond them there is nothing.
fn narrow(range: Range<usize>) -> Range<u32> {
    let narrow = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
    narrow(range.start)..narrow(range.end)
}

/// A function or stub in a module's machine code.
#[derive(Clone, Debug)]
pub struct CodeFunction<'module> {
    kind: CodeKind,
    /// `None` for a stub.
    func: Option<FuncIndex>,
    name: Option<&'module str>,
    module: &'module sarsen_abi::Module,
    range: Range<usize>,
}

impl<'module> CodeFunction<'module> {
    fn new(
        view: ImageView<'module>,
        module: &'module sarsen_abi::Module,
        entry: FuncEntry,
    ) -> Self {
        // A frame knows the function's index among all, imported ones included.
        let func = match entry.kind {
            CodeKind::Wasm(_) => view.frames_at(entry.start).last().map(|frame| frame.func),
            _ => None,
        };
        CodeFunction {
            kind: entry.kind,
            func,
            name: func.and_then(|func| view.func_name(func)),
            module,
            range: entry.start as usize..entry.end as usize,
        }
    }

    /// The function's index in the module; `None` for a stub.
    pub fn index(&self) -> Option<u32> {
        self.func.map(FuncIndex::as_u32)
    }

    /// The function's name, if the module names it.
    pub fn name(&self) -> Option<&'module str> {
        self.name
    }

    /// The names by which the function is exported.
    pub fn export_names(&self) -> impl Iterator<Item = &'module str> + use<'module> {
        let entity = self.func.map(EntityIndex::Func);
        let exports = self.module.exports.iter();
        exports
            .filter(move |export| Some(export.entity) == entity)
            .map(|export| &*export.name)
    }

    /// Where its code is, in bytes of text.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// What to call it in print: the name, fit for a terminal, else something made from its index.
    pub fn symbol(&self) -> String {
        match (self.kind, self.func) {
            (_, Some(func)) => symbol(func, self.name),
            (CodeKind::Entry(ty), None) => format!("entry stub of type {}", ty.as_u32()),
            (CodeKind::Exit(ty), None) => format!("exit stub of type {}", ty.as_u32()),
            (CodeKind::Builtin(builtin), None) => format!("builtin {}", builtin.signature().name),
            (CodeKind::Wasm(func), None) => format!("defined function {}", func.as_u32()),
        }
    }
}

fn symbol(func: FuncIndex, name: Option<&str>) -> String {
    match name {
        Some(name) => Printable(name).to_string(),
        None => format!("func[{}]", func.as_u32()),
    }
}

/// An instruction of a module's source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceLocation<'module> {
    func: FuncIndex,
    name: Option<&'module str>,
    offset: Option<u32>,
}

impl<'module> SourceLocation<'module> {
    /// The index of the function that contains it.
    pub fn function(&self) -> u32 {
        self.func.as_u32()
    }

    /// The name of that function, if the module names it.
    pub fn name(&self) -> Option<&'module str> {
        self.name
    }

    /// What to call that function in print: the name, fit for a terminal, else something made from its
    /// index.
    pub fn symbol(&self) -> String {
        symbol(self.func, self.name)
    }

    /// The instruction, in bytes from the beginning of the module; `None` where code belongs to none,
    /// such as a function's prologue.
    pub fn offset(&self) -> Option<u32> {
        self.offset
    }
}
