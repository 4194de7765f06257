//! The host's functions: the same nodes as in WebAssembly, by what the API has for them.
//!
//! Where there are several ways to do one thing (with types known in Rust or without, of one call or of two), a
//! bit of the number says which. Functions that may wait call and resume by futures. What is done with
//! continuations is in `continuations`.

mod continuations;

use crate::machine::{Failure, HOST_DEPTH, TOO_DEEP};
use crate::program::{
    Body, Catch, FUNCTIONS, How, Kind, LabelId, Node, Place, Program, TAGS, Ty, table_index,
};
use sarsen::{
    AnyRef, AsContextMut, AsyncRequiredError, Caller, ConsumedError, ContRef, ContType, Error,
    ExnRef, ExnRefPre, ExnType, Func, FuncType, Global, OwnedRooted, Ref, Result, Rooted, Store,
    StoreContextMut, StructRef, StructRefPre, StructType, Suspend, Table, Tag, ThrownException,
    Trap, V128, Val, WasmBacktrace, WasmParams,
};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// What the host has.
pub(crate) struct Host {
    pub(crate) log: Vec<i32>,
    /// Functions of the host that have not ended.
    depth: usize,
    program: Arc<Program>,
    pub(crate) world: Option<Arc<World>>,
    globals: [Option<OwnedRooted<ContRef>>; Kind::ALL.len()],
}

impl Host {
    pub(crate) fn new(program: Arc<Program>) -> Host {
        Host {
            log: Vec::new(),
            depth: 0,
            program,
            world: None,
            globals: Default::default(),
        }
    }

    /// What was told since the last call. A future that was dropped has not ended its functions.
    pub(crate) fn end_call(&mut self) -> Vec<i32> {
        self.depth = 0;
        std::mem::take(&mut self.log)
    }
}

/// What the host's functions use of the instances.
pub(crate) struct World {
    pub(crate) functions: Table,
    pub(crate) fuel: Global,
    pub(crate) input: Global,
    pub(crate) tags: Vec<Tag>,
    pub(crate) object: StructType,
    pub(crate) conts: Vec<ContType>,
    pub(crate) tables: Vec<Table>,
    pub(crate) cells: Vec<Global>,
}

/// An error of the host's own.
#[derive(Debug)]
struct HostError(i32);

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the host fails with {}", self.0)
    }
}

impl std::error::Error for HostError {}

/// Which failure an error is, unless it is an exception.
pub(crate) fn failure(error: &Error) -> Option<Failure> {
    if let Some(trap) = error.downcast_ref::<Trap>() {
        Some(Failure::Trap(*trap))
    } else if let Some(HostError(number)) = error.downcast_ref() {
        Some(Failure::Host(*number))
    } else if error.is::<ConsumedError>() {
        Some(Failure::Trap(Trap::ContinuationConsumed))
    } else if error.is::<Suspend>() {
        // Nobody but the test has called the function.
        Some(Failure::Trap(Trap::UnhandledTag))
    } else {
        let is_async = error.is::<AsyncRequiredError>();
        is_async.then_some(Failure::CannotWait)
    }
}

/// How many frames a backtrace has.
pub(crate) fn frames(backtrace: &WasmBacktrace) -> usize {
    let omitted = backtrace.omitted().map_or(0, |omitted| omitted.1 as usize);
    backtrace.frames().len() + omitted
}

/// A function of the host, as WebAssembly has it: of types that are known in Rust, where there are such.
pub(crate) fn func(store: &mut Store<Host>, ty: FuncType, function: usize, waits: bool) -> Func {
    match (FUNCTIONS[function], waits) {
        (Kind::Nothing, false) => Func::wrap(store, move |mut caller: Caller<'_, Host>| {
            now(call(caller.as_context_mut(), function, false, &[]))
        }),
        (Kind::Number, false) => Func::wrap(store, move |mut caller: Caller<'_, Host>, n: i32| {
            let arguments = [Val::I32(n)];
            now(call(caller.as_context_mut(), function, false, &arguments))
        }),
        (Kind::Nothing, true) => Func::wrap_async(store, move |mut caller, (): ()| {
            Box::new(async move { call(caller.as_context_mut(), function, true, &[]).await })
        }),
        (Kind::Number, true) => Func::wrap_async(store, move |mut caller, (n,): (i32,)| {
            Box::new(async move {
                let arguments = [Val::I32(n)];
                call(caller.as_context_mut(), function, true, &arguments).await
            })
        }),
        (_, false) => Func::new(store, ty, move |mut caller, arguments, results| {
            let result = now(call(caller.as_context_mut(), function, false, arguments))?;
            results[0] = Val::I32(result);
            Ok(())
        }),
        (_, true) => Func::new_async(store, ty, move |mut caller, arguments, results| {
            Box::new(async move {
                let result = call(caller.as_context_mut(), function, true, arguments).await?;
                results[0] = Val::I32(result);
                Ok(())
            })
        }),
    }
}

/// Calls a function of the host.
pub(crate) async fn call(
    store: StoreContextMut<'_, Host>,
    function: usize,
    waits: bool,
    arguments: &[Val],
) -> Result<i32> {
    let Some(mut activation) = Activation::begin(store, waits, Registers::default()) else {
        return Ok(TOO_DEEP);
    };
    let result = activation.function(function, arguments).await;
    activation.store.data_mut().depth -= 1;
    result
}

/// The result of a future that does not wait.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    let mut future = Box::pin(future);
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

/// Is pending once.
struct Once(bool);

impl Future for Once {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match std::mem::replace(&mut self.0, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

/// One in each lane of a vector.
const LANES: u128 = 1 << 96 | 1 << 64 | 1 << 32 | 1;

#[derive(Default)]
struct Registers {
    number: i32,
    object: Option<Rooted<StructRef>>,
    conts: [Option<Rooted<ContRef>>; Kind::ALL.len()],
    exception: Option<Rooted<ExnRef>>,
}

/// What control does next.
enum Flow {
    Next,
    Branch(LabelId),
    Return,
}

/// A function of the host that runs.
struct Activation<'a> {
    store: StoreContextMut<'a, Host>,
    world: Arc<World>,
    waits: bool,
    registers: Registers,
}

impl<'a> Activation<'a> {
    /// `None` where there are too many.
    fn begin(
        mut store: StoreContextMut<'a, Host>,
        waits: bool,
        registers: Registers,
    ) -> Option<Activation<'a>> {
        let host = store.data_mut();
        if host.depth == HOST_DEPTH {
            return None;
        }
        host.depth += 1;
        let world = host.world.clone().expect("set at first");
        Some(Activation {
            store,
            world,
            waits,
            registers,
        })
    }

    async fn function(&mut self, function: usize, arguments: &[Val]) -> Result<i32> {
        self.take(FUNCTIONS[function].params(), arguments)?;
        let input = self.world.input.get(&mut self.store).unwrap_i32();
        self.mix(input);
        if self.burn() {
            let program = self.store.data().program.clone();
            self.body(&program.functions[function]).await?;
        }
        Ok(self.registers.number)
    }

    async fn go_on(&mut self, tag: usize, values: &[Val], body: &Body) -> Result<i32> {
        self.take(TAGS[tag].resumed.params(), values)?;
        self.body(body).await?;
        Ok(self.registers.number)
    }

    /// Takes some of the fuel, if there is any.
    fn burn(&mut self) -> bool {
        let fuel = self.world.fuel.get(&mut self.store).unwrap_i32();
        let left = self
            .world
            .fuel
            .set(&mut self.store, Val::I32((fuel - 1).max(0)));
        left.expect("it is a number");
        fuel > 0
    }

    /// One of two ways.
    fn one_way(&self) -> bool {
        self.registers.number & 1 == 0
    }

    fn mix(&mut self, number: i32) {
        let registers = &mut self.registers;
        registers.number = registers.number.wrapping_mul(31).wrapping_add(number);
    }

    fn cont(&mut self, kind: Kind) -> &mut Option<Rooted<ContRef>> {
        &mut self.registers.conts[kind as usize]
    }

    /// A continuation that must be there.
    fn some_cont(&mut self, kind: Kind) -> Result<Rooted<ContRef>> {
        self.cont(kind).ok_or_else(|| Trap::NullReference.into())
    }

    /// Values of these types, from registers.
    fn give(&mut self, types: &[Ty]) -> Vec<Val> {
        let number = self.registers.number;
        let values = types.iter().map(|ty| match ty {
            Ty::I32 => Val::I32(number),
            Ty::I64 => Val::I64(i64::from(number).wrapping_mul(3)),
            Ty::V128 => Val::V128(V128::from(u128::from(number as u32) * LANES)),
            Ty::Object => Val::AnyRef(self.registers.object.map(|object| object.to_anyref())),
            Ty::Cont(kind) => {
                let global = self.store.data().globals[*kind as usize].clone();
                Val::ContRef(global.map(|cont| cont.to_rooted(&mut self.store)))
            }
        });
        values.collect()
    }

    /// Puts values into registers.
    fn take(&mut self, types: &[Ty], values: &[Val]) -> Result<()> {
        assert_eq!(types.len(), values.len());
        for (ty, value) in types.iter().zip(values).rev() {
            match (ty, value) {
                (Ty::I32, Val::I32(number)) => self.mix(*number),
                (Ty::I64, Val::I64(number)) => self.mix(*number as i32),
                (Ty::V128, Val::V128(vector)) => self.mix((vector.as_u128() >> 64) as i32),
                (Ty::Object, Val::AnyRef(object)) => {
                    let to_struct = |object: Rooted<AnyRef>| object.unwrap_struct(&self.store);
                    self.registers.object = object.map(to_struct).transpose()?;
                }
                (Ty::Cont(kind), Val::ContRef(cont)) => *self.cont(*kind) = *cont,
                other => panic!("{other:?}"),
            }
        }
        Ok(())
    }

    fn body<'b>(
        &'b mut self,
        body: &'b [Node],
    ) -> Pin<Box<dyn Future<Output = Result<Flow>> + Send + 'b>> {
        Box::pin(async move {
            for node in body {
                match self.node(node).await? {
                    Flow::Next => {}
                    other => return Ok(other),
                }
            }
            Ok(Flow::Next)
        })
    }

    async fn node(&mut self, node: &Node) -> Result<Flow> {
        match node {
            Node::Log(value) => {
                let number = self.registers.number ^ value;
                self.store.data_mut().log.push(number);
            }
            Node::Mix(value) => self.mix(*value),
            Node::NewObject => self.new_object()?,
            Node::ReadObject { guarded } => match self.registers.object {
                Some(object) => {
                    let number = object.field(&mut self.store, 0)?.unwrap_i32();
                    self.mix(number);
                }
                None if *guarded => {}
                None => return Err(Trap::NullReference.into()),
            },
            Node::IsNull(kind) => {
                let is_null = self.cont(*kind).is_none();
                self.mix(i32::from(is_null));
            }
            Node::NewCont(kind, source) => self.new_cont(*kind, *source)?,
            Node::Bind { from, to, guarded } => self.bind(*from, *to, *guarded)?,
            Node::Load(kind, place) => self.load(*kind, *place)?,
            Node::Store(kind, place, take) => {
                self.store(*kind, *place)?;
                if *take {
                    *self.cont(*kind) = None;
                }
            }
            Node::Resume(resume) => return self.resume(resume).await,
            Node::Throw(tag) => {
                let exception = self.exception(*tag)?;
                return self.store.throw(exception);
            }
            Node::ThrowRef { guarded } => match self.registers.exception {
                Some(exception) => return self.store.throw(exception),
                None if *guarded => {}
                None => return Err(Trap::NullReference.into()),
            },
            Node::Try(_, body, catches) => match self.body(body).await {
                Err(error) if error.is::<ThrownException>() => return self.catch(catches).await,
                other => return other,
            },
            Node::Maybe(bit, body) => {
                if self.registers.number >> bit & 1 != 0 {
                    return self.body(body).await;
                }
            }
            Node::Block(label, body) => {
                return Ok(match self.body(body).await? {
                    Flow::Branch(to) if to == *label => Flow::Next,
                    other => other,
                });
            }
            Node::Loop(label, body) => {
                while self.burn() {
                    match self.body(body).await? {
                        Flow::Branch(to) if to == *label => {}
                        other => return Ok(other),
                    }
                }
            }
            Node::Branch(label) => return Ok(Flow::Branch(*label)),
            Node::Return => return Ok(Flow::Return),
            Node::Call(function, how) => self.call(*function, *how).await?,
            Node::Collect => self.store.gc(None)?,
            Node::Unreachable => return Err(Trap::Unreachable.into()),
            Node::End(tag, then) => return Err(self.end(*tag, then.as_ref())?.into()),
            Node::Swallow(body) => match self.body(body).await {
                Err(error) => match failure(&error) {
                    Some(failure) if !error.is::<Suspend>() => self.mix(failure.number()),
                    _ => return Err(error),
                },
                other => return other,
            },
            Node::Fail(number) => return Err(HostError(*number).into()),
            Node::Discard(kind) => {
                if let Some(cont) = *self.cont(*kind) {
                    cont.discard(&mut self.store)?;
                }
            }
            Node::Inspect(kind) => self.inspect(*kind)?,
            Node::Trace => {
                let here = WasmBacktrace::capture(&self.store);
                self.mix(frames(&here) as i32);
            }
            Node::Wait => {
                if self.waits {
                    Once(false).await;
                }
            }
            Node::Suspend(_) | Node::Switch { .. } => unreachable!("in WebAssembly"),
        }
        Ok(Flow::Next)
    }

    fn new_object(&mut self) -> Result<()> {
        let allocator = StructRefPre::new(&mut self.store, self.world.object.clone());
        let cont = *self.cont(Kind::Nothing);
        let fields = [Val::I32(self.registers.number), Val::ContRef(cont)];
        let object = StructRef::new(&mut self.store, &allocator, &fields)?;
        self.registers.object = Some(object);
        Ok(())
    }

    fn table_func(&mut self, instance: usize, function: usize) -> Func {
        let index = table_index(instance, function) as u64;
        match self.world.functions.get(&mut self.store, index) {
            Some(Ref::Func(Some(func))) => func,
            other => panic!("all elements are functions: {other:?}"),
        }
    }

    fn load(&mut self, kind: Kind, place: Place) -> Result<()> {
        let (world, at) = (self.world.clone(), kind as usize);
        let found = match place {
            Place::Global => {
                let global = self.store.data().globals[at].clone();
                Val::ContRef(global.map(|cont| cont.to_rooted(&mut self.store)))
            }
            Place::Cell => world.cells[at].get(&mut self.store),
            Place::Table(slot) => {
                let found = world.tables[at].get(&mut self.store, slot as u64);
                found.expect("it is as large").into()
            }
            Place::Object => match self.registers.object {
                Some(object) => object.field(&mut self.store, 1)?,
                None => return Ok(()),
            },
        };
        let Val::ContRef(cont) = found else {
            panic!("{found:?}");
        };
        *self.cont(kind) = cont;
        Ok(())
    }

    fn store(&mut self, kind: Kind, place: Place) -> Result<()> {
        let (world, at) = (self.world.clone(), kind as usize);
        let cont = *self.cont(kind);
        match place {
            Place::Global => {
                let owned = cont.map(|cont| cont.to_owned_rooted(&mut self.store));
                self.store.data_mut().globals[at] = owned.transpose()?;
                Ok(())
            }
            Place::Cell => world.cells[at].set(&mut self.store, Val::ContRef(cont)),
            Place::Table(slot) => {
                world.tables[at].set(&mut self.store, slot as u64, Ref::Cont(cont))
            }
            Place::Object => match self.registers.object {
                Some(object) => object.set_field(&mut self.store, 1, Val::ContRef(cont)),
                None => Ok(()),
            },
        }
    }

    fn exception(&mut self, tag: usize) -> Result<Rooted<ExnRef>> {
        let values = self.give(TAGS[tag].params);
        let ty = ExnType::from_tag_type(self.world.tags[tag].ty(&self.store))?;
        let allocator = ExnRefPre::new(&mut self.store, ty);
        ExnRef::new(&mut self.store, &allocator, &self.world.tags[tag], &values)
    }

    /// Goes on in a body for the exception that was thrown, if there is one.
    async fn catch(&mut self, catches: &[Catch]) -> Result<Flow> {
        let exception = self.store.take_pending_exception().expect("just thrown");
        let tag = exception.tag(&mut self.store)?;
        let catches_it = |catch: &&Catch| {
            let same = |wanted: usize| Tag::eq(&self.world.tags[wanted], &tag, &self.store);
            catch.tag.is_none_or(same)
        };
        let Some(catch) = catches.iter().find(catches_it) else {
            return self.store.throw(exception);
        };
        if catch.by_reference {
            self.registers.exception = Some(exception);
        }
        if let Some(tag) = catch.tag {
            let values: Vec<Val> = exception.fields(&mut self.store)?.collect();
            self.take(TAGS[tag].params, &values)?;
        }
        self.body(&catch.body).await
    }

    async fn call(&mut self, function: usize, how: How) -> Result<()> {
        let arguments = self.give(FUNCTIONS[function].params());
        let instance = match how {
            How::Direct => 0,
            How::Table(instance) => instance,
            How::Tail => unreachable!("in WebAssembly"),
        };
        let func = self.table_func(instance, function);
        let result = match arguments[..] {
            [] if self.one_way() => self.call_typed(func, ()).await?,
            [Val::I32(number)] if self.one_way() => self.call_typed(func, number).await?,
            _ => self.call_untyped(func, &arguments).await?,
        };
        self.mix(result);
        Ok(())
    }

    async fn call_typed<Params: WasmParams + Send>(
        &mut self,
        func: Func,
        params: Params,
    ) -> Result<i32> {
        let func = func.typed::<Params, i32>(&self.store)?;
        match self.waits {
            true => func.call_async(&mut self.store, params).await,
            false => func.call(&mut self.store, params),
        }
    }

    async fn call_untyped(&mut self, func: Func, arguments: &[Val]) -> Result<i32> {
        let (store, mut results) = (&mut self.store, [Val::I32(0)]);
        match self.waits {
            true => func.call_async(store, arguments, &mut results).await?,
            false => func.call(store, arguments, &mut results)?,
        }
        Ok(results[0].unwrap_i32())
    }
}
