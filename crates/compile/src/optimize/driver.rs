//! Handing out the work of compiling a module to threads.

use super::collect::collect;
use crate::compiled::{CodeKind, CompiledFunction, SourceTable};
use crate::error::{CompileError, Result};
use crate::lower::{self, ModuleContext};
use crate::stub::{self, Stub};
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::{CodegenError, Context};
use cranelift_frontend::FunctionBuilderContext;
use rayon::prelude::*;
use sarsen_abi::DefinedFuncIndex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// A piece of code to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work<'a> {
    /// A function of the module.
    Wasm(DefinedFuncIndex),
    /// A stub.
    Stub(Stub<'a>),
}

/// The size of the function body that takes as long to compile as a stub.
const STUB_SIZE_BYTES: u64 = 16;

/// Below this many bytes of function bodies, other threads are not worth waking.
const PARALLEL_THRESHOLD_BYTES: u64 = 2 << 10;

/// Compiles every piece of `work`; `cx` is the module of the functions among it. The result is in
/// the order of [`CodeKind`].
///
/// # Errors
///
/// The error of the first function, by index, that cannot be compiled.
pub(crate) fn compile_all<'a>(
    isa: &dyn TargetIsa,
    cx: Option<&ModuleContext<'a>>,
    mut work: Vec<Work<'a>>,
) -> Result<Vec<CompiledFunction>> {
    let size = |work: &Work<'_>| match (work, cx) {
        (Work::Wasm(func), Some(cx)) => u64::from(cx.bodies[func.index()].size),
        _ => STUB_SIZE_BYTES,
    };
    // The largest first, so that no thread is left alone with one at the end.
    work.sort_by_key(|w| std::cmp::Reverse(size(w)));
    let total: u64 = work.iter().map(size).sum();

    let job = Job {
        isa,
        cx,
        workspaces: Mutex::default(),
        first_failed: AtomicU32::new(u32::MAX),
    };
    let outcomes: Vec<Outcome> = if total < PARALLEL_THRESHOLD_BYTES {
        work.iter().map(|work| job.run(*work)).collect()
    } else {
        let parallel = work.par_iter().with_max_len(1);
        parallel.map(|work| job.run(*work)).collect()
    };
    let mut functions = merge(outcomes)?;
    functions.sort_unstable_by_key(|function| function.kind);
    Ok(functions)
}

/// What became of a piece of work: `None` when it was skipped, because another has failed.
type Outcome = Option<Result<CompiledFunction, Box<CompileError>>>;

/// All functions, or the error of the first by index.
fn merge(outcomes: Vec<Outcome>) -> Result<Vec<CompiledFunction>> {
    let mut functions = Vec::with_capacity(outcomes.len());
    let mut first_error: Option<Box<CompileError>> = None;
    for outcome in outcomes.into_iter().flatten() {
        match outcome {
            Ok(function) => functions.push(function),
            Err(error) => match &first_error {
                Some(known) if known.function() <= error.function() => {}
                _ => first_error = Some(error),
            },
        }
    }
    match first_error {
        Some(error) => Err(*error),
        None => Ok(functions),
    }
}

/// Memory that a thread reuses from function to function.
struct Workspace {
    builders: FunctionBuilderContext,
    context: Context,
}

impl Workspace {
    fn new() -> Self {
        Workspace {
            builders: FunctionBuilderContext::new(),
            context: Context::new(),
        }
    }
}

/// Compiling one module.
struct Job<'j, 'a> {
    isa: &'j dyn TargetIsa,
    cx: Option<&'j ModuleContext<'a>>,
    /// As many as threads have ever worked at once. Work is handed out in single pieces, so a
    /// thread has no place of its own to keep one.
    workspaces: Mutex<Vec<Workspace>>,
    /// The smallest index of a function that has failed. Those after it are not worth compiling any
    /// more; those before it are, so that the same error is reported on any number of threads.
    first_failed: AtomicU32,
}

impl Job<'_, '_> {
    fn run(&self, work: Work<'_>) -> Outcome {
        let index = match work {
            Work::Wasm(func) => func.as_u32(),
            Work::Stub(_) => u32::MAX,
        };
        if self.first_failed.load(Ordering::Relaxed) < index {
            return None;
        }
        let workspace = lock(&self.workspaces).pop();
        let mut workspace = workspace.unwrap_or_else(Workspace::new);
        let result = self.compile(work, &mut workspace);
        lock(&self.workspaces).push(workspace);
        if result.is_err() {
            self.first_failed.fetch_min(index, Ordering::Relaxed);
        }
        Some(result.map_err(Box::new))
    }

    fn compile(&self, work: Work<'_>, workspace: &mut Workspace) -> Result<CompiledFunction> {
        match work {
            Work::Wasm(func) => {
                let cx = self.cx.expect("functions are compiled with their module");
                self.compile_function(cx, func, workspace)
            }
            Work::Stub(stub) => {
                let target = self.isa.frontend_config();
                let builders = &mut workspace.builders;
                workspace.context.func = stub::lower_stub(stub, target, builders);
                self.generate(stub.kind(), SourceTable::default(), workspace)
            }
        }
    }

    fn compile_function(
        &self,
        cx: &ModuleContext<'_>,
        func: DefinedFuncIndex,
        workspace: &mut Workspace,
    ) -> Result<CompiledFunction> {
        let target = self.isa.frontend_config();
        let lowered = lower::lower_function(cx, func, target, &mut workspace.builders)?;
        #[cfg(debug_assertions)]
        if let Err(violation) = super::safepoints::check(&lowered.clif, &lowered.references) {
            panic!("function {}: {violation}\n{}", func.as_u32(), lowered.clif);
        }
        workspace.context.func = lowered.clif;
        if !lowered.array_checks.is_empty() {
            super::ranges::remove_checks(&mut workspace.context, &lowered.array_checks);
        }
        self.generate(CodeKind::Wasm(func), lowered.source, workspace)
            .map_err(|error| error.in_function(cx.module.func_index(func)))
    }

    /// Compiles the CLIF in the workspace.
    fn generate(
        &self,
        kind: CodeKind,
        source: SourceTable,
        workspace: &mut Workspace,
    ) -> Result<CompiledFunction> {
        let context = &mut workspace.context;
        let result = match context.compile(self.isa, &mut ControlPlane::default()) {
            Ok(_) => {
                let code = context.compiled_code().expect("just compiled");
                Ok(collect(kind, code, &context.func, source))
            }
            Err(error) => Err(codegen_error(kind, &error)),
        };
        context.clear();
        result
    }
}

/// Only a function's size is a module's fault; anything else is ours.
fn codegen_error(kind: CodeKind, error: &cranelift_codegen::CompileError<'_>) -> CompileError {
    match &error.inner {
        CodegenError::ImplLimitExceeded | CodegenError::CodeTooLarge => {
            CompileError::new("too large to be compiled")
        }
        other => panic!("{kind:?}: {other}\n{}", error.func),
    }
}

/// The mutex protects a stack of buffers; a panic elsewhere leaves it as good as it was.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
