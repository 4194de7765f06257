//! Reading an image: [`ImageLayout`] knows where the sections are, [`ImageView`] looks things up.
//!
//! A view allocates nothing when it looks up by text offset, so that signal handlers and stack walks
//! may use it. "Text offset" is the distance from the first byte of text, in every address space.

use super::container::read_elf;
use super::error::ImageError;
use super::funcs::{CodeKind, FuncEntry, FuncTable};
use super::handlers::{HandlerTable, Handlers};
use super::header::Header;
use super::names::NameTable;
use super::points::{ContextTable, NO_INSTRUCTION, Point, PointTable};
use super::section::{CUSTOM_PREFIX, Section};
use super::stack_maps::{StackMap, StackMapTable};
use super::stubs::{StubOffsets, StubTable};
use super::traps::TrapTable;
use crate::index::{DefinedFuncIndex, FuncIndex, TypeIndex};
use crate::module::{IMAGE_PAGE_SIZE, Module};
use crate::trap::TrapCode;
use core::ops::Range;

/// Where the sections of one image are, and what its header says.
#[derive(Clone, Debug)]
pub struct ImageLayout {
    header: Header,
    /// By [`Section`].
    sections: [Range<usize>; Section::ALL.len()],
    custom: Vec<CustomSection>,
}

#[derive(Clone, Debug)]
struct CustomSection {
    /// Without [`CUSTOM_PREFIX`].
    name: String,
    range: Range<usize>,
    crc32: u32,
}

impl ImageLayout {
    /// Finds the sections and decodes the header. Nothing else is looked at: see
    /// [`ImageLayout::verify`].
    ///
    /// # Errors
    ///
    /// When `bytes` is no image of this version, or the header is damaged.
    pub fn parse(bytes: &[u8]) -> Result<ImageLayout, ImageError> {
        let found = read_elf(bytes)?;
        let find = |name: &str| found.iter().find(|s| s.0 == name).map(|s| s.1.clone());
        // A file without our header is somebody else's.
        let header = find(Section::Header.name()).ok_or(ImageError::NotAnImage)?;
        let header = Header::decode(bytes.get(header).unwrap_or_default())?;

        let mut sections = [const { 0..0 }; Section::ALL.len()];
        for &section in Section::ALL {
            let name = section.name();
            sections[section as usize] = find(name).ok_or(ImageError::SectionMissing(name))?;
        }
        for section in [Section::Text, Section::Data] {
            let start = sections[section as usize].start;
            if !start.is_multiple_of(IMAGE_PAGE_SIZE as usize) {
                return Err(malformed(section, "not aligned"));
            }
        }
        let custom = header.checksums.iter().filter_map(|checksum| {
            let name = checksum.section.strip_prefix(CUSTOM_PREFIX)?;
            let is_ours = Section::ALL.iter().any(|s| s.name() == checksum.section);
            Some(CustomSection {
                name: (!is_ours).then(|| name.to_owned())?,
                range: find(&checksum.section)?,
                crc32: checksum.crc32,
            })
        });
        Ok(ImageLayout {
            custom: custom.collect(),
            header,
            sections,
        })
    }

    /// What the header says.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Verifies the checksums of all sections but the custom ones, which are verified when they are
    /// asked for: [`ImageView::custom`].
    ///
    /// # Errors
    ///
    /// Names the first section that is damaged.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), ImageError> {
        for &section in Section::ALL.iter().filter(|&&s| s != Section::Header) {
            let name = section.name();
            let expected = self.header.checksums.iter().find(|c| c.section == name);
            let found = crc32fast::hash(self.section(bytes, section));
            if expected.is_none_or(|expected| expected.crc32 != found) {
                return Err(ImageError::SectionDamaged(name.to_owned()));
            }
        }
        Ok(())
    }

    /// Opens the tables. `bytes` must be those that were parsed.
    ///
    /// # Errors
    ///
    /// When a table cannot be what was written.
    pub fn view<'a>(&'a self, bytes: &'a [u8]) -> Result<ImageView<'a>, ImageError> {
        fn open<T>(section: Section, table: Option<T>) -> Result<T, ImageError> {
            table.ok_or_else(|| malformed(section, "cannot be this table"))
        }
        let section = |section| self.section(bytes, section);
        let view = ImageView {
            bytes,
            layout: self,
            funcs: open(Section::Funcs, FuncTable::parse(section(Section::Funcs)))?,
            stubs: StubTable(section(Section::Stubs)),
            traps: open(Section::Traps, TrapTable::parse(section(Section::Traps)))?,
            points: open(Section::Points, PointTable::parse(section(Section::Points)))?,
            contexts: ContextTable(section(Section::Contexts)),
            stack_maps: {
                let table = StackMapTable::parse(section(Section::StackMaps));
                open(Section::StackMaps, table)?
            },
            handlers: open(
                Section::Handlers,
                HandlerTable::parse(section(Section::Handlers)),
            )?,
            names: {
                let strings = section(Section::Strings);
                open(
                    Section::Names,
                    NameTable::parse(section(Section::Names), strings),
                )?
            },
        };
        Ok(view)
    }

    /// Where text is in the image, in bytes. Begins at a multiple of [`IMAGE_PAGE_SIZE`].
    pub fn text_range(&self) -> Range<usize> {
        self.sections[Section::Text as usize].clone()
    }

    /// Where the data section is in the image, in bytes. Begins at a multiple of
    /// [`IMAGE_PAGE_SIZE`].
    pub fn data_range(&self) -> Range<usize> {
        self.sections[Section::Data as usize].clone()
    }

    fn section<'a>(&self, bytes: &'a [u8], section: Section) -> &'a [u8] {
        bytes
            .get(self.sections[section as usize].clone())
            .unwrap_or_default()
    }
}

fn malformed(section: Section, what: impl ToString) -> ImageError {
    ImageError::Malformed {
        section: section.name(),
        what: what.to_string(),
    }
}

/// An image's contents, searched where they lie.
#[derive(Clone, Copy, Debug)]
pub struct ImageView<'a> {
    bytes: &'a [u8],
    layout: &'a ImageLayout,
    funcs: FuncTable<'a>,
    stubs: StubTable<'a>,
    traps: TrapTable<'a>,
    points: PointTable<'a>,
    contexts: ContextTable<'a>,
    stack_maps: StackMapTable<'a>,
    handlers: HandlerTable<'a>,
    names: NameTable<'a>,
}

impl<'a> ImageView<'a> {
    /// The function or stub whose code contains this text offset.
    pub fn func_at(&self, offset: u32) -> Option<FuncEntry> {
        self.funcs.containing(offset)
    }

    /// The code of a function that the module defines.
    pub fn wasm_func(&self, func: DefinedFuncIndex) -> Option<FuncEntry> {
        self.funcs.wasm_func(func)
    }

    /// Where the body of a function that the module defines begins, in bytes from the beginning of the module: its
    /// locals, behind its size.
    pub fn body_offset(&self, func: FuncIndex) -> Option<u32> {
        self.funcs.body_offset(func)
    }

    /// The stubs of a function type.
    pub fn stubs(&self, ty: TypeIndex) -> Option<StubOffsets> {
        self.stubs.get(ty)
    }

    /// Every function and stub, in the order of text.
    pub fn funcs(&self) -> impl Iterator<Item = FuncEntry> + use<'a> {
        let funcs = self.funcs;
        (0..funcs.len()).filter_map(move |position| funcs.get(position))
    }

    /// Why the instruction at this text offset traps, if it may.
    pub fn trap_at(&self, offset: u32) -> Option<TrapCode> {
        self.traps.get(offset)
    }

    /// The traps in a range of text, in order.
    pub fn traps_in(&self, range: Range<u32>) -> impl Iterator<Item = (u32, TrapCode)> + use<'a> {
        self.traps
            .from(range.start)
            .take_while(move |t| t.0 < range.end)
    }

    /// The source frames of the instruction that *contains* this text offset, innermost first; none
    /// in a stub. For a return address, ask for the byte before it.
    pub fn frames_at(&self, offset: u32) -> Frames<'a> {
        let func = self.func_at(offset);
        let Some((CodeKind::Wasm(number), start)) = func.map(|f| (f.kind, f.start)) else {
            return Frames::none(self.contexts);
        };
        // A point of an earlier function does not reach into this one.
        let point = self
            .points
            .covering(offset)
            .filter(|p| p.0 >= start)
            .map(|p| p.1);
        Frames {
            contexts: self.contexts,
            func: self.funcs.func_index(number),
            next: Some(point.unwrap_or(Point {
                context: 0,
                wasm_offset: NO_INSTRUCTION,
            })),
        }
    }

    /// Where source points begin in a range of text, in order.
    pub fn points_in(&self, range: Range<u32>) -> impl Iterator<Item = u32> + use<'a> {
        let points = self.points.from(range.start).map(|p| p.0);
        points.take_while(move |&at| at < range.end)
    }

    /// Where references are in a frame, by the text offset of the return address.
    pub fn stack_map_at(&self, return_offset: u32) -> Option<StackMap<'a>> {
        self.stack_maps.get(return_offset)
    }

    /// Where traps and exceptions in a call continue, by the text offset of the return address.
    pub fn handlers_at(&self, return_offset: u32) -> Option<Handlers<'a>> {
        self.handlers.get(return_offset)
    }

    /// A function's name, from the module's name section.
    pub fn func_name(&self, func: FuncIndex) -> Option<&'a str> {
        self.names.get(func)
    }

    /// The symbol of a piece of code, as the ELF file has it: `wasm[12]::name`.
    pub fn symbol(&self, kind: CodeKind) -> String {
        let symbol = kind.symbol(self.funcs.imported_funcs());
        let name = match kind {
            CodeKind::Wasm(func) => self.func_name(self.funcs.func_index(func)),
            _ => None,
        };
        match name {
            Some(name) => format!("{symbol}::{name}"),
            None => symbol,
        }
    }

    /// Decodes what the module declares, and checks it: in itself, against the other sections, and
    /// that all code lies in the text.
    ///
    /// # Errors
    ///
    /// When it cannot be what the compiler wrote.
    pub fn module(&self) -> Result<Module, ImageError> {
        let bytes = self.layout.section(self.bytes, Section::Module);
        let module: Module =
            postcard::from_bytes(bytes).map_err(|error| malformed(Section::Module, error))?;
        module
            .check()
            .map_err(|error| malformed(Section::Module, error))?;
        if !self.funcs.is_within(self.text().len()) {
            return Err(malformed(Section::Funcs, "code outside of the text"));
        }
        if !self.stubs.is_within(self.text().len()) {
            return Err(malformed(Section::Stubs, "code outside of the text"));
        }
        if module.num_imports.funcs != self.funcs.imported_funcs()
            || module.num_defined_funcs() != self.funcs.defined_funcs() as usize
        {
            return Err(malformed(Section::Funcs, "not the module's functions"));
        }
        if module.data_size() > self.data().len() as u64 {
            return Err(malformed(
                Section::Data,
                "shorter than the module's segments",
            ));
        }
        Ok(module)
    }

    /// The machine code.
    pub fn text(&self) -> &'a [u8] {
        self.layout.section(self.bytes, Section::Text)
    }

    /// Memory images and data segments.
    pub fn data(&self) -> &'a [u8] {
        self.layout.section(self.bytes, Section::Data)
    }

    /// The module's custom section of this name (`.debug_info`), unless it is damaged. Only DWARF's
    /// are kept. Reads all of it to verify its checksum, so keep what you get.
    pub fn custom(&self, name: &str) -> Option<&'a [u8]> {
        let section = self.layout.custom.iter().find(|s| s.name == name)?;
        let bytes = self.bytes.get(section.range.clone())?;
        (crc32fast::hash(bytes) == section.crc32).then_some(bytes)
    }
}

/// A frame of the source program. Several belong to one machine frame where functions were inlined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SourceFrame {
    /// The function.
    pub func: FuncIndex,
    /// The instruction, in bytes from the beginning of the module; `None` where the code belongs to
    /// no instruction (prologues).
    pub wasm_offset: Option<u32>,
}

/// The source frames at a text offset, innermost first.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    contexts: ContextTable<'a>,
    /// The function whose code it is: the outermost frame's.
    func: FuncIndex,
    next: Option<Point>,
}

impl<'a> Frames<'a> {
    fn none(contexts: ContextTable<'a>) -> Self {
        Frames {
            contexts,
            func: FuncIndex::new(0),
            next: None,
        }
    }
}

impl Iterator for Frames<'_> {
    type Item = SourceFrame;

    fn next(&mut self) -> Option<SourceFrame> {
        let point = self.next.take()?;
        let context = self.contexts.get(point.context);
        self.next = context.map(|context| Point {
            context: context.parent,
            wasm_offset: context.call_offset,
        });
        Some(SourceFrame {
            func: context.map_or(self.func, |context| context.func),
            wasm_offset: (point.wasm_offset != NO_INSTRUCTION).then_some(point.wasm_offset),
        })
    }
}
