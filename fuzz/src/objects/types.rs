//! [`Types`]: the recursion groups of a module, and which type is a subtype of which. `draw` makes them.
//!
//! Every type has values that a constant expression can make: what is not nullable in a field is of an earlier
//! type. What is said here of subtypes is what the declarations say; groups that are copies of others are the same
//! types, which is left for the runtimes to know.

use std::fmt::Write as _;
use std::ops::Range;

/// What a reference refers to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heap {
    Any,
    Eq,
    I31,
    Struct,
    Array,
    None,
    Func,
    NoFunc,
    Extern,
    NoExtern,
    Exn,
    /// The type with this number.
    Def(usize),
}

/// The type of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ty {
    I32,
    I64,
    F32,
    F64,
    V128,
    Ref { nullable: bool, heap: Heap },
}

/// What a field or an element holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Storage {
    I8,
    I16,
    Val(Ty),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Field {
    pub(super) storage: Storage,
    pub(super) mutable: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Struct(Vec<Field>),
    Array(Field),
    Func(Vec<Ty>, Vec<Ty>),
}

#[derive(Clone, Debug)]
pub(super) struct Def {
    pub(super) kind: Kind,
    pub(super) supertype: Option<usize>,
    pub(super) is_final: bool,
}

/// Those types of a module that have a number.
#[derive(Default)]
pub(super) struct Types {
    pub(super) defs: Vec<Def>,
    pub(super) groups: Vec<Range<usize>>,
}

/// The numbers of a structure, an array and a function type that are in every module.
pub(super) const STRUCT: usize = 0;
pub(super) const ARRAY: usize = 1;
pub(super) const FUNC: usize = 2;

/// Those of the abstract types that something can be of.
pub(super) const ABSTRACT: [Heap; 8] = [
    Heap::Any,
    Heap::Eq,
    Heap::I31,
    Heap::Struct,
    Heap::Array,
    Heap::Func,
    Heap::Extern,
    Heap::Exn,
];

impl Heap {
    pub(super) fn text(self) -> String {
        match self {
            Heap::Any => "any".into(),
            Heap::Eq => "eq".into(),
            Heap::I31 => "i31".into(),
            Heap::Struct => "struct".into(),
            Heap::Array => "array".into(),
            Heap::None => "none".into(),
            Heap::Func => "func".into(),
            Heap::NoFunc => "nofunc".into(),
            Heap::Extern => "extern".into(),
            Heap::NoExtern => "noextern".into(),
            Heap::Exn => "exn".into(),
            Heap::Def(def) => format!("$t{def}"),
        }
    }
}

impl Ty {
    pub(super) const fn null(heap: Heap) -> Ty {
        Ty::Ref {
            nullable: true,
            heap,
        }
    }

    pub(super) const fn some(heap: Heap) -> Ty {
        Ty::Ref {
            nullable: false,
            heap,
        }
    }

    pub(super) fn text(self) -> String {
        match self {
            Ty::I32 => "i32".into(),
            Ty::I64 => "i64".into(),
            Ty::F32 => "f32".into(),
            Ty::F64 => "f64".into(),
            Ty::V128 => "v128".into(),
            Ty::Ref { nullable, heap } => {
                let null = if nullable { "null " } else { "" };
                format!("(ref {null}{})", heap.text())
            }
        }
    }

    /// The same, and null.
    pub(super) fn or_null(self) -> Ty {
        match self {
            Ty::Ref { heap, .. } => Ty::null(heap),
            number => number,
        }
    }
}

impl Storage {
    /// The type of what is read from it or written to it.
    pub(super) fn unpacked(self) -> Ty {
        match self {
            Storage::I8 | Storage::I16 => Ty::I32,
            Storage::Val(ty) => ty,
        }
    }

    /// The bytes that a number takes in a segment.
    pub(super) fn width(self) -> u32 {
        match self {
            Storage::I8 => 1,
            Storage::I16 => 2,
            Storage::Val(Ty::I32 | Ty::F32) => 4,
            Storage::Val(Ty::V128) => 16,
            Storage::Val(_) => 8,
        }
    }

    pub(super) fn is_packed(self) -> bool {
        !matches!(self, Storage::Val(_))
    }

    fn text(self) -> String {
        match self {
            Storage::I8 => "i8".into(),
            Storage::I16 => "i16".into(),
            Storage::Val(ty) => ty.text(),
        }
    }
}

impl Field {
    fn text(self) -> String {
        let storage = self.storage.text();
        if self.mutable {
            format!("(mut {storage})")
        } else {
            storage
        }
    }

    /// What its `new_default` makes is a value of it.
    pub(super) fn is_defaultable(self) -> bool {
        !matches!(
            self.storage,
            Storage::Val(Ty::Ref {
                nullable: false,
                ..
            })
        )
    }
}

impl Types {
    pub(super) fn number_of_kind(&self, def: usize) -> usize {
        match self.defs[def].kind {
            Kind::Struct(_) => STRUCT,
            Kind::Array(_) => ARRAY,
            Kind::Func(..) => FUNC,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.defs.len()
    }

    pub(super) fn kind(&self, def: usize) -> &Kind {
        &self.defs[def].kind
    }

    /// The structures, with their fields.
    pub(super) fn structs(&self) -> impl Iterator<Item = (usize, &[Field])> {
        self.defs
            .iter()
            .enumerate()
            .filter_map(|(number, def)| match &def.kind {
                Kind::Struct(fields) => Some((number, &fields[..])),
                _ => None,
            })
    }

    /// The arrays, with their elements.
    pub(super) fn arrays(&self) -> impl Iterator<Item = (usize, Field)> {
        self.defs
            .iter()
            .enumerate()
            .filter_map(|(number, def)| match def.kind {
                Kind::Array(element) => Some((number, element)),
                _ => None,
            })
    }

    /// The function types, with parameters and results.
    pub(super) fn funcs(&self) -> impl Iterator<Item = (usize, &[Ty], &[Ty])> {
        self.defs
            .iter()
            .enumerate()
            .filter_map(|(number, def)| match &def.kind {
                Kind::Func(params, results) => Some((number, &params[..], &results[..])),
                _ => None,
            })
    }

    pub(super) fn is_subtype(&self, below: Ty, above: Ty) -> bool {
        match (below, above) {
            (
                Ty::Ref { nullable, heap },
                Ty::Ref {
                    nullable: above_nullable,
                    heap: above,
                },
            ) => (!nullable || above_nullable) && self.is_heap_subtype(heap, above),
            _ => below == above,
        }
    }

    pub(super) fn is_heap_subtype(&self, below: Heap, above: Heap) -> bool {
        use Heap as H;
        if below == above {
            return true;
        }
        match (below, above) {
            (H::None, above) => self.top(above) == H::Any,
            (H::NoFunc, above) => self.top(above) == H::Func,
            (H::NoExtern, above) => above == H::Extern,
            (H::Def(below), H::Def(above)) => {
                let supertype = self.defs[below].supertype;
                supertype.is_some_and(|it| self.is_heap_subtype(H::Def(it), H::Def(above)))
            }
            (H::Def(def), above) => match self.defs[def].kind {
                Kind::Struct(_) => matches!(above, H::Any | H::Eq | H::Struct),
                Kind::Array(_) => matches!(above, H::Any | H::Eq | H::Array),
                Kind::Func(..) => above == H::Func,
            },
            (H::I31 | H::Struct | H::Array, above) => matches!(above, H::Any | H::Eq),
            (H::Eq, above) => above == H::Any,
            _ => false,
        }
    }

    /// The type above all those that can be cast to this one.
    pub(super) fn top(&self, heap: Heap) -> Heap {
        match heap {
            Heap::Any | Heap::Eq | Heap::I31 | Heap::Struct | Heap::Array | Heap::None => Heap::Any,
            Heap::Func | Heap::NoFunc => Heap::Func,
            Heap::Extern | Heap::NoExtern => Heap::Extern,
            Heap::Exn => Heap::Exn,
            Heap::Def(def) => match self.defs[def].kind {
                Kind::Func(..) => Heap::Func,
                _ => Heap::Any,
            },
        }
    }

    /// The declarations.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for group in &self.groups {
            text.push_str("(rec\n");
            for number in group.clone() {
                let def = &self.defs[number];
                let end = if def.is_final { "final " } else { "" };
                let supertype = def
                    .supertype
                    .map(|it| format!("$t{it} "))
                    .unwrap_or_default();
                let kind = match &def.kind {
                    Kind::Struct(fields) => {
                        let fields = fields
                            .iter()
                            .map(|field| format!(" (field {})", field.text()));
                        format!("(struct{})", fields.collect::<String>())
                    }
                    Kind::Array(element) => format!("(array {})", element.text()),
                    Kind::Func(params, results) => {
                        format!(
                            "(func {} {})",
                            list("param", params),
                            list("result", results)
                        )
                    }
                };
                let _ = writeln!(text, "(type $t{number} (sub {end}{supertype}{kind}))");
            }
            text.push_str(")\n");
        }
        text
    }
}

/// `(param i32 i32)`, or the like.
pub(super) fn list(what: &str, types: &[Ty]) -> String {
    let types: Vec<String> = types.iter().map(|ty| ty.text()).collect();
    format!("({what} {})", types.join(" "))
}
