//! [`Trap`], [`WasmBacktrace`], and how a call that did not return becomes an error.

use crate::context::AsContext;
use crate::engine::Engine;
use crate::exception::ThrownException;
use crate::module::Module;
use crate::store::{StoreOpaque, unwrap_host_error};
use core::fmt;
use sarsen_abi::{EntityIndex, Printable};
use sarsen_vm::exec::{self, Backtrace, Unwound};
use sarsen_vm::instance::{BacktraceLimits, Reason, StoreId};
use std::sync::{Arc, OnceLock};

/// Why WebAssembly stopped.
///
/// A call that traps fails with an error of which `downcast_ref::<Trap>()` tells the trap, and
/// `downcast_ref::<WasmBacktrace>()` where.
///
/// ```
/// use sarsen::{Engine, Instance, Module, Store, Trap, WasmBacktrace};
///
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"(module $m (func $f (export "f") unreachable))"#)?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let f = instance.get_typed_func::<(), ()>(&mut store, "f")?;
/// let error = f.call(&mut store, ()).unwrap_err();
/// assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Unreachable));
/// let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
/// assert_eq!(backtrace.frames()[0].func_name(), Some("f"));
/// # Ok::<(), sarsen::Error>(())
/// ```
pub use sarsen_abi::TrapCode as Trap;

/// What a call that did not return becomes for the host: its own error or a [`Trap`], with a
/// [`WasmBacktrace`] unless an inner call has attached one. `store` is where it was made.
#[cold]
#[inline(never)]
#[expect(
    clippy::boxed_local,
    reason = "a call's result fits in registers with it boxed"
)]
pub(crate) fn into_error(unwound: Box<Unwound>, store: &StoreOpaque) -> crate::Error {
    let Unwound { reason, backtrace } = *unwound;
    let error = reason_into_error(reason, store.id());
    match backtrace {
        Some(backtrace) if error.downcast_ref::<WasmBacktrace>().is_none() => {
            error.context(WasmBacktrace::new(Some(backtrace), store))
        }
        _ => error,
    }
}

pub(crate) fn reason_into_error(reason: Reason, store: StoreId) -> crate::Error {
    match reason {
        Reason::Trap(code) => code.into(),
        // Both types are told.
        Reason::Cast(types) => {
            crate::Error::from(Trap::CastFailure).context(format!("cast failure: {types}"))
        }
        Reason::Exception {
            error: Some(error), ..
        }
        | Reason::Error(error) => unwrap_host_error(error),
        Reason::Exception { error: None, .. } => ThrownException::of(store).into(),
        // Where compiled code could not be suspended, it was left for another reason.
        Reason::Suspend(_) => Trap::UnhandledTag.into(),
        Reason::Panic(payload) => std::panic::resume_unwind(payload),
    }
}

/// Where WebAssembly was: function names, offsets in the module, and source lines where the module
/// has debugging information.
///
/// The first and last frames are kept up to
/// [`Config::wasm_backtrace_max_frames`](crate::Config::wasm_backtrace_max_frames); those between
/// them are counted. Names and lines are found out when somebody looks.
///
/// It keeps no store alive, and may be kept for longer than one: but the modules of its frames, with their code,
/// and their engine.
pub struct WasmBacktrace {
    /// With the engine of the modules.
    captured: Option<(Box<Backtrace>, Engine)>,
    resolved: OnceLock<Resolved>,
}

#[derive(Default)]
struct Resolved {
    frames: Vec<FrameInfo>,
    omitted: Option<(usize, u64)>,
}

impl WasmBacktrace {
    /// What was captured in this store, if something was.
    pub(crate) fn new(captured: Option<Box<Backtrace>>, store: &StoreOpaque) -> Self {
        WasmBacktrace {
            captured: captured.map(|captured| (captured, store.engine().clone())),
            resolved: OnceLock::new(),
        }
    }

    /// Where the WebAssembly is that called the host function that asks; empty when none runs.
    pub fn capture(store: impl AsContext) -> WasmBacktrace {
        let store = store.as_context().opaque();
        let limits = store.vm().config().backtrace;
        WasmBacktrace::new(exec::capture(store.vm(), limits), store)
    }

    /// As [`WasmBacktrace::capture`], also when [`Config::wasm_backtrace_max_frames`] is zero: then with as many frames
    /// as it is by default.
    ///
    /// [`Config::wasm_backtrace_max_frames`]: crate::Config::wasm_backtrace_max_frames
    pub fn force_capture(store: impl AsContext) -> WasmBacktrace {
        let store = store.as_context().opaque();
        let limits = match store.vm().config().backtrace {
            BacktraceLimits::NONE => BacktraceLimits::default(),
            limits => limits,
        };
        WasmBacktrace::new(exec::capture(store.vm(), limits), store)
    }

    fn resolved(&self) -> &Resolved {
        self.resolved.get_or_init(|| match &self.captured {
            Some((captured, engine)) => {
                let (frames, omitted) = captured.resolve_with_omitted();
                let frames = frames.into_iter().map(|it| FrameInfo::new(it, engine));
                Resolved {
                    frames: frames.collect(),
                    omitted,
                }
            }
            None => Resolved::default(),
        })
    }

    /// The frames, innermost first. Functions that the compiler inlined have frames of their own.
    pub fn frames(&self) -> &[FrameInfo] {
        &self.resolved().frames
    }

    /// How many frames were left out, and how many of [`WasmBacktrace::frames`] come before them.
    pub fn omitted(&self) -> Option<(usize, u64)> {
        self.resolved().omitted
    }
}

impl fmt::Debug for WasmBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmBacktrace")
            .field("frames", &self.frames())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for WasmBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("error while executing at wasm backtrace:")?;
        let mut number = 0;
        let mut omitted = self.omitted();
        for (position, frame) in self.frames().iter().enumerate() {
            if let Some((at, count)) = omitted
                && at == position
            {
                write!(f, "\n       ... {count} frames left out")?;
                number += count;
                omitted = None;
            }
            write!(f, "\n    {number:>3}: {frame}")?;
            number += 1;
        }
        if let Some((_, count)) = omitted {
            write!(f, "\n       ... {count} frames left out")?;
        }
        Ok(())
    }
}

/// A frame of a [`WasmBacktrace`].
///
/// ```
/// use sarsen::{Engine, Instance, Module, Store, WasmBacktrace};
///
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"(module (func (export "f") unreachable))"#)?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let f = instance.get_typed_func::<(), ()>(&mut store, "f")?;
/// let error = f.call(&mut store, ()).unwrap_err();
/// drop(store);
/// let frame = &error.downcast_ref::<WasmBacktrace>().unwrap().frames()[0];
/// assert!(Module::same(frame.module(), &module));
/// // One byte says that the function has no locals; then comes the instruction.
/// assert_eq!(frame.func_offset(), Some(1));
/// # Ok::<(), sarsen::Error>(())
/// ```
pub struct FrameInfo {
    info: exec::FrameInfo,
    module: Module,
    demangled: Option<String>,
    symbols: Vec<FrameSymbol>,
}

impl FrameInfo {
    fn new(mut info: exec::FrameInfo, engine: &Engine) -> Self {
        let symbols = core::mem::take(&mut info.symbols);
        FrameInfo {
            module: Module::from_compiled(engine, Arc::clone(&info.module)),
            demangled: info.demangled_name(),
            symbols: symbols.into_iter().map(FrameSymbol).collect(),
            info,
        }
    }

    /// The module that the function is defined in.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// The function's index in its module.
    pub fn func_index(&self) -> u32 {
        self.info.func.as_u32()
    }

    /// The function's name in the module's name section.
    pub fn func_name(&self) -> Option<&str> {
        self.info.func_name.as_deref()
    }

    /// The function's name as the source program wrote it: demangled, if it is a Rust or C++ symbol.
    pub fn demangled_name(&self) -> Option<&str> {
        self.demangled.as_deref()
    }

    /// The module's name in its name section.
    pub fn module_name(&self) -> Option<&str> {
        self.module.name()
    }

    /// The instruction, in bytes from the beginning of the module; of a frame that has called another, the call.
    /// `None` where the machine code belongs to no instruction, as at a function's beginning.
    pub fn module_offset(&self) -> Option<usize> {
        self.info.wasm_offset.map(|offset| offset as usize)
    }

    /// As [`FrameInfo::module_offset`], from the beginning of the function's body: of its locals, behind its size.
    pub fn func_offset(&self) -> Option<usize> {
        self.info.func_offset.map(|offset| offset as usize)
    }

    /// The source locations, innermost first: more than one, where the program's own compiler
    /// inlined. Empty without debugging information.
    pub fn symbols(&self) -> &[FrameSymbol] {
        &self.symbols
    }

    /// The name by which the function is exported, if it has no other.
    fn export_name(&self) -> Option<&str> {
        let entity = EntityIndex::Func(self.info.func);
        let exports = &self.module.declared().exports;
        let export = exports.iter().find(|e| e.entity == entity)?;
        Some(&export.name)
    }
}

impl fmt::Debug for FrameInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameInfo")
            .field("module", &self.module_name())
            .field("func_index", &self.func_index())
            .field("func_name", &self.func_name())
            .field("module_offset", &self.module_offset())
            .field("symbols", &self.symbols)
            .finish()
    }
}

impl fmt::Display for FrameInfo {
    /// `0x1234 - module!function`, and a line for each source location.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.module_offset() {
            Some(offset) => write!(f, "{offset:#6x} - ")?,
            None => f.write_str("     ? - ")?,
        }
        write!(
            f,
            "{}",
            Printable(self.module_name().unwrap_or("<unknown>"))
        )?;
        match self.demangled_name().or_else(|| self.export_name()) {
            Some(name) => write!(f, "!{}", Printable(name))?,
            None => write!(f, "!<wasm function {}>", self.func_index())?,
        }
        for symbol in &self.symbols {
            write!(f, "\n{:19}at {symbol}", "")?;
        }
        Ok(())
    }
}

/// A location in the source program.
#[derive(Clone, Debug)]
pub struct FrameSymbol(exec::Symbol);

impl FrameSymbol {
    /// The function's name, demangled.
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// The file, as the program's compiler wrote it.
    pub fn file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }

    /// The line, from 1.
    pub fn line(&self) -> Option<u32> {
        self.0.line
    }

    /// The column, from 1.
    pub fn column(&self) -> Option<u32> {
        self.0.column
    }
}

impl fmt::Display for FrameSymbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Printable(self.file().unwrap_or("<unknown file>")))?;
        if let Some(line) = self.line() {
            write!(f, ":{line}")?;
            if let Some(column) = self.column() {
                write!(f, ":{column}")?;
            }
        }
        match self.name() {
            Some(name) => write!(f, " ({})", Printable(name)),
            None => Ok(()),
        }
    }
}
