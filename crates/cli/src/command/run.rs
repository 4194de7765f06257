//! `sarsen run`: runs a program, or calls one of its functions.
//!
//! Only what the module needs is set up: WASI when it imports it, a timer thread with `--timeout`.

use crate::arguments;
use crate::budget::Budget;
use crate::input::{Input, Kind};
use crate::limits::Limits;
use crate::options::{CodeOptions, GcOptions};
use crate::progress;
use crate::proposals;
use crate::uncaught;
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use sarsen::{Engine, ExternType, Func, Instance, Linker, Module, Store, Trap};
use sarsen_wasi::{DirPerms, FilePerms, WasiCtx};
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const EXAMPLES: &str = "\
Examples:
  sarsen run hello.wasm one two              Arguments after the file are the program's
  sarsen run --dir data::/in wc.wasm /in/a   The program sees the directory `data` as `/in`
  sarsen run --invoke fib fib.wat 30         Call a function and print its results
  sarsen run --timeout 5s --max-memory 64MiB untrusted.wasm
  sarsen run --max-wasm-stack 64MiB deep.wasm
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
    limits: Limits,

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
        let interrupted = Arc::new(AtomicBool::new(false));
        let wasi = self.wasi_context(&interrupted)?;
        let input = self.read()?;
        let description = input.describe();
        let module = self.load(&engine, input)?;
        let run = || self.run(&module, wasi, &interrupted);
        let result = self.limits.stacks.with_room(run);
        result.with_context(|| format!("{description} failed"))?;
        Ok(0)
    }

    fn engine(&self) -> Result<Engine> {
        let mut config = self.code.config();
        self.limits.configure(&mut config);
        self.gc.configure(&mut config);
        Engine::new(&config)
    }

    fn read(&self) -> Result<Input> {
        let name = &self.program[0];
        Input::read(name).map_err(|error| match may_be_a_command(name, &error) {
            true => error.context(format!(
                "there is neither a file nor a command `{}`; `sarsen --help` lists the commands",
                name.display()
            )),
            false => error,
        })
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
                .map_err(|error| proposals::explain(error, self.code.features(), &binary))
                .with_context(|| format!("cannot compile {description}"))
            }
        }
    }

    fn run(&self, module: &Module, wasi: WasiCtx, interrupted: &Arc<AtomicBool>) -> Result<()> {
        let mut linker = Linker::new(module.engine());
        let wasi = uses_wasi(module).then_some(wasi);
        if wasi.is_some() {
            sarsen_wasi::add_to_linker(&mut linker, |host: &mut Host| {
                host.wasi.as_mut().expect("set before anything is linked")
            })?;
        }
        let budget = self.limits.budget();
        let mut store = Store::new(module.engine(), Host { wasi, budget });
        store.limiter(|host| &mut host.budget);
        match self.unknown_imports {
            UnknownImports::Error => {}
            UnknownImports::Trap => linker.define_unknown_imports_as_traps(module)?,
            UnknownImports::Default => {
                linker.define_unknown_imports_as_default_values(&mut store, module)?;
            }
        }
        self.limits.begin(&mut store, interrupted)?;
        let result = self.run_in(&mut store, &linker, module);
        if self.gc_stats {
            eprintln!("{}", store.gc_stats());
        }
        result.map_err(|error| self.limits.explain(error, &store))
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
                .context("the program cannot be given a directory (--dir)")?;
        }
        if self.limits.has_timeout() {
            let interrupted = interrupted.clone();
            builder.interrupt_check(move || match interrupted.load(Ordering::Relaxed) {
                true => Err(Trap::Interrupt.into()),
                false => Ok(()),
            });
        }
        Ok(builder.build())
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
        let mut shown = String::new();
        for result in &results {
            shown += &arguments::shown(&*store, result)?;
            shown.push('\n');
        }
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(shown.as_bytes());
        written
            .and_then(|()| stdout.flush())
            .context("cannot write its results to standard output")
    }
}

fn uses_wasi(module: &Module) -> bool {
    module.imports().any(|i| i.module().starts_with("wasi_"))
}

/// Whether `name`, which could not be read, looks like the name of a command that there is not.
fn may_be_a_command(name: &OsStr, error: &sarsen::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    let is_missing = cause.is_some_and(|cause| cause.kind() == io::ErrorKind::NotFound);
    let letters = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    is_missing && name.as_encoded_bytes().iter().all(letters)
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
