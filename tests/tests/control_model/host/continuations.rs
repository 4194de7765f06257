//! Making, binding, resuming and suspending continuations.

use super::{Activation, Flow, Host, Registers, frames, now};
use crate::machine::{CONSUMED, NO_CONT, TOO_DEEP};
use crate::program::{Body, Kind, Mode, Program, Resume, Source, TAGS};
use sarsen::{
    AsContextMut, Caller, ContRef, ExnRef, Handlers, OwnedRooted, Result, Resumed, Rooted,
    StoreContextMut, StructRef, Suspend, Tag, Trap, TypedCont, Val, WasmParams,
};
use std::sync::Arc;

/// Registers, while the function is suspended.
struct Kept {
    number: i32,
    object: Option<OwnedRooted<StructRef>>,
    conts: [Option<OwnedRooted<ContRef>>; Kind::ALL.len()],
    exception: Option<OwnedRooted<ExnRef>>,
    /// Who still has it tells that something was not dropped.
    _program: Arc<Program>,
}

impl Kept {
    fn new(registers: &Registers, store: &mut StoreContextMut<'_, Host>) -> Result<Kept> {
        let object = registers.object.map(|it| it.to_owned_rooted(&mut *store));
        let exception = registers.exception;
        let exception = exception.map(|it| it.to_owned_rooted(&mut *store));
        let mut conts = [const { None }; Kind::ALL.len()];
        for (kept, cont) in conts.iter_mut().zip(registers.conts) {
            *kept = cont.map(|it| it.to_owned_rooted(&mut *store)).transpose()?;
        }
        Ok(Kept {
            number: registers.number,
            object: object.transpose()?,
            conts,
            exception: exception.transpose()?,
            _program: store.data().program.clone(),
        })
    }

    fn to_rooted(&self, store: &mut StoreContextMut<'_, Host>) -> Registers {
        let mut conts = [None; Kind::ALL.len()];
        for (cont, kept) in conts.iter_mut().zip(&self.conts) {
            *cont = kept.as_ref().map(|it| it.to_rooted(&mut *store));
        }
        let exception = self.exception.as_ref();
        Registers {
            number: self.number,
            object: self.object.as_ref().map(|it| it.to_rooted(&mut *store)),
            conts,
            exception: exception.map(|it| it.to_rooted(&mut *store)),
        }
    }
}

/// What is done when a function of the host is resumed that has suspended with a tag.
fn resumed(
    mut store: StoreContextMut<'_, Host>,
    kept: &Kept,
    tag: usize,
    values: &[Val],
    body: &Body,
) -> Result<i32> {
    let registers = kept.to_rooted(&mut store);
    let Some(mut activation) = Activation::begin(store, false, registers) else {
        return Ok(TOO_DEEP);
    };
    let result = now(activation.go_on(tag, values, body));
    activation.store.data_mut().depth -= 1;
    result
}

/// With what a continuation is resumed.
enum With<Values> {
    Values(Values),
    Exception(Rooted<ExnRef>),
}

impl<Values> With<Values> {
    fn map<Other>(self, to: impl FnOnce(Values) -> Other) -> With<Other> {
        match self {
            With::Values(values) => With::Values(to(values)),
            With::Exception(exception) => With::Exception(exception),
        }
    }
}

impl Activation<'_> {
    pub(super) fn new_cont(&mut self, kind: Kind, source: Source) -> Result<()> {
        let func = match source {
            Source::Own(function) => self.table_func(0, function),
            Source::Table(instance, function) => self.table_func(instance, function),
            Source::Null => return Err(Trap::NullReference.into()),
        };
        let world = self.world.clone();
        let ty = &world.conts[kind as usize];
        let cont = match kind {
            Kind::Number if self.one_way() => {
                let cont = TypedCont::<i32, i32>::new(&mut self.store, &func)?;
                cont.as_cont().bind_to(&mut self.store, ty, &[])?
            }
            _ => ContRef::new(&mut self.store, ty, &func)?,
        };
        *self.cont(kind) = Some(cont);
        Ok(())
    }

    pub(super) fn bind(&mut self, from: Kind, to: Kind, guarded: bool) -> Result<()> {
        if guarded && self.cont(from).is_none() {
            return Ok(());
        }
        let cont = self.some_cont(from)?;
        let args = self.give(&from.params()[..from.params().len() - to.params().len()]);
        let world = self.world.clone();
        let ty = &world.conts[to as usize];
        let bound = match self.one_way() {
            true => cont.bind_to(&mut self.store, ty, &args)?,
            false => {
                let bound = cont.bind(&mut self.store, &args)?;
                bound.bind_to(&mut self.store, ty, &[])?
            }
        };
        *self.cont(to) = Some(bound);
        Ok(())
    }

    /// What the function ends with to suspend.
    pub(super) fn end(&mut self, tag: usize, then: Option<&Arc<Body>>) -> Result<Suspend> {
        let suspend = Suspend::new(self.world.tags[tag], self.give(TAGS[tag].params));
        let Some(body) = then.cloned() else {
            return Ok(suspend);
        };
        let kept = Kept::new(&self.registers, &mut self.store)?;
        Ok(match TAGS[tag].resumed {
            Kind::Number if self.one_way() => {
                suspend.on_resume(move |mut caller: Caller<'_, Host>, (number,): (i32,)| {
                    let values = [Val::I32(number)];
                    resumed(caller.as_context_mut(), &kept, tag, &values, &body)
                })
            }
            _ => suspend.on_resume_dynamic(move |mut caller: Caller<'_, Host>, values, results| {
                let result = resumed(caller.as_context_mut(), &kept, tag, values, &body)?;
                results[0] = Val::I32(result);
                Ok(())
            }),
        })
    }

    pub(super) fn inspect(&mut self, kind: Kind) -> Result<()> {
        let cont = *self.cont(kind);
        let found = match cont {
            None => NO_CONT,
            Some(cont) if cont.is_consumed(&mut self.store)? => CONSUMED,
            Some(cont) => frames(&cont.backtrace(&mut self.store)?) as i32,
        };
        self.mix(found);
        Ok(())
    }

    pub(super) async fn resume(&mut self, resume: &Resume) -> Result<Flow> {
        let kind = resume.kind;
        if (resume.guarded && self.cont(kind).is_none())
            || (resume.mode == Mode::ThrowRef && self.registers.exception.is_none())
        {
            return Ok(Flow::Next);
        }
        let cont = self.some_cont(kind)?;
        let with = match resume.mode {
            Mode::Values => With::Values(self.give(kind.params())),
            Mode::Throw(tag) => With::Exception(self.exception(tag)?),
            Mode::ThrowRef => With::Exception(self.registers.exception.expect("just seen")),
        };
        if resume.take {
            *self.cont(kind) = None;
        }
        let tags = |for_switches: bool| -> Vec<Tag> {
            let clauses = resume.clauses.iter();
            let clauses = clauses.filter(|clause| clause.body.is_none() == for_switches);
            clauses.map(|clause| self.world.tags[clause.tag]).collect()
        };
        let (suspends, switches) = (tags(false), tags(true));
        let handlers = Handlers::from(&suspends).switch(&switches);
        let done = match kind {
            Kind::Nothing if self.one_way() => {
                let with = with.map(|_| ());
                self.resume_typed(cont, with, handlers).await?
            }
            Kind::Number if self.one_way() => {
                let with = with.map(|values| values[0].unwrap_i32());
                self.resume_typed(cont, with, handlers).await?
            }
            _ => self.resume_untyped(cont, with, handlers).await?,
        };
        match done {
            Resumed::Returned(number) => {
                self.mix(number);
                Ok(Flow::Next)
            }
            Resumed::Suspended(it) => {
                let mut clauses = resume.clauses.iter();
                let handles = clauses.find_map(|clause| {
                    let body = clause.body.as_ref()?;
                    it.is_with(&self.world.tags[clause.tag])
                        .then_some((clause.tag, body))
                });
                let (tag, body) = handles.expect("one of them");
                let world = self.world.clone();
                let ty = &world.conts[TAGS[tag].resumed as usize];
                let cont = it.continuation.bind_to(&mut self.store, ty, &[])?;
                *self.cont(TAGS[tag].resumed) = Some(cont);
                self.take(TAGS[tag].params, &it.payload)?;
                self.body(body).await
            }
        }
    }

    async fn resume_typed<Params: WasmParams + Send>(
        &mut self,
        cont: Rooted<ContRef>,
        with: With<Params>,
        handlers: Handlers<'_>,
    ) -> Result<Resumed<i32>> {
        let cont = cont.typed::<Params, i32>(&mut self.store)?;
        let store = &mut self.store;
        match (with, self.waits) {
            (With::Values(values), false) => cont.resume(store, values, handlers),
            (With::Values(values), true) => cont.resume_async(store, values, handlers).await,
            (With::Exception(it), false) => cont.resume_throw(store, it, handlers),
            (With::Exception(it), true) => cont.resume_throw_async(store, it, handlers).await,
        }
    }

    async fn resume_untyped(
        &mut self,
        cont: Rooted<ContRef>,
        with: With<Vec<Val>>,
        handlers: Handlers<'_>,
    ) -> Result<Resumed<i32>> {
        let store = &mut self.store;
        let resumed = match (with, self.waits) {
            (With::Values(values), false) => cont.resume(store, &values, handlers),
            (With::Values(values), true) => cont.resume_async(store, &values, handlers).await,
            (With::Exception(it), false) => cont.resume_throw(store, it, handlers),
            (With::Exception(it), true) => cont.resume_throw_async(store, it, handlers).await,
        };
        Ok(match resumed? {
            Resumed::Returned(results) => Resumed::Returned(results[0].unwrap_i32()),
            Resumed::Suspended(it) => Resumed::Suspended(it),
        })
    }
}
