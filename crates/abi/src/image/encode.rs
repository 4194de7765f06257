//! Writing an image: tables grow in the order of text, then everything is laid out in one file.

use super::container::{NewSection, NewSymbol, SectionKind, write_elf};
use super::funcs::{CodeKind, FuncEntry, FuncsEncoder};
use super::handlers::{Handler, HandlerFrame, HandlersEncoder};
use super::header::{Checksum, Header, TargetDescription};
use super::names::NamesEncoder;
use super::points::{ContextRow, ContextsEncoder, Point, PointsEncoder};
use super::section::{CUSTOM_PREFIX, Section};
use super::stack_maps::StackMapsEncoder;
use super::stubs::{StubOffsets, encode_stubs};
use super::traps::TrapsEncoder;
use crate::index::{FuncIndex, TypeIndex};
use crate::module::Module;
use crate::settings::Settings;
use crate::trap::TrapCode;

/// An image's tables as they grow. Offsets are text offsets and ascend within each table.
#[derive(Debug)]
pub struct ImageEncoder {
    funcs: FuncsEncoder,
    stubs: Vec<(TypeIndex, StubOffsets)>,
    traps: TrapsEncoder,
    points: PointsEncoder,
    contexts: ContextsEncoder,
    stack_maps: StackMapsEncoder,
    handlers: HandlersEncoder,
}

/// What an image consists of beside its tables.
#[derive(Clone, Copy, Debug)]
pub struct ImageContents<'a> {
    /// What the module declares.
    pub module: &'a Module,
    /// What it was compiled for.
    pub target: &'a TargetDescription,
    /// The settings that it was compiled under.
    pub settings: &'a Settings,
    /// The machine code.
    pub text: &'a [u8],
    /// Where the body of every function that the module defines begins, in bytes from the beginning of the module.
    pub bodies: &'a [u32],
    /// Memory images and data segments.
    pub data: &'a [u8],
    /// The names of functions, imported ones too, in the order of the functions.
    pub names: &'a [(FuncIndex, &'a str)],
    /// Custom sections to keep, with their names, which begin with a dot.
    pub custom: &'a [(&'a str, &'a [u8])],
}

impl ImageEncoder {
    /// An image without code, of a module with so many imported functions.
    pub fn new(imported_funcs: u32) -> Self {
        ImageEncoder {
            funcs: FuncsEncoder::new(imported_funcs),
            stubs: Vec::new(),
            traps: TrapsEncoder::new(),
            points: PointsEncoder::new(),
            contexts: ContextsEncoder::default(),
            stack_maps: StackMapsEncoder::new(),
            handlers: HandlersEncoder::new(),
        }
    }

    /// Adds a piece of code.
    ///
    /// # Panics
    ///
    /// Panics unless pieces come in the order of text, which is that of their kinds, and every
    /// function that the module defines is there.
    pub fn add_func(&mut self, entry: FuncEntry) {
        self.funcs.push(entry);
    }

    /// Says where the stubs of a function type are. Types ascend.
    pub fn add_stubs(&mut self, ty: TypeIndex, stubs: StubOffsets) {
        self.stubs.push((ty, stubs));
    }

    /// Adds an instruction that may trap.
    pub fn add_trap(&mut self, offset: u32, code: TrapCode) {
        self.traps.push(offset, code);
    }

    /// Adds an inline context, and gives its number.
    ///
    /// # Panics
    ///
    /// Panics when its parent is neither 0 nor the number of one that was added before.
    pub fn add_context(&mut self, row: ContextRow) -> u32 {
        self.contexts.push(row)
    }

    /// Adds a source point. It covers the code up to the next one, within the same piece of code.
    pub fn add_point(&mut self, offset: u32, point: Point) {
        self.points.push(offset, point);
    }

    /// Adds the stack map of a call, by its return address. `references` ascend.
    pub fn add_stack_map(&mut self, return_offset: u32, frame_size: u32, references: &[u32]) {
        self.stack_maps.add(return_offset, frame_size, references);
    }

    /// Adds the handlers of a call, innermost first, by its return address.
    pub fn add_handlers(&mut self, return_offset: u32, frame: HandlerFrame, handlers: &[Handler]) {
        self.handlers.push(return_offset, frame, handlers);
    }

    /// The image's bytes.
    ///
    /// # Panics
    ///
    /// Panics unless there are as many functions as bodies, and when the text is too long: 2 GiB or more.
    pub fn finish(self, contents: &ImageContents<'_>) -> Vec<u8> {
        assert!(contents.text.len() < 1 << 31, "text is limited to 2 GiB");
        let module = postcard::to_stdvec(contents.module).expect("writing to memory does not fail");
        let (symbols, strings, names) = names_and_symbols(contents, self.funcs.entries());
        let tables = [
            (Section::Module, module),
            (Section::Funcs, self.funcs.finish(contents.bodies)),
            (Section::Stubs, encode_stubs(&self.stubs)),
            (Section::Traps, self.traps.finish()),
            (Section::Points, self.points.finish()),
            (Section::Contexts, self.contexts.finish()),
            (Section::StackMaps, self.stack_maps.finish()),
            (Section::Handlers, self.handlers.finish()),
            (Section::Names, names),
        ];
        let custom = custom_sections(contents.custom);
        let tables = tables.iter().map(|(section, bytes)| NewSection {
            name: section.name(),
            kind: SectionKind::Table,
            bytes,
        });
        let mapped = [
            (Section::Text, SectionKind::Text, contents.text),
            (Section::Data, SectionKind::Data, contents.data),
        ];
        let mapped = mapped.map(|(section, kind, bytes)| NewSection {
            name: section.name(),
            kind,
            bytes,
        });
        let custom = custom.iter().map(|(name, bytes)| NewSection {
            name,
            kind: SectionKind::Table,
            bytes,
        });
        let mut sections: Vec<_> = tables.chain(mapped).chain(custom).collect();
        let header = header(contents, &sections, &strings).encode();
        sections.insert(
            0,
            NewSection {
                name: Section::Header.name(),
                kind: SectionKind::Table,
                bytes: &header,
            },
        );
        write_elf(contents.target.arch(), &sections, &symbols, &strings)
    }
}

/// How many custom sections are kept: several times what DWARF has. An ELF file has room for 65,000, a
/// WebAssembly module for any number.
const MAX_CUSTOM_SECTIONS: usize = 64;

/// The names under which custom sections are kept. Of several with one name it is the first, and none
/// whose name ELF cannot write.
fn custom_sections<'a>(sections: &[(&str, &'a [u8])]) -> Vec<(String, &'a [u8])> {
    let mut kept: Vec<(String, &[u8])> = Vec::new();
    for &(name, bytes) in sections {
        let name = format!("{CUSTOM_PREFIX}{name}");
        let is_new = kept.iter().all(|section| section.0 != name);
        if is_new && !name.contains('\0') && kept.len() < MAX_CUSTOM_SECTIONS {
            kept.push((name, bytes));
        }
    }
    kept
}

fn header(contents: &ImageContents<'_>, sections: &[NewSection<'_>], strings: &[u8]) -> Header {
    let checksum = |name: &str, bytes: &[u8]| Checksum {
        section: name.to_owned(),
        crc32: crc32fast::hash(bytes),
    };
    let mut checksums: Vec<_> = sections.iter().map(|s| checksum(s.name, s.bytes)).collect();
    checksums.push(checksum(Section::Strings.name(), strings));
    Header {
        target: contents.target.clone(),
        settings: contents.settings.clone(),
        features_used: contents.module.features_used,
        checksums,
    }
}

/// The symbols, the string table, and the table of names.
fn names_and_symbols(
    contents: &ImageContents<'_>,
    funcs: &[FuncEntry],
) -> (Vec<NewSymbol>, Vec<u8>, Vec<u8>) {
    let mut encoder = NamesEncoder::new();
    let mut names = contents.names.iter().copied().peekable();
    while let Some((func, name)) = names.next_if(|n| contents.module.is_imported_func(n.0)) {
        encoder.add_func(func, "", name);
    }
    let mut symbol = |entry: &FuncEntry| {
        let symbol = entry.kind.symbol(contents.module.num_imports.funcs);
        let func = match entry.kind {
            CodeKind::Wasm(func) => Some(contents.module.func_index(func)),
            _ => None,
        };
        match names.next_if(|name| Some(name.0) == func) {
            Some((func, name)) => encoder.add_func(func, &format!("{symbol}::"), name),
            None => encoder.add_symbol(&symbol),
        }
    };
    let symbols = funcs
        .iter()
        .map(|entry| NewSymbol {
            name: symbol(entry),
            range: entry.start..entry.end,
        })
        .collect();
    let (strings, rows) = encoder.finish();
    (symbols, strings, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageLayout;

    #[test]
    fn a_module_with_countless_custom_sections_still_has_an_image() {
        let names: Vec<String> = (0..70_000).map(|i| format!(".debug_{i}")).collect();
        let mut custom: Vec<(&str, &[u8])> =
            names.iter().map(|n| (n.as_str(), &b"x"[..])).collect();
        custom[1] = (".debug_a\0b", b"x");
        custom[2] = (".debug_0", b"second");
        let image = ImageEncoder::new(0).finish(&ImageContents {
            module: &Module::default(),
            target: &TargetDescription {
                triple: String::new(),
                cpu_features: Vec::new(),
            },
            settings: &Settings::default(),
            text: &[],
            bodies: &[],
            data: &[],
            names: &[],
            custom: &custom,
        });
        let layout = ImageLayout::parse(&image).unwrap();
        layout.verify(&image).unwrap();
        let view = layout.view(&image).unwrap();
        assert_eq!(view.module(), Ok(Module::default()));
        assert_eq!(view.custom(".debug_0"), Some(&b"x"[..]));
        assert_eq!(view.custom(".debug_3"), Some(&b"x"[..]));
        assert_eq!(view.custom(".debug_a"), None);
        assert_eq!(view.custom(".debug_69999"), None);
    }
}
