//! `sarsen run`: runs a program, or calls one of its functions.
//!
//! Only what the module needs is set up: WASI when it imports it, a timer thread with `--timeout`.

use crate::arguments;
use crate::budget::Budget;
use crate::input::{Input, Kind};
use crate::options::{self, CodeOptions, GcOptions};
use crate::progress;
use crate::uncaught;
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use sarsen::{Engine, ExternType, Func, Instance, Linker, Module, Store, Trap};
use sarsen_wasi::{DirPerms, FilePerms, WasiCtx};
use std::ffi::OsString;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  sarsen run hello.wasm one two              Arguments after the file are the program's
  sarsen run --dir data::/in wc.wasm /in/a   The program sees the directory `data` as `/in`
  sarsen run --invoke fib fib.wat 30         Call a function and print its results
  sarsen run --timeout 5s --max-memory 64MiB untrusted.wasm
  sarsen run --gc-stats --gc-heap-limit 1GiB objects.wasm
  cat hello.wasm | sarsen run -";

/// Run a WebAssembly program
///
/// The program is a WASI command (it exports `_start`), in binary or text form. It sees nothing of this
/// machine but the standard streams, its arguments, and what the options give it.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Run {
    /// Let the program use a directory, under its own name or as GUEST
    #[arg(long, value_name = "HOST[::GUEST]", value_parser = DirMapping::parse)]
    dir: Vec<DirMapping>,

    /// Set an environment variable; without a value, pass on our own if there is one
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = parse_variable)]
    env: Vec<String>,

    /// Call this exported function instead of `_start`; print its results one a line
    #[arg(long, value_name = "NAME")]
    invoke: Option<String>,

    /// Stop the program when it has executed about this many instructions
    #[arg(long, value_name = "N")]
    fuel: Option<u64>,

    /// Stop the program after this time, such as `500ms` or `2m`
    #[arg(long, value_name = "TIME", value_parser = options::parse_duration)]
    timeout: Option<Duration>,

    /// Let the program's memories, tables and objects together take no more than this, such as `64MiB`
    #[arg(long, value_name = "SIZE", value_parser = options::parse_size)]
    max_memory: Option<u64>,

    /// What to do about imports that nothing provides
    #[arg(long, value_name = "WHAT", default_value = "error")]
    unknown_imports: UnknownImports,

    /// Accept an image made by `sarsen compile`
    ///
    /// An image is machine code: whoever made it can do with this process what they like.
    #[arg(long)]
    allow_precompiled: bool,

    /// Show on standard error at the end what the garbage collector has done
    #[arg(long, help_heading = "Garbage collection")]
    gc_stats: bool,

    #[command(flatten)]
    gc: GcOptions,

    #[command(flatten)]
    code: CodeOptions,

    /// The program (`-` is standard input), and its arguments
    #[arg(
        required = true,
        num_args = 1..,
        value_names = ["FILE", "ARGS"],
        trailing_var_arg = true
    )]
    program: Vec<OsString>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum UnknownImports {
    /// Refuse to run
    Error,
    /// Trap when one is called
    Trap,
    /// Functions do nothing and return zeroes; everything else is empty
    Default,
}

/// A directory of the host under a path of the guest's.
#[derive(Clone, Debug)]
struct DirMapping {
    host: String,
    guest: String,
}

impl DirMapping {
    fn parse(text: &str) -> Result<DirMapping, String> {
        let (host, guest) = text
            .split_once("::")
            .unwrap_or_else(|| (text, plain_path(text)));
        if host.is_empty() || guest.is_empty() {
            return Err("write HOST or HOST::GUEST, neither empty".to_owned());
        }
        Ok(DirMapping {
            host: host.to_owned(),
            guest: guest.to_owned(),
        })
    }
}

/// The path without what does not change its meaning. Programs look for the directory that a path
/// begins with, and `./data/` or (as shells complete it) `data/` begins no path that they were given.
fn plain_path(path: &str) -> &str {
    let mut plain = path;
    while let Some(rest) = plain.strip_prefix("./") {
        plain = rest.trim_start_matches('/');
    }
    match plain.trim_end_matches('/') {
        "" if path.starts_with('/') => "/",
        "" if !path.is_empty() => ".",
        plain => plain,
    }
}

fn parse_variable(text: &str) -> Result<String, String> {
    match text {
        "" => Err("write NAME or NAME=VALUE".to_owned()),
        _ if text.starts_with('=') => Err("the name before `=` is missing".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// What a store of this command holds.
struct Host {
    wasi: Option<WasiCtx>,
    budget: Budget,
}

impl Run {
    pub(crate) fn execute(self) -> Result<u8> {
        let engine = self.engine()?;
        let input = Input::read(&self.program[0])?;
        let description = input.describe();
        let module = self.load(&engine, input)?;
        self.run(&engine, &module)
            .with_context(|| format!("{description} failed"))?;
        Ok(0)
    }

    fn engine(&self) -> Result<Engine> {
        let mut config = self.code.config();
        self.gc.configure(&mut config);
        config.consume_fuel(self.fuel.is_some());
        config.epoch_interruption(self.timeout.is_some());
        Engine::new(&config)
    }

    #[allow(
        unsafe_code,
        reason = "the user vouches for the image with --allow-precompiled"
    )]
    fn load(&self, engine: &Engine, input: Input) -> Result<Module> {
        let description = input.describe();
        match input.kind {
            Kind::Image if !self.allow_precompiled => bail!(
                "{description} is a precompiled image: running it is trusting whoever made it; \
                 pass --allow-precompiled if you do"
            ),
            Kind::Image => {
                // SAFETY: whoever passed --allow-precompiled trusts the image as a program.
                let module = unsafe { input.load_image(engine) };
                module.with_context(|| format!("cannot load {description}"))
            }
            _ => {
                let binary = input.into_binary()?;
                progress::during(format!("compiling {description}"), || {
                    Module::from_binary(engine, &binary)
                })
                .with_context(|| format!("cannot compile {description}"))
            }
        }
    }

    fn run(&self, engine: &Engine, module: &Module) -> Result<()> {
        let interrupted = Arc::new(AtomicBool::new(false));
        let mut linker = Linker::new(engine);
        let wasi = self.wasi(&mut linker, module, &interrupted)?;
        let mut store = Store::new(
            engine,
            Host {
                wasi,
                budget: self.budget(),
            },
        );
        store.limiter(|host| &mut host.budget);
        if let Some(fuel) = self.fuel {
            store.set_fuel(fuel)?;
        }
        match self.unknown_imports {
            UnknownImports::Error => {}
            UnknownImports::Trap => linker.define_unknown_imports_as_traps(module)?,
            UnknownImports::Default => {
                linker.define_unknown_imports_as_default_values(&mut store, module)?;
            }
        }
        if let Some(timeout) = self.timeout {
            store.set_epoch_deadline(1);
            start_timer(engine, timeout, interrupted)?;
        }
        let result = self.run_in(&mut store, &linker, module);
        if self.gc_stats {
            eprintln!("{}", store.gc_stats());
        }
        result.map_err(|error| explain_exhaustion(error, &store))
    }

    fn run_in(
        &self,
        store: &mut Store<Host>,
        linker: &Linker<Host>,
        module: &Module,
    ) -> Result<()> {
        let instance = linker
            .instantiate(&mut *store, module)
            .map_err(|error| uncaught::explain(error, store, None))?;
        let result = match &self.invoke {
            Some(name) => self.invoke(store, module, &instance, name),
            None => start(store, module, &instance),
        };
        result.map_err(|error| uncaught::explain(error, store, Some(&instance)))
    }

    /// Adds WASI to the linker, when the module imports it.
    fn wasi(
        &self,
        linker: &mut Linker<Host>,
        module: &Module,
        interrupted: &Arc<AtomicBool>,
    ) -> Result<Option<WasiCtx>> {
        let context = self.wasi_context(interrupted)?;
        if !module.imports().any(|i| i.module().starts_with("wasi_")) {
            return Ok(None);
        }
        sarsen_wasi::add_to_linker(linker, |host: &mut Host| {
            host.wasi.as_mut().expect("set before anything is linked")
        })?;
        Ok(Some(context))
    }

    fn wasi_context(&self, interrupted: &Arc<AtomicBool>) -> Result<WasiCtx> {
        let mut builder = WasiCtx::builder();
        builder.inherit_stdio();
        for argument in &self.program {
            builder.arg(argument.as_encoded_bytes());
        }
        for variable in &self.env {
            match variable.split_once('=') {
                Some((name, value)) => {
                    builder.env(name, value);
                }
                // What we do not have ourselves, we do not pass on: empty would be something else.
                None => {
                    if let Some(value) = std::env::var_os(variable) {
                        builder.env(variable, value.as_encoded_bytes());
                    }
                }
            }
        }
        for dir in &self.dir {
            builder
                .preopened_dir(&dir.host, &dir.guest, DirPerms::all(), FilePerms::all())
                .context("--dir")?;
        }
        if self.timeout.is_some() {
            let interrupted = interrupted.clone();
            builder.interrupt_check(move || match interrupted.load(Ordering::Relaxed) {
                true => Err(Trap::Interrupt.into()),
                false => Ok(()),
            });
        }
        Ok(builder.build())
    }

    fn budget(&self) -> Budget {
        let bytes = self.max_memory.unwrap_or(u64::MAX);
        Budget::new(usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    fn invoke(
        &self,
        store: &mut Store<Host>,
        module: &Module,
        instance: &Instance,
        name: &str,
    ) -> Result<()> {
        let func = instance
            .get_func(&mut *store, name)
            .ok_or_else(|| unknown_function(module, name))?;
        let ty = func.ty(&*store);
        let arguments = self.program[1..]
            .iter()
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect::<Vec<_>>();
        let arguments = arguments::parse(name, &ty, &arguments)?;
        initialize(store, instance)?;
        let mut results = arguments::placeholders(&ty);
        func.call(&mut *store, &arguments, &mut results)?;
        let mut stdout = std::io::stdout().lock();
        for result in &results {
            writeln!(stdout, "{}", arguments::shown(&*store, result)?)?;
        }
        stdout.flush()?;
        Ok(())
    }
}

/// Runs the program's `_start`.
fn start(store: &mut Store<Host>, module: &Module, instance: &Instance) -> Result<()> {
    match instance.get_func(&mut *store, "_start") {
        Some(start) => call_plain(store, &start, "_start"),
        None if functions(module).is_empty() => Ok(()),
        None => Err(unknown_function(module, "_start"))
            .context("it is no program, but --invoke can call its functions"),
    }
}

/// A WASI reactor wants to be initialized before anything else of it is called.
fn initialize(store: &mut Store<Host>, instance: &Instance) -> Result<()> {
    match instance.get_func(&mut *store, "_initialize") {
        Some(initialize) => call_plain(store, &initialize, "_initialize"),
        None => Ok(()),
    }
}

fn call_plain(store: &mut Store<Host>, func: &Func, name: &str) -> Result<()> {
    let func = func
        .typed::<(), ()>(&*store)
        .with_context(|| format!("`{name}` is no entry point"))?;
    func.call(store, ())
}

/// Says what the limits of the heap are when an object found no room.
fn explain_exhaustion(error: sarsen::Error, store: &Store<Host>) -> sarsen::Error {
    if error.downcast_ref::<Trap>() != Some(&Trap::AllocationTooLarge) {
        return error;
    }
    let stats = store.gc_stats();
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    error.context(format!(
        "the program's objects found no room: the heap has {:.1} MiB, of which {:.1} MiB were live at \
         its last full collection, and cannot grow; see --gc-heap-limit and --max-memory",
        mib(stats.bytes_committed),
        mib(stats.bytes_live)
    ))
}

/// The names of the functions that a module exports.
fn functions(module: &Module) -> Vec<&str> {
    module
        .exports()
        .filter(|export| matches!(export.ty(), ExternType::Func(_)))
        .map(|export| export.name())
        .collect()
}

fn unknown_function(module: &Module, name: &str) -> sarsen::Error {
    /// More are not listed.
    const LISTED: usize = 40;
    let functions = functions(module);
    if functions.is_empty() {
        return anyhow!("it exports no function `{name}`, and no other function either");
    }
    let listed: Vec<String> = functions
        .iter()
        .take(LISTED)
        .map(|name| format!("`{}`", name.escape_debug()))
        .collect();
    let more = match functions.len().checked_sub(LISTED) {
        Some(more) if more > 0 => format!(" and {more} more"),
        _ => String::new(),
    };
    anyhow!(
        "it exports no function `{name}`; it exports {}{more}",
        listed.join(", ")
    )
}

/// Interrupts the program after `timeout`: what computes by the epoch, what waits by the flag.
fn start_timer(engine: &Engine, timeout: Duration, interrupted: Arc<AtomicBool>) -> Result<()> {
    let engine = engine.clone();
    let timer = std::thread::Builder::new().name("timeout".to_owned());
    timer
        .spawn(move || {
            std::thread::sleep(timeout);
            interrupted.store(true, Ordering::Relaxed);
            engine.increment_epoch();
        })
        .context("cannot start a thread for --timeout")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{DirMapping, plain_path};

    #[test]
    fn directories_are_named_as_paths_into_them_begin() {
        for (given, plain) in [
            ("data", "data"),
            ("data/", "data"),
            ("./data//", "data"),
            (".//./data/in", "data/in"),
            ("../data/", "../data"),
            (".", "."),
            ("./", "."),
            ("././", "."),
            ("/", "/"),
            ("///", "/"),
            ("/data/", "/data"),
            (".data", ".data"),
            ("", ""),
        ] {
            assert_eq!(plain_path(given), plain, "{given}");
        }
        let mapping = DirMapping::parse("./data/").unwrap();
        assert_eq!((&*mapping.host, &*mapping.guest), ("./data/", "data"));
        let mapping = DirMapping::parse("data::./in/").unwrap();
        assert_eq!((&*mapping.host, &*mapping.guest), ("data", "./in/"));
        for refused in ["", "::in", "data::"] {
            DirMapping::parse(refused).unwrap_err();
        }
    }
}
