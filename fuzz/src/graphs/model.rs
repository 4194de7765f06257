//! [`Model`]: what a program computes, on plain vectors.

use super::{Field, GLOBALS, LOCALS, Operation, Place, Program, RUNS, TABLE, Value};

/// A reference.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reference {
    Null,
    /// The 31 bits.
    I31(u32),
    Object(usize),
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
enum Content {
    Number(u64),
    Reference(Reference),
}

#[derive(Debug)]
enum Object {
    Struct(usize, Vec<Content>),
    Array(usize, Vec<Content>),
}

/// The state of a program.
pub(super) struct Model<'a> {
    program: &'a Program,
    objects: Vec<Object>,
    table: Vec<Reference>,
    locals: Vec<Reference>,
    globals: Vec<Reference>,
    sum: u64,
}

/// As `$blend` in the module.
pub(super) const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

fn blend(sum: u64, value: u64) -> u64 {
    (sum ^ value).wrapping_mul(FACTOR).rotate_left(23)
}

/// How deep `$hash` follows references, and how many elements of an array it looks at.
pub(super) const DEPTH: u32 = 4;
pub(super) const ELEMENTS: u32 = 5;

impl<'a> Model<'a> {
    pub(super) fn new(program: &'a Program) -> Model<'a> {
        Model {
            program,
            objects: Vec::new(),
            table: vec![Reference::Null; TABLE as usize],
            locals: Vec::new(),
            globals: vec![Reference::Null; GLOBALS as usize],
            sum: 0,
        }
    }

    /// The checksums after each run.
    pub(super) fn run(mut self) -> Vec<u64> {
        let once = |_| {
            self.locals = vec![Reference::Null; LOCALS as usize];
            for operation in &self.program.operations {
                self.execute(operation);
            }
            for at in 0..TABLE {
                let hash = self.hash(self.get(Place::Table(at)), DEPTH);
                self.mix(hash);
            }
            self.sum
        };
        (0..RUNS).map(once).collect()
    }

    fn mix(&mut self, value: u64) {
        self.sum = blend(self.sum, value);
    }

    fn get(&self, place: Place) -> Reference {
        match place {
            Place::Table(at) => self.table[at as usize],
            Place::Local(at) => self.locals[at as usize],
            Place::Global(at) => self.globals[at as usize],
        }
    }

    fn put(&mut self, place: Place, reference: Reference) {
        match place {
            Place::Table(at) => self.table[at as usize] = reference,
            Place::Local(at) => self.locals[at as usize] = reference,
            Place::Global(at) => self.globals[at as usize] = reference,
        }
    }

    fn is(&self, reference: Reference, ty: Field) -> bool {
        match (reference, ty) {
            (Reference::Null, _) => false,
            (_, Field::Any | Field::Eq) => true,
            (Reference::I31(_), ty) => ty == Field::I31,
            (Reference::Object(at), ty) => match (&self.objects[at], ty) {
                (Object::Struct(own, _), Field::Struct(ty)) => self.program.is_subtype(*own, ty),
                (Object::Array(own, _), Field::Array(ty)) => *own == ty,
                _ => false,
            },
        }
    }

    /// What is stored in a field of this type.
    fn content(&self, ty: Field, value: &Value) -> Content {
        let number = value.number as u64;
        match ty {
            Field::I8 => Content::Number(number & 0xff),
            Field::I16 => Content::Number(number & 0xffff),
            Field::I32 => Content::Number(number & 0xffff_ffff),
            Field::I64 => Content::Number(number),
            ty => {
                let reference = self.get(value.place);
                Content::Reference(if self.is(reference, ty) {
                    reference
                } else {
                    Reference::Null
                })
            }
        }
    }

    fn new_object(&mut self, to: Place, object: Object) {
        self.objects.push(object);
        self.put(to, Reference::Object(self.objects.len() - 1));
    }

    /// The fields of a structure of this type.
    fn fields(&mut self, at: Place, ty: usize) -> Option<&mut Vec<Content>> {
        let reference = self.get(at);
        let fits = self.is(reference, Field::Struct(ty));
        match reference {
            Reference::Object(at) if fits => match &mut self.objects[at] {
                Object::Struct(_, fields) => Some(fields),
                Object::Array(..) => None,
            },
            _ => None,
        }
    }

    /// The elements of an array of this type.
    fn elements(&mut self, at: Place, ty: usize) -> Option<&mut Vec<Content>> {
        match self.get(at) {
            Reference::Object(at) => match &mut self.objects[at] {
                Object::Array(own, elements) if *own == ty => Some(elements),
                _ => None,
            },
            _ => None,
        }
    }

    fn read(&mut self, content: Content, to: Place) {
        match content {
            Content::Number(number) => self.mix(number),
            Content::Reference(reference) => self.put(to, reference),
        }
    }

    fn execute(&mut self, operation: &Operation) {
        use Operation as O;
        match operation {
            O::NewStruct(to, ty, values) => {
                let fields = self.program.structs[*ty].fields.iter().zip(values);
                let fields = fields.map(|(&ty, value)| self.content(ty, value)).collect();
                self.new_object(*to, Object::Struct(*ty, fields));
            }
            O::NewArray(to, ty, length, value) => {
                let element = self.content(self.program.arrays[*ty], value);
                let elements = vec![element; *length as usize];
                self.new_object(*to, Object::Array(*ty, elements));
            }
            O::NewFixed(to, ty, values) => {
                let element = self.program.arrays[*ty];
                let elements = values.iter().map(|value| self.content(element, value));
                let elements = elements.collect();
                self.new_object(*to, Object::Array(*ty, elements));
            }
            O::NewI31(to, value) => self.put(*to, Reference::I31(*value as u32 & (u32::MAX >> 1))),
            O::Clear(to) => self.put(*to, Reference::Null),
            O::Move(to, from) => self.put(*to, self.get(*from)),
            O::Set(at, ty, field, value) => {
                let content = self.content(self.program.structs[*ty].fields[*field], value);
                if let Some(fields) = self.fields(*at, *ty) {
                    fields[*field] = content;
                }
            }
            O::Get(at, ty, field, to) => {
                if let Some(fields) = self.fields(*at, *ty) {
                    let content = fields[*field];
                    self.read(content, *to);
                }
            }
            O::ArraySet(at, ty, index, value) => {
                let content = self.content(self.program.arrays[*ty], value);
                if let Some(element) = self.element(*at, *ty, *index) {
                    *element = content;
                }
            }
            O::ArrayGet(at, ty, index, to) => {
                if let Some(&mut content) = self.element(*at, *ty, *index) {
                    self.read(content, *to);
                }
            }
            O::ArrayFill(at, ty, start, count, value) => {
                let content = self.content(self.program.arrays[*ty], value);
                if let Some(elements) = self.elements(*at, *ty) {
                    let range = *start as usize..(*start + *count) as usize;
                    if let Some(elements) = elements.get_mut(range) {
                        elements.fill(content);
                    }
                }
            }
            O::ArrayCopy(to, from, ty, to_start, from_start, count) => {
                let range = *from_start as usize..(*from_start + *count) as usize;
                let elements = self.elements(*from, *ty);
                let copied = elements.and_then(|all| Some(all.get(range)?.to_vec()));
                let range = *to_start as usize..(*to_start + *count) as usize;
                let target = self.elements(*to, *ty).and_then(|all| all.get_mut(range));
                if let (Some(copied), Some(target)) = (copied, target) {
                    target.copy_from_slice(&copied);
                }
            }
            O::Class(at) => {
                let class = self.class(self.get(*at));
                self.mix(class);
            }
            O::Same(a, b) => self.mix(u64::from(self.get(*a) == self.get(*b))),
            O::Hash(at) => {
                let hash = self.hash(self.get(*at), DEPTH);
                self.mix(hash);
            }
            O::Garbage(_) | O::Collect | O::Host(_) | O::Convert(_) => {}
        }
    }

    fn element(&mut self, at: Place, ty: usize, index: u32) -> Option<&mut Content> {
        self.elements(at, ty)?.get_mut(index as usize)
    }

    /// As `$class` in the module.
    fn class(&self, reference: Reference) -> u64 {
        match reference {
            Reference::Null => 1,
            Reference::I31(value) => 2 | u64::from(value) << 8,
            Reference::Object(at) => match &self.objects[at] {
                Object::Struct(own, _) => {
                    let types = 0..self.program.structs.len();
                    let above = types.filter(|&ty| self.program.is_subtype(*own, ty));
                    above.fold(4, |bits, ty| bits | 1 << (16 + ty))
                }
                Object::Array(own, elements) => 8 | 1 << (32 + own) | (elements.len() as u64) << 48,
            },
        }
    }

    /// As `$hash` in the module.
    fn hash(&self, reference: Reference, depth: u32) -> u64 {
        let class = self.class(reference);
        let Reference::Object(at) = reference else {
            return class;
        };
        if depth == 0 {
            return class;
        }
        let contents = match &self.objects[at] {
            Object::Struct(_, fields) => &fields[..],
            Object::Array(_, elements) => &elements[..elements.len().min(ELEMENTS as usize)],
        };
        contents.iter().fold(class, |hash, content| {
            blend(
                hash,
                match *content {
                    Content::Number(number) => number,
                    Content::Reference(reference) => self.hash(reference, depth - 1),
                },
            )
        })
    }
}
