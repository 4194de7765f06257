//! `sarsen inspect`: what a module is made of.

use crate::failure::Style;
use crate::input::{Input, Kind};
use crate::options::CodeOptions;
use crate::progress;
use anyhow::{Context, Result};
use clap::Args;
use sarsen::{Engine, ExternType, Module};
use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Write};

/// Show a module's imports, exports, sizes, and the features that it uses
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  sarsen inspect hello.wasm")]
pub(crate) struct Inspect {
    #[command(flatten)]
    code: CodeOptions,

    /// The module or image (`-` is standard input)
    file: OsString,
}

impl Inspect {
    pub(crate) fn execute(self) -> Result<u8> {
        let engine = Engine::new(&self.code.config_to_look())?;
        let input = Input::read(&self.file)?;
        let description = input.describe();
        let module = load(&engine, input).with_context(|| format!("cannot load {description}"))?;
        write_all(&module).context("cannot write to standard output")?;
        Ok(0)
    }
}

fn write_all(module: &Module) -> io::Result<()> {
    let style = Style::of(io::stdout().is_terminal());
    let mut to = BufWriter::new(io::stdout().lock());
    write_summary(&mut to, style, module)?;
    let imports = module.imports().map(|i| {
        (
            format!("{} {}", quoted(i.module()), quoted(i.name())),
            i.ty(),
        )
    });
    write_entities(&mut to, style, "imports", imports.collect())?;
    let exports = module.exports().map(|e| (quoted(e.name()), e.ty()));
    write_entities(&mut to, style, "exports", exports.collect())?;
    to.flush()
}

#[allow(unsafe_code, reason = "an image can only be looked at by loading it")]
fn load(engine: &Engine, input: Input) -> Result<Module> {
    if input.kind == Kind::Image {
        // SAFETY: nothing of the image is executed: the module is never instantiated.
        return unsafe { input.load_image(engine) };
    }
    let description = input.describe();
    let binary = input.into_binary()?;
    progress::during(format!("compiling {description}"), || {
        Module::from_binary(engine, &binary)
    })
}

fn quoted(name: &str) -> String {
    format!("{name:?}")
}

fn write_summary(to: &mut impl Write, style: Style, module: &Module) -> io::Result<()> {
    let Style { heading, end, .. } = style;
    let info = module.info();
    writeln!(
        to,
        "{heading}module{end} {}",
        match module.name() {
            Some(name) => name.escape_debug().to_string(),
            None => "(unnamed)".to_owned(),
        }
    )?;
    let rows: [(&str, usize, usize); 5] = [
        ("functions", info.functions, info.imported_functions),
        ("tables", info.tables, info.imported_tables),
        ("memories", info.memories, info.imported_memories),
        ("globals", info.globals, info.imported_globals),
        ("tags", info.tags, info.imported_tags),
    ];
    for (name, total, imported) in rows {
        if total > 0 {
            writeln!(to, "  {name:16} {total:>10}   ({imported} imported)")?;
        }
    }
    writeln!(to, "  {:16} {:>10}", "types", info.types)?;
    writeln!(to, "  {:16} {:>10}", "data segments", info.data_segments)?;
    writeln!(
        to,
        "  {:16} {:>10}",
        "element segments", info.element_segments
    )?;
    writeln!(to, "  {:16} {:>10} bytes", "data", info.data_bytes)?;
    writeln!(to, "  {:16} {:>10} bytes", "machine code", info.code_bytes)?;
    let features: Vec<&str> = info.features_used.iter().map(|f| f.name()).collect();
    let features = match features.as_slice() {
        [] => "none beyond WebAssembly 1.0".to_owned(),
        names => names.join(", "),
    };
    writeln!(to, "{heading}features{end} {features}")
}

fn write_entities(
    to: &mut impl Write,
    style: Style,
    title: &str,
    entities: Vec<(String, ExternType)>,
) -> io::Result<()> {
    let Style {
        heading,
        faint,
        end,
        ..
    } = style;
    writeln!(to, "{heading}{title}{end} {}", entities.len())?;
    for (name, ty) in entities {
        writeln!(to, "  {name}  {faint}{ty}{end}")?;
    }
    Ok(())
}
