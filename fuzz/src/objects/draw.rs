//! Which types a module has: drawn from bytes, group by group.

use super::types::{ABSTRACT, ARRAY, Def, FUNC, Field, Heap, Kind, STRUCT, Storage, Ty, Types};
use arbitrary::{Result, Unstructured};
use std::ops::Range;

/// Parameters of a function, fields of a structure that has no supertype.
const MOST_PARAMS: usize = 3;
const MOST_FIELDS: usize = 5;

impl Types {
    /// The types that some bytes choose.
    pub(super) fn draw(bytes: &mut Unstructured<'_>) -> Result<Types> {
        let mut types = Types::default();
        for group in 0..bytes.int_in_range(2..=6)? {
            let start = types.defs.len();
            if group > 1 && bytes.ratio(1, 8)? {
                let copied = bytes.choose(&types.groups)?.clone();
                types.copy_group(copied);
            } else {
                let end = start + bytes.int_in_range(1..=4)? + if group == 0 { 2 } else { 0 };
                for own in start..end {
                    let def = types.draw_def(bytes, own, end)?;
                    types.defs.push(def);
                }
            }
            types.groups.push(start..types.defs.len());
        }
        Ok(types)
    }

    /// A type in a group that ends before number `end`.
    fn draw_def(&self, bytes: &mut Unstructured<'_>, own: usize, end: usize) -> Result<Def> {
        let kind = match own {
            STRUCT | ARRAY | FUNC => own,
            _ => *bytes.choose(&[STRUCT, STRUCT, STRUCT, ARRAY, ARRAY, FUNC, FUNC])?,
        };
        let supertypes: Vec<usize> = (0..own)
            .filter(|&def| !self.defs[def].is_final && self.number_of_kind(def) == kind)
            .collect();
        let is_final = own > FUNC && bytes.ratio(1, 4)?;
        if !supertypes.is_empty() && bytes.ratio(2, 3)? {
            let supertype = *bytes.choose(&supertypes)?;
            let inherited = self.defs[supertype].kind.clone();
            return Ok(Def {
                kind: self.draw_refined(bytes, inherited, own, end)?,
                supertype: Some(supertype),
                is_final,
            });
        }
        let kind = match kind {
            STRUCT => {
                let count = bytes.int_in_range(0..=MOST_FIELDS)?;
                let fields = (0..count).map(|_| draw_field(bytes, own, end));
                Kind::Struct(fields.collect::<Result<_>>()?)
            }
            ARRAY => {
                let mut element = draw_field(bytes, own, end)?;
                element.mutable |= bytes.ratio(2, 3)?;
                Kind::Array(element)
            }
            _ => {
                let count = bytes.int_in_range(0..=MOST_PARAMS)?;
                let params = (0..count).map(|_| draw_ty(bytes, end, end));
                let params = params.collect::<Result<_>>()?;
                let count = *bytes.choose(&[1, 1, 1, 1, 0, 2, 3])?;
                let results = (0..count).map(|_| draw_ty(bytes, end, end));
                Kind::Func(params, results.collect::<Result<_>>()?)
            }
        };
        Ok(Def {
            kind,
            supertype: None,
            is_final,
        })
    }

    /// A subtype of `kind`.
    fn draw_refined(
        &self,
        bytes: &mut Unstructured<'_>,
        mut kind: Kind,
        own: usize,
        end: usize,
    ) -> Result<Kind> {
        match &mut kind {
            Kind::Struct(fields) => {
                for field in &mut *fields {
                    self.refine(bytes, field, own)?;
                }
                for _ in 0..bytes.int_in_range(0..=2)? {
                    fields.push(draw_field(bytes, own, end)?);
                }
            }
            Kind::Array(element) => self.refine(bytes, element, own)?,
            Kind::Func(params, results) => {
                for param in params {
                    if let Ty::Ref { heap, .. } = *param
                        && bytes.ratio(1, 2)?
                    {
                        *param = Ty::null(self.wider(bytes, heap, own)?);
                    }
                }
                for result in results {
                    if bytes.ratio(1, 2)? {
                        *result = self.narrower(bytes, *result, own)?;
                    }
                }
            }
        }
        Ok(kind)
    }

    /// Gives a field that cannot be written a narrower type.
    fn refine(&self, bytes: &mut Unstructured<'_>, field: &mut Field, own: usize) -> Result<()> {
        if let Storage::Val(ty) = field.storage
            && !field.mutable
            && bytes.ratio(1, 2)?
        {
            field.storage = Storage::Val(self.narrower(bytes, ty, own)?);
        }
        Ok(())
    }

    /// A subtype that does not name types from number `before` on.
    pub(super) fn narrower(
        &self,
        bytes: &mut Unstructured<'_>,
        ty: Ty,
        before: usize,
    ) -> Result<Ty> {
        let Ty::Ref { nullable, heap } = ty else {
            return Ok(ty);
        };
        let shapes = if before > ARRAY { 0..3 } else { 0..1 };
        let below: Vec<Heap> = (0..before)
            .map(Heap::Def)
            .chain(
                [Heap::I31, Heap::Struct, Heap::Array][shapes]
                    .iter()
                    .copied(),
            )
            .filter(|&below| self.is_heap_subtype(below, heap))
            .collect();
        if below.is_empty() {
            return Ok(ty);
        }
        Ok(Ty::Ref {
            nullable: nullable && bytes.ratio(1, 2)?,
            heap: *bytes.choose(&below)?,
        })
    }

    /// A supertype of what is before number `before`.
    pub(super) fn wider(
        &self,
        bytes: &mut Unstructured<'_>,
        heap: Heap,
        before: usize,
    ) -> Result<Heap> {
        if matches!(heap, Heap::Def(def) if def >= self.defs.len()) {
            return Ok(heap);
        }
        let above = ABSTRACT.into_iter().chain((0..before).map(Heap::Def));
        let above: Vec<Heap> = above
            .filter(|&above| self.is_heap_subtype(heap, above))
            .collect();
        if above.is_empty() {
            return Ok(heap);
        }
        Ok(*bytes.choose(&above)?)
    }

    /// Adds a group that is the same as another one.
    fn copy_group(&mut self, copied: Range<usize>) {
        let distance = self.defs.len() - copied.start;
        let moved_def = |def: usize| {
            if copied.contains(&def) {
                def + distance
            } else {
                def
            }
        };
        let moved = |ty: Ty| match ty {
            Ty::Ref {
                nullable,
                heap: Heap::Def(def),
            } => Ty::Ref {
                nullable,
                heap: Heap::Def(moved_def(def)),
            },
            ty => ty,
        };
        let moved_field = |field: Field| match field.storage {
            Storage::Val(ty) => Field {
                storage: Storage::Val(moved(ty)),
                ..field
            },
            _ => field,
        };
        for def in copied.clone() {
            let mut def = self.defs[def].clone();
            def.supertype = def.supertype.map(moved_def);
            match &mut def.kind {
                Kind::Struct(fields) => {
                    fields
                        .iter_mut()
                        .for_each(|field| *field = moved_field(*field));
                }
                Kind::Array(element) => *element = moved_field(*element),
                Kind::Func(params, results) => {
                    let all = params.iter_mut().chain(results);
                    all.for_each(|ty| *ty = moved(*ty));
                }
            }
            self.defs.push(def);
        }
    }
}

fn draw_field(bytes: &mut Unstructured<'_>, own: usize, end: usize) -> Result<Field> {
    let storage = match bytes.int_in_range(0..=9)? {
        0 => Storage::I8,
        1 => Storage::I16,
        _ => Storage::Val(draw_ty(bytes, own, end)?),
    };
    Ok(Field {
        storage,
        mutable: bytes.ratio(3, 5)?,
    })
}

/// A type that names such before number `end`, and, where it is not nullable, those before number `own`.
pub(super) fn draw_ty(bytes: &mut Unstructured<'_>, own: usize, end: usize) -> Result<Ty> {
    let heap = match bytes.int_in_range(0..=19)? {
        0..=3 => return Ok(Ty::I32),
        4..=5 => return Ok(Ty::I64),
        6 => return Ok(*bytes.choose(&[Ty::F64, Ty::F32, Ty::V128])?),
        7..=10 => *bytes.choose(&ABSTRACT)?,
        11 => {
            return Ok(Ty::null(*bytes.choose(&[
                Heap::None,
                Heap::NoFunc,
                Heap::NoExtern,
            ])?));
        }
        _ if end > 0 => Heap::Def(bytes.choose_index(end)?),
        _ => return Ok(Ty::I32),
    };
    let must_be_nullable = match heap {
        Heap::Def(def) => def >= own,
        Heap::Struct => own <= STRUCT,
        Heap::Array => own <= ARRAY,
        heap => heap == Heap::Exn,
    };
    Ok(Ty::Ref {
        nullable: must_be_nullable || bytes.ratio(1, 2)?,
        heap,
    })
}
