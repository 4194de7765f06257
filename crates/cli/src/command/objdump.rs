//! `sarsen objdump`: the machine code of a module, interleaved with the WebAssembly that it came from.

use crate::failure::Style;
use crate::input::{Input, Kind};
use crate::options::CheckedCodeOptions;
use crate::progress;
use anyhow::{Context, Result, anyhow};
use clap::Args;
use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, OpKind};
use sarsen::{CodeFunction, Engine, Module, ModuleCode, SourceLocation, Trap};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Write};

const EXAMPLES: &str = "\
Examples:
  sarsen objdump fib.wat
  sarsen objdump --function fib fib.wat     By name ...
  sarsen objdump --function 3 big.image     ... or index, from an image

Each instruction stands under the byte offset in the module of the instruction that it was made for;
for an inlined function, with the call that it was inlined at.";

/// Show a module's machine code
///
/// A module is compiled first, with the same options as `run`. An image is shown as it is.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Objdump {
    /// Only this function
    #[arg(long, value_name = "NAME|INDEX")]
    function: Option<String>,

    /// The stubs, too, through which host and module call each other
    #[arg(long)]
    stubs: bool,

    #[command(flatten)]
    code: CheckedCodeOptions,

    /// The module or image (`-` is standard input)
    file: OsString,
}

impl Objdump {
    pub(crate) fn execute(self) -> Result<u8> {
        let module = self.load()?;
        let code = module.code();
        let functions: Vec<CodeFunction<'_>> = code.functions().collect();
        let shown: Vec<&CodeFunction<'_>> = functions.iter().filter(|f| self.shows(f)).collect();
        if let (true, Some(wanted)) = (shown.is_empty(), &self.function) {
            return Err(unknown_function(wanted, &functions));
        }
        let mut listing = Listing {
            code: &code,
            names: functions
                .iter()
                .map(|f| (f.range().start as u64, f.symbol()))
                .collect(),
            style: Style::of(io::stdout().is_terminal()),
            to: BufWriter::new(io::stdout().lock()),
        };
        let mut written = shown.into_iter().try_for_each(|f| listing.function(f));
        written = written.and_then(|()| listing.to.flush());
        written.context("cannot write to standard output")?;
        Ok(0)
    }

    #[allow(unsafe_code, reason = "an image can only be looked at by loading it")]
    fn load(&self) -> Result<Module> {
        let engine = Engine::new(&self.code.config_to_look())?;
        let input = Input::read(&self.file)?;
        let description = input.describe();
        if input.kind == Kind::Image {
            // SAFETY: nothing of the image is executed: the module is never instantiated.
            let module = unsafe { input.load_image(&engine) };
            return module.with_context(|| format!("cannot load {description}"));
        }
        let binary = input.into_binary()?;
        progress::during(format!("compiling {description}"), || {
            Module::from_binary(&engine, &binary)
        })
        .with_context(|| format!("cannot compile {description}"))
    }

    fn shows(&self, function: &CodeFunction<'_>) -> bool {
        match (&self.function, function.index()) {
            (None, Some(_)) => true,
            (None, None) => self.stubs,
            (Some(_), None) => false,
            (Some(wanted), Some(index)) => {
                function.name() == Some(wanted)
                    || wanted.parse() == Ok(index)
                    || function.export_names().any(|name| name == wanted)
            }
        }
    }
}

fn unknown_function(wanted: &str, functions: &[CodeFunction<'_>]) -> sarsen::Error {
    let indices: Vec<u32> = functions.iter().filter_map(CodeFunction::index).collect();
    let range = match (indices.iter().min(), indices.iter().max()) {
        (Some(first), Some(last)) => format!("its functions have the indices {first} to {last}"),
        _ => "it defines none".to_owned(),
    };
    anyhow!(
        "the module defines no function `{wanted}`; {range}, and `sarsen inspect` lists what it \
         exports"
    )
}

/// A listing that is being written.
struct Listing<'a, W> {
    code: &'a ModuleCode<'a>,
    /// What begins at each text offset.
    names: HashMap<u64, String>,
    style: Style,
    to: W,
}

impl<W: Write> Listing<'_, W> {
    fn function(&mut self, function: &CodeFunction<'_>) -> io::Result<()> {
        let range = function.range();
        let Style { heading, end, .. } = self.style;
        let index = function.index().map(|index| format!(" (;{index};)"));
        let index = index.unwrap_or_default();
        writeln!(
            self.to,
            "{heading}{:08x} <{}>{index}:{end}",
            range.start,
            function.symbol()
        )?;
        let sources: HashMap<usize, Vec<SourceLocation<'_>>> =
            self.code.sources(range.clone()).collect();
        let traps: HashMap<usize, Trap> = self.code.traps(range.clone()).collect();
        let bytes = self.code.text().get(range.clone()).unwrap_or_default();
        let start = range.start as u64;
        let mut formatter = formatter();
        for instruction in Decoder::with_ip(64, bytes, start, DecoderOptions::NONE).iter() {
            let at = instruction.ip() as usize;
            if let Some(frames) = sources.get(&at) {
                self.source(frames)?;
            }
            let from = at - range.start;
            let encoding = &bytes[from..from + instruction.len()];
            let mut text = String::new();
            formatter.format(&instruction, &mut text);
            self.instruction(&instruction, encoding, &text, traps.get(&at))?;
        }
        writeln!(self.to)
    }

    /// The WebAssembly instruction that what follows was made for.
    fn source(&mut self, frames: &[SourceLocation<'_>]) -> io::Result<()> {
        let Style { faint, end, .. } = self.style;
        let mut text = String::new();
        for (depth, frame) in frames.iter().enumerate() {
            let place = match frame.offset() {
                Some(offset) => format!("{offset:#x}"),
                None => "start".to_owned(),
            };
            let inlined = depth + 1 < frames.len();
            match (depth, inlined) {
                (0, false) => text += &place,
                (0, true) => text += &format!("{place} in {}", frame.symbol()),
                _ => text += &format!(", called at {place} in {}", frame.symbol()),
            }
        }
        writeln!(self.to, "{faint}    ;; {text}{end}")
    }

    fn instruction(
        &mut self,
        instruction: &Instruction,
        encoding: &[u8],
        text: &str,
        trap: Option<&Trap>,
    ) -> io::Result<()> {
        let Style { faint, end, .. } = self.style;
        let encoding: String = encoding.iter().map(|byte| format!("{byte:02x} ")).collect();
        write!(
            self.to,
            "{:8x}:  {faint}{encoding:30}{end} {text}",
            instruction.ip()
        )?;
        if let Some(name) = target(instruction).and_then(|at| self.names.get(&at)) {
            write!(self.to, "  {faint}; {name}{end}")?;
        }
        if let Some(trap) = trap {
            write!(self.to, "  {faint}; trap: {}{end}", trap.message())?;
        }
        writeln!(self.to)
    }
}

/// Where an instruction calls or jumps to.
fn target(instruction: &Instruction) -> Option<u64> {
    let is_branch = instruction.op_count() > 0 && instruction.op0_kind() == OpKind::NearBranch64;
    is_branch.then(|| instruction.near_branch_target())
}

fn formatter() -> IntelFormatter {
    let mut formatter = IntelFormatter::new();
    let options = formatter.options_mut();
    options.set_first_operand_char_index(8);
    options.set_space_after_operand_separator(true);
    options.set_uppercase_hex(false);
    options.set_branch_leading_zeros(false);
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    formatter
}
