//! [`Runner`]: the state of a running script, and what each directive does to it.
//!
//! Directives that need what Sarsen does not have (components) fail with a message that says so, never
//! silently.

use super::{Failure, Source, spectest, values};
use anyhow::{Context, Result, anyhow, bail};
use sarsen::{
    Caller, Engine, Extern, Instance, Linker, Module, SharedMemory, Store, ThrownException, Trap,
    Val,
};
use std::collections::HashMap;
use std::thread::{Scope, ScopedJoinHandle};
use wast::token::Id;
use wast::{QuoteWat, WastDirective, WastExecute, WastInvoke, WastRet, WastThread, Wat};

/// The state of a script, or of a thread of one.
pub(super) struct Runner<'s, 'a> {
    engine: Engine,
    source: Source<'a>,
    /// Where threads are started.
    scope: &'s Scope<'s, 'a>,
    /// Those that were not waited for.
    threads: HashMap<String, ScopedJoinHandle<'s, Vec<Failure>>>,
    /// The shared memories that the instance exports by which a thread was started, and its name.
    shared: Option<(String, Vec<(String, SharedMemory)>)>,
    store: Store<()>,
    linker: Linker<()>,
    /// The instance that directives without a name mean: the last one made.
    current: Option<Instance>,
    instances: HashMap<String, Instance>,
    /// Modules that were defined but not instantiated, by name; the last one also without.
    definitions: HashMap<Option<String>, Module>,
}

/// What executing something came to: results, or the error that ended it.
type Outcome = Result<Vec<Val>>;

impl<'s, 'a> Runner<'s, 'a> {
    pub(super) fn new(
        engine: &Engine,
        source: Source<'a>,
        scope: &'s Scope<'s, 'a>,
    ) -> Result<Self> {
        let mut store = Store::new(engine, ());
        let mut linker = Linker::new(engine);
        linker.allow_shadowing(true);
        spectest::define(&mut linker, &mut store)?;
        linker.func_wrap("sarsen", "gc", |mut caller: Caller<'_, ()>| caller.gc(None))?;
        Ok(Runner {
            engine: engine.clone(),
            source,
            scope,
            threads: HashMap::new(),
            shared: None,
            store,
            linker,
            current: None,
            instances: HashMap::new(),
            definitions: HashMap::new(),
        })
    }

    /// Executes directives; returns those that failed.
    pub(super) fn run(&mut self, directives: Vec<WastDirective<'a>>) -> Vec<Failure> {
        let mut failures = Vec::new();
        for directive in directives {
            let at = directive.span();
            if let WastDirective::Wait { thread, .. } = &directive {
                match self.wait(*thread) {
                    Ok(more) => failures.extend(more),
                    Err(error) => failures.push(self.source.failure(at, &error)),
                }
            } else if let Err(error) = self.execute(directive) {
                failures.push(self.source.failure(at, &error));
            }
        }
        failures
    }

    /// Executes a directive that is not `wait`.
    fn execute(&mut self, directive: WastDirective<'a>) -> Result<()> {
        use WastDirective as D;
        match directive {
            D::Module(module) => self.instantiate_new(module),
            D::ModuleDefinition(module) => self.define(module),
            D::ModuleInstance {
                instance, module, ..
            } => self.instantiate_defined(instance, module),
            D::Register { name, module, .. } => self.register(name, module),
            D::Invoke(invoke) => self.invoke(&invoke).map(|_| ()),
            D::AssertReturn { exec, results, .. } => self.assert_return(exec, &results),
            D::AssertTrap { exec, message, .. } => self.assert_trap(exec, message),
            D::AssertExhaustion { call, message, .. } => self.assert_exhaustion(&call, message),
            D::AssertInvalid {
                module, message, ..
            }
            | D::AssertMalformed {
                module, message, ..
            } => self.assert_rejected(module, message),
            // Custom sections do not change what a module does; those that make no sense to a reader
            // are ignored.
            D::AssertInvalidCustom { .. } => Ok(()),
            D::AssertMalformedCustom {
                module, message, ..
            } => self.assert_rejected(module, message),
            D::AssertUnlinkable {
                module, message, ..
            } => self.assert_unlinkable(module, message),
            D::AssertException { exec, .. } => self.assert_exception(exec),
            D::AssertSuspension { exec, message, .. } => self.assert_trap(exec, message),
            D::Thread(thread) => self.start_thread(thread),
            D::Wait { .. } => unreachable!("`run` waits"),
        }
    }

    /// Starts a thread with a store of its own. It sees nothing of this one but the shared memories of
    /// one instance.
    fn start_thread(&mut self, thread: WastThread<'a>) -> Result<()> {
        let shared = match thread.shared_module {
            None => None,
            Some(module) => Some((module.name().to_owned(), self.shared_memories(module)?)),
        };
        let (engine, source, scope) = (self.engine.clone(), self.source, self.scope);
        let span = thread.span;
        let handle = self.scope.spawn(move || {
            let mut runner = match Runner::new(&engine, source, scope) {
                Ok(runner) => runner,
                Err(error) => return vec![source.failure(span, &error)],
            };
            runner.shared = shared;
            runner.run(thread.directives)
        });
        self.threads.insert(thread.name.name().to_owned(), handle);
        Ok(())
    }

    fn shared_memories(&mut self, module: Id<'_>) -> Result<Vec<(String, SharedMemory)>> {
        let instance = self.instance(Some(module))?;
        let exports = instance.exports(&mut self.store);
        Ok(exports
            .filter_map(|export| {
                let name = export.name().to_owned();
                Some((name, export.into_shared_memory()?))
            })
            .collect())
    }

    /// Waits for a thread; returns its failures.
    fn wait(&mut self, thread: Id<'_>) -> Result<Vec<Failure>> {
        let name = thread.name();
        let handle = self.threads.remove(name);
        let handle = handle.with_context(|| format!("there is no thread ${name}"))?;
        handle
            .join()
            .map_err(|_| anyhow!("the thread ${name} has panicked"))
    }

    fn compile(&self, mut module: QuoteWat<'_>) -> Result<Module> {
        let binary = module.encode()?;
        Module::from_binary(&self.engine, &binary)
    }

    fn instantiate(&mut self, module: &Module) -> Result<Instance> {
        self.linker.instantiate(&mut self.store, module)
    }

    fn instantiate_new(&mut self, module: QuoteWat<'_>) -> Result<()> {
        let name = module.name();
        // Without one, what follows would be checked against the module before.
        self.current = None;
        let module = self.compile(module)?;
        let instance = self.instantiate(&module)?;
        self.make_current(name, instance);
        Ok(())
    }

    fn make_current(&mut self, name: Option<Id<'_>>, instance: Instance) {
        self.current = Some(instance);
        if let Some(name) = name {
            self.instances.insert(name.name().to_owned(), instance);
        }
    }

    fn define(&mut self, module: QuoteWat<'_>) -> Result<()> {
        let name = module.name().map(|name| name.name().to_owned());
        let module = self.compile(module)?;
        if name.is_some() {
            self.definitions.insert(name, module.clone());
        }
        self.definitions.insert(None, module);
        Ok(())
    }

    fn instantiate_defined(
        &mut self,
        instance: Option<Id<'_>>,
        module: Option<Id<'_>>,
    ) -> Result<()> {
        let name = module.map(|name| name.name().to_owned());
        let module = self.definitions.get(&name).cloned();
        let module = module.with_context(|| match name {
            Some(name) => format!("no module ${name} is defined"),
            None => "no module is defined".to_owned(),
        })?;
        let made = self.instantiate(&module)?;
        self.make_current(instance, made);
        Ok(())
    }

    fn register(&mut self, name: &str, module: Option<Id<'_>>) -> Result<()> {
        if let (Some(id), Some((shared, memories))) = (module, &self.shared)
            && id.name() == shared
        {
            for (export, memory) in memories {
                self.linker
                    .define(&self.store, name, export, memory.clone())?;
            }
            return Ok(());
        }
        let instance = self.instance(module)?;
        self.linker.instance(&mut self.store, name, instance)?;
        Ok(())
    }

    fn instance(&self, name: Option<Id<'_>>) -> Result<Instance> {
        match name {
            None => self.current.context("there is no current instance"),
            Some(name) => self
                .instances
                .get(name.name())
                .copied()
                .with_context(|| format!("there is no instance ${}", name.name())),
        }
    }

    fn invoke(&mut self, invoke: &WastInvoke<'_>) -> Outcome {
        let instance = self.instance(invoke.module)?;
        let func = instance
            .get_func(&mut self.store, invoke.name)
            .with_context(|| format!("there is no exported function {:?}", invoke.name))?;
        let mut arguments = Vec::with_capacity(invoke.args.len());
        for argument in &invoke.args {
            arguments.push(values::argument(&mut self.store, argument)?);
        }
        let ty = func.ty(&self.store);
        let mut results = crate::arguments::placeholders(&ty);
        func.call(&mut self.store, &arguments, &mut results)?;
        Ok(results)
    }

    fn perform(&mut self, exec: WastExecute<'_>) -> Outcome {
        match exec {
            WastExecute::Invoke(invoke) => self.invoke(&invoke),
            WastExecute::Get { module, global, .. } => {
                let instance = self.instance(module)?;
                let found = instance.get_export(&mut self.store, global);
                match found {
                    Some(Extern::Global(global)) => Ok(vec![global.get(&mut self.store)]),
                    _ => bail!("there is no exported global {global:?}"),
                }
            }
            WastExecute::Wat(module) => {
                let module = self.compile(QuoteWat::Wat(module))?;
                self.instantiate(&module).map(|_| Vec::new())
            }
        }
    }

    fn assert_return(&mut self, exec: WastExecute<'_>, expected: &[WastRet<'_>]) -> Result<()> {
        let results = self.perform(exec)?;
        values::check(&mut self.store, &results, expected)
    }

    fn assert_trap(&mut self, exec: WastExecute<'_>, message: &str) -> Result<()> {
        match self.perform(exec) {
            Ok(results) => bail!("expected the trap {message:?}, found the results {results:?}"),
            Err(error) => check_trap(&error, message),
        }
    }

    fn assert_exception(&mut self, exec: WastExecute<'_>) -> Result<()> {
        match self.perform(exec) {
            Ok(results) => bail!("expected an exception, found the results {results:?}"),
            Err(error) if error.is::<ThrownException>() => {
                let exception = self.store.take_pending_exception();
                exception.map(|_| ()).context("no exception is pending")
            }
            Err(error) => Err(error.context("expected an exception")),
        }
    }

    fn assert_exhaustion(&mut self, call: &WastInvoke<'_>, message: &str) -> Result<()> {
        match self.invoke(call) {
            Ok(results) => bail!("expected {message:?}, found the results {results:?}"),
            Err(error) => match error.downcast_ref::<Trap>() {
                Some(Trap::StackOverflow) => Ok(()),
                _ => Err(error.context(format!("expected {message:?}"))),
            },
        }
    }

    /// Malformed or invalid: either way nothing may be made of it. Which of the two is not told
    /// apart, because readers may validate while they parse.
    fn assert_rejected(&mut self, module: QuoteWat<'_>, message: &str) -> Result<()> {
        match self.compile(module) {
            Ok(_) => bail!("expected the module to be rejected: {message:?}"),
            Err(_) => Ok(()),
        }
    }

    fn assert_unlinkable(&mut self, module: Wat<'_>, message: &str) -> Result<()> {
        let module = self.compile(QuoteWat::Wat(module))?;
        match self.instantiate(&module) {
            Ok(_) => bail!("expected a module that cannot be linked: {message:?}"),
            Err(error) if error.downcast_ref::<Trap>().is_some() => {
                Err(error.context(format!("expected a link error: {message:?}")))
            }
            Err(_) => Ok(()),
        }
    }
}

/// Checks that `error` is a trap with this message. Scripts shorten messages, or add details such as
/// an element's index.
fn check_trap(error: &sarsen::Error, message: &str) -> Result<()> {
    let Some(trap) = error.downcast_ref::<Trap>() else {
        bail!("expected the trap {message:?}, found another error: {error:#}");
    };
    let found = trap.message();
    // Scripts say what kind of reference it is that is null.
    let null = *trap == Trap::NullReference
        && message.starts_with("null ")
        && message.ends_with(" reference");
    if null || found.starts_with(message) || message.starts_with(found) {
        return Ok(());
    }
    bail!("expected the trap {message:?}, found {found:?}")
}
