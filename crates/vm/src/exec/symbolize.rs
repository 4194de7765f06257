//! What a captured backtrace means: functions, offsets in the module, source files and lines.
//!
//! Nothing here runs unless somebody looks at a backtrace. Machine frames become frames of the
//! WebAssembly program through the image's tables (functions that the compiler inlined have frames of
//! their own), and those get source locations from the module's DWARF, if it has any: several, where
//! the program's own compiler inlined.
//!
//! DWARF in WebAssembly counts addresses from the beginning of the code section's contents
//! ("DWARF for WebAssembly", §"Code addresses"). What is damaged or missing in it is left out, and is
//! never an error.

use super::backtrace::Backtrace;
use crate::code::EngineCode;
use crate::instance::CompiledModule;
use gimli::{EndianSlice, LittleEndian};
use sarsen_abi::FuncIndex;
use std::fmt::{self, Write};
use std::sync::Arc;

/// A frame of the WebAssembly program.
#[derive(Clone, Debug)]
pub struct FrameInfo {
    /// The module whose code it was executing.
    pub module: Arc<CompiledModule>,
    /// The function.
    pub func: FuncIndex,
    /// The function's name in the module's name section, as it is there.
    pub func_name: Option<String>,
    /// The instruction, in bytes from the beginning of the module; of a frame that has called
    /// another, the call.
    pub wasm_offset: Option<u32>,
    /// The instruction, in bytes from the beginning of the function's body.
    pub func_offset: Option<u32>,
    /// The source locations, innermost first: more than one, where the program's own compiler inlined.
    /// Empty without DWARF.
    pub symbols: Vec<Symbol>,
}

impl FrameInfo {
    /// The function's name as the source program wrote it: demangled, if it is a Rust or C++ symbol.
    pub fn demangled_name(&self) -> Option<String> {
        self.func_name.as_deref().map(demangle)
    }
}

/// A location in the source program.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Symbol {
    /// The function's name, demangled.
    pub name: Option<String>,
    /// The file, as the program's compiler wrote it.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column, from 1.
    pub column: Option<u32>,
}

impl Backtrace {
    /// Finds out what the frames are, innermost first.
    ///
    /// This parses DWARF, which takes up to seconds for large programs, and keeps nothing: callers
    /// remember the answer.
    pub fn resolve(&self) -> Vec<FrameInfo> {
        self.resolve_with_omitted().0
    }

    /// As [`Backtrace::resolve`], with how many machine frames were left out and how many of the
    /// resolved frames come before them.
    pub fn resolve_with_omitted(&self) -> (Vec<FrameInfo>, Option<(usize, u64)>) {
        let mut dwarf = DwarfOfCodes::default();
        let mut infos = Vec::new();
        let mut omitted = None;
        for (position, frame) in self.frames().enumerate() {
            if let Some((at, count)) = self.omitted()
                && at == position
            {
                omitted = Some((infos.len(), count));
            }
            let image = frame.module.code().image();
            infos.extend(image.frames_at(frame.offset).map(|source| FrameInfo {
                module: Arc::clone(frame.module),
                func: source.func,
                func_name: image.func_name(source.func).map(str::to_owned),
                wasm_offset: source.wasm_offset,
                func_offset: source.wasm_offset.and_then(|offset| {
                    let body = image.body_offset(source.func)?;
                    offset.checked_sub(body)
                }),
                symbols: match source.wasm_offset {
                    Some(offset) => dwarf.of(frame.module.code()).symbols_at(offset),
                    None => Vec::new(),
                },
            }));
        }
        // Left out at the end.
        if let (None, Some((_, count))) = (omitted, self.omitted()) {
            omitted = Some((infos.len(), count));
        }
        (infos, omitted)
    }
}

type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// The parsed DWARF of each code that has been asked about.
#[derive(Default)]
struct DwarfOfCodes<'a>(Vec<(&'a Arc<EngineCode>, Dwarf<'a>)>);

impl<'a> DwarfOfCodes<'a> {
    fn of(&mut self, code: &'a Arc<EngineCode>) -> &Dwarf<'a> {
        let known = self
            .0
            .iter()
            .position(|(known, _)| Arc::ptr_eq(known, code));
        let position = known.unwrap_or_else(|| {
            self.0.push((code, Dwarf::parse(code)));
            self.0.len() - 1
        });
        &self.0[position].1
    }
}

/// A module's DWARF.
struct Dwarf<'a> {
    /// `None` when there is none, or none that can be read.
    context: Option<addr2line::Context<Reader<'a>>>,
    /// The code section's contents, in bytes from the beginning of the module.
    code_offset: u64,
}

impl<'a> Dwarf<'a> {
    fn parse(code: &'a EngineCode) -> Dwarf<'a> {
        let image = code.image();
        let section = |id: gimli::SectionId| -> Result<Reader<'a>, gimli::Error> {
            Ok(EndianSlice::new(
                image.custom(id.name()).unwrap_or_default(),
                LittleEndian,
            ))
        };
        let has_dwarf = image.custom(gimli::SectionId::DebugInfo.name()).is_some();
        let context = has_dwarf
            .then(|| {
                gimli::Dwarf::load(section)
                    .and_then(addr2line::Context::from_dwarf)
                    .ok()
            })
            .flatten();
        Dwarf {
            context,
            code_offset: code.module().code_offset,
        }
    }

    fn symbols_at(&self, wasm_offset: u32) -> Vec<Symbol> {
        let mut symbols = Vec::new();
        let (Some(context), Some(address)) = (
            &self.context,
            u64::from(wasm_offset).checked_sub(self.code_offset),
        ) else {
            return symbols;
        };
        let Ok(mut frames) = context.find_frames(address).skip_all_loads() else {
            return symbols;
        };
        while let Ok(Some(frame)) = frames.next() {
            let name = frame
                .function
                .as_ref()
                .and_then(|function| function.raw_name().ok());
            let (file, line, column) = match frame.location {
                Some(l) => (l.file, l.line, l.column),
                None => (None, None, None),
            };
            symbols.push(Symbol {
                name: name.map(|name| demangle(&name)),
                file: file.map(str::to_owned),
                line,
                column: column.filter(|&column| column != 0),
            });
        }
        symbols
    }
}

/// The longest name that demangling may give, in bytes. Substitutions let a short symbol stand for a
/// name of any length.
const MAX_DEMANGLED_LEN: usize = 8 << 10;

/// The name as the source program wrote it, if it was mangled as Rust or C++ do; else the name.
pub fn demangle(name: &str) -> String {
    let mut demangled = Limited(String::new());
    let result = if let Ok(rust) = rustc_demangle::try_demangle(name) {
        // The alternate form leaves out the hash.
        write!(demangled, "{rust:#}").ok()
    } else if name.starts_with("_Z") || name.starts_with("__Z") {
        // Names that are no symbols parse as C++ types now and then (`f` is `float`), so they are
        // left alone.
        let options = cpp_demangle::DemangleOptions::default();
        let symbol = cpp_demangle::Symbol::new(name).ok();
        symbol.and_then(|s| s.structured_demangle(&mut demangled, &options).ok())
    } else {
        None
    };
    match result {
        Some(()) => demangled.0,
        None => name.to_owned(),
    }
}

/// Refuses to become longer than [`MAX_DEMANGLED_LEN`].
struct Limited(String);

impl fmt::Write for Limited {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MAX_DEMANGLED_LEN {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::demangle;

    #[test]
    fn rust_and_cpp_symbols_are_demangled_and_other_names_left_alone() {
        assert_eq!(
            demangle("_ZN4core3fmt5Write9write_fmt17h3f1cd3a9d4b0f9e8E"),
            "core::fmt::Write::write_fmt"
        );
        assert_eq!(
            demangle("_RNvNtCs1234_7mycrate3foo3bar"),
            "mycrate::foo::bar"
        );
        assert_eq!(demangle("_ZN3foo3barEi"), "foo::bar(int)");
        for name in ["f", "main", "_start", "func[3]", ""] {
            assert_eq!(demangle(name), name);
        }
    }

    #[test]
    fn a_short_symbol_for_an_endless_name_is_left_alone() {
        // Each parameter's type is a template of two of the one before.
        let mut name = String::from("_Z1f1SIiiE");
        let digits = ('0'..='9').chain('A'..='Z');
        for digit in digits {
            name.push_str(&format!("S_IS{digit}_S{digit}_E"));
            if name.len() < 60 {
                assert!(demangle(&name).starts_with("f(S<int, int>, S<S<int, int>"));
            }
        }
        assert_eq!(demangle(&name), name);
    }
}
