//! Who is likely to be called by a reference: the few functions of the module that a reference of some
//! type, or in some field, may be to.
//!
//! Other modules may make references too, and code may store what it likes, so these are guesses; who
//! uses them compares first ([`super::guarded`]). They are made once for a module, from what its element
//! segments and constant expressions say, in time linear in these and in the types:
//!
//! - of a *type*: the functions of that type, or of a subtype, that segments or constant expressions refer
//!   to; if there are none, those that are exported, which `ref.func` may name, too.
//! - of a *field* of a structure: the functions that constant expressions store there, in that structure
//!   type or a subtype. That is what compilers make of classes: a structure with a field for each method,
//!   and a global with one for each class. So few functions are in a field where the program has few
//!   overriding methods, whatever else is of the same type.

use sarsen_abi::const_expr::{ConstExpr, ConstOp};
use sarsen_abi::module::ElementItems;
use sarsen_abi::types::CompositeType;
use sarsen_abi::{DefinedFuncIndex, EntityIndex, FuncIndex, Module, TypeIndex};

/// More functions than this are too many to guess.
pub(super) const MAX_TARGETS: usize = 4;

/// What references of a module may be to.
#[derive(Debug)]
pub(super) struct Targets {
    /// By type index.
    types: Box<[Few]>,
    /// By type index, then by field; empty where no structure is known.
    fields: Box<[Box<[Few]>]>,
}

/// A few functions, in the order in which they were found; or too many.
#[derive(Clone, Copy, Debug)]
struct Few {
    funcs: [DefinedFuncIndex; MAX_TARGETS],
    /// How many, at most one more than there is room for.
    count: u8,
}

impl Few {
    const NONE: Few = Few {
        funcs: [DefinedFuncIndex::new(0); MAX_TARGETS],
        count: 0,
    };

    fn is_too_many(&self) -> bool {
        usize::from(self.count) > MAX_TARGETS
    }

    /// The functions; none if they are too many.
    fn get(&self) -> &[DefinedFuncIndex] {
        self.funcs.get(..self.count.into()).unwrap_or_default()
    }

    fn add(&mut self, func: DefinedFuncIndex) {
        if self.is_too_many() || self.get().contains(&func) {
            return;
        }
        if let Some(free) = self.funcs.get_mut(usize::from(self.count)) {
            *free = func;
        }
        self.count += 1;
    }

    fn add_all(&mut self, other: &Few) {
        if other.is_too_many() {
            *self = *other;
        }
        for &func in other.get() {
            self.add(func);
        }
    }
}

impl Targets {
    /// What the references of `module` may be to.
    pub(super) fn find(module: &Module) -> Targets {
        let mut finder = Finder {
            module,
            types: vec![Few::NONE; module.types.len()].into(),
            fields: vec![Box::default(); module.types.len()].into(),
            stack: Vec::new(),
        };
        for expr in &module.global_inits {
            finder.walk(expr);
        }
        for expr in module.table_inits.iter().flatten() {
            finder.walk(expr);
        }
        for segment in &module.elements {
            match &segment.items {
                ElementItems::Funcs(funcs) => funcs.iter().for_each(|&func| finder.mention(func)),
                ElementItems::Exprs(exprs) => exprs.iter().for_each(|expr| finder.walk(expr)),
            }
        }
        finder.add_exports();
        finder.add_subtypes();
        Targets {
            types: finder.types,
            fields: finder.fields,
        }
    }

    /// The functions that a reference to type `ty` may be to; none if nobody knows.
    pub(super) fn of_type(&self, ty: TypeIndex) -> &[DefinedFuncIndex] {
        self.types[ty.index()].get()
    }

    /// The functions that a field of the structure type `ty` may hold; none if nobody knows, and `None` if
    /// no constant expression stores any there.
    pub(super) fn of_field(&self, ty: TypeIndex, field: u32) -> Option<&[DefinedFuncIndex]> {
        let few = self.fields[ty.index()].get(field as usize)?;
        (few.count != 0).then(|| few.get())
    }
}

struct Finder<'m> {
    module: &'m Module,
    types: Box<[Few]>,
    fields: Box<[Box<[Few]>]>,
    /// The operands of a constant expression: which function each is, if it is one of the module's.
    stack: Vec<Option<DefinedFuncIndex>>,
}

impl Finder<'_> {
    /// Notes that there are references to `func`.
    fn mention(&mut self, func: FuncIndex) {
        if let Some(defined) = self.module.defined_func(func) {
            let ty = self.module.funcs[func.index()];
            self.types[ty.index()].add(defined);
        }
    }

    fn walk(&mut self, expr: &ConstExpr) {
        for op in &expr.ops {
            self.step(*op);
        }
        self.stack.clear();
    }

    fn step(&mut self, op: ConstOp) {
        use ConstOp as O;
        let popped = match op {
            O::RefFunc(func) => {
                self.mention(func);
                self.stack.push(self.module.defined_func(func));
                return;
            }
            O::StructNew(ty) => self.store_fields(ty),
            O::ArrayNewFixed(_, count) => count as usize,
            O::ArrayNew(_)
            | O::I32Add
            | O::I32Sub
            | O::I32Mul
            | O::I64Add
            | O::I64Sub
            | O::I64Mul => 2,
            O::ArrayNewDefault(_) | O::RefI31 | O::AnyConvertExtern | O::ExternConvertAny => 1,
            O::I32Const(_)
            | O::I64Const(_)
            | O::F32Const(_)
            | O::F64Const(_)
            | O::V128Const(_)
            | O::GlobalGet(_)
            | O::RefNull(_)
            | O::StructNewDefault(_) => 0,
        };
        self.stack.truncate(self.stack.len().saturating_sub(popped));
        self.stack.push(None);
    }

    /// Notes the functions that a new structure of type `ty` holds; returns how many fields it has.
    fn store_fields(&mut self, ty: TypeIndex) -> usize {
        let CompositeType::Struct(fields) = &self.module.types[ty.index()].composite else {
            return 0;
        };
        let first = self.stack.len().saturating_sub(fields.len());
        let operands = &self.stack[first..];
        if operands.iter().any(Option::is_some) {
            let known = &mut self.fields[ty.index()];
            if known.is_empty() {
                *known = vec![Few::NONE; fields.len()].into();
            }
            for (few, func) in known.iter_mut().zip(operands) {
                func.iter().for_each(|&func| few.add(func));
            }
        }
        fields.len()
    }

    /// Adds the exported functions of types of which nothing else is known.
    fn add_exports(&mut self) {
        let unknown: Vec<bool> = self.types.iter().map(|few| few.count == 0).collect();
        for export in &self.module.exports {
            if let EntityIndex::Func(func) = export.entity
                && unknown[self.module.funcs[func.index()].index()]
            {
                self.mention(func);
            }
        }
    }

    /// Adds what is known of each type to its supertype, which comes before it.
    fn add_subtypes(&mut self) {
        for ty in (0..self.types.len()).rev() {
            let Some(supertype) = self.module.types[ty].supertype else {
                continue;
            };
            let known = self.types[ty];
            self.types[supertype.index()].add_all(&known);
            self.add_fields_of_subtype(supertype, ty);
        }
    }

    fn add_fields_of_subtype(&mut self, supertype: TypeIndex, ty: usize) {
        let CompositeType::Struct(fields) = &self.module.types[supertype.index()].composite else {
            return;
        };
        if self.fields[ty].is_empty() {
            return;
        }
        let below = std::mem::take(&mut self.fields[ty]);
        let known = &mut self.fields[supertype.index()];
        if known.is_empty() {
            *known = vec![Few::NONE; fields.len()].into();
        }
        for (few, below) in known.iter_mut().zip(&below) {
            few.add_all(below);
        }
        self.fields[ty] = below;
    }
}
