//! What objects cost the host: reading and writing fields, allocating, and handles. And what loops over the
//! elements of an array cost a guest, beside the same loops over linear memory.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use sarsen::{
    AnyRef, ArrayRef, ArrayRefPre, ArrayType, Engine, ExternRef, FieldType, Finality, Func,
    FuncType, HeapType, I31, Instance, Module, Mutability, OwnedRooted, RefType, RootScope, Rooted,
    StorageType, Store, StructRef, StructRefPre, StructType, TypedFunc, Val, ValType,
};

/// How many handles a scope is given before it ends: a scope costs something, too.
const HANDLES: usize = 100;

fn var(ty: impl Into<StorageType>) -> FieldType {
    FieldType::new(Mutability::Var, ty.into())
}

/// A store, what allocates `(struct (mut i32) (mut anyref))`, and one such structure, not young.
fn store() -> (Store<()>, StructRefPre, Rooted<StructRef>) {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let ty = StructType::new(&engine, [var(ValType::I32), var(ValType::ANYREF)]).unwrap();
    let allocator = StructRefPre::new(&mut store, ty);
    let fields = [Val::I32(1), Val::null_any_ref()];
    let object = StructRef::new(&mut store, &allocator, &fields).unwrap();
    store.gc(None).unwrap();
    (store, allocator, object)
}

#[divan::bench(sample_size = 2000)]
fn struct_read_number(bencher: Bencher<'_, '_>) {
    let (mut store, _, object) = store();
    bencher.bench_local(move || black_box(object).field(&mut store, black_box(0)).unwrap());
}

#[divan::bench(sample_size = 2000)]
fn struct_write_number(bencher: Bencher<'_, '_>) {
    let (mut store, _, object) = store();
    bencher.bench_local(move || {
        black_box(object)
            .set_field(&mut store, black_box(0), Val::I32(black_box(2)))
            .unwrap();
    });
}

/// The handle that each read makes is part of it; the scope is divided among [`HANDLES`] reads.
#[divan::bench(sample_size = 50)]
fn struct_read_reference_x100(bencher: Bencher<'_, '_>) {
    let (mut store, _, object) = store();
    object.set_field(&mut store, 1, object.into()).unwrap();
    bencher.bench_local(move || {
        let mut scope = RootScope::new(&mut store);
        for _ in 0..HANDLES {
            black_box(black_box(object).field(&mut scope, black_box(1)).unwrap());
        }
    });
}

#[divan::bench(sample_size = 2000)]
fn struct_write_reference(bencher: Bencher<'_, '_>) {
    let (mut store, _, object) = store();
    bencher.bench_local(move || {
        black_box(object)
            .set_field(&mut store, black_box(1), black_box(object).into())
            .unwrap();
    });
}

/// A structure with a field for each narrower type of reference, with what fits it: a structure of a type
/// below the field's, an external reference, and a function.
fn narrow() -> (Store<()>, Rooted<StructRef>, [Val; 3]) {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let open = |supertype, count| {
        let fields = vec![var(ValType::I32); count];
        StructType::with_finality_and_supertype(&engine, Finality::NonFinal, supertype, fields)
            .unwrap()
    };
    let upper = open(None, 1);
    let lower = open(Some(&upper), 2);
    let func = FuncType::new(&engine, [], []);
    let reference = |heap| var(ValType::Ref(RefType::new(true, heap)));
    let fields = [
        reference(HeapType::ConcreteStruct(upper)),
        reference(HeapType::Extern),
        reference(HeapType::ConcreteFunc(func)),
    ];
    let ty = StructType::new(&engine, fields).unwrap();
    let lower = StructRefPre::new(&mut store, lower);
    let object = StructRef::new(&mut store, &lower, &[Val::I32(1), Val::I32(2)]).unwrap();
    let host = ExternRef::new(&mut store, 1).unwrap();
    let values = [
        object.into(),
        Val::ExternRef(Some(host)),
        Func::wrap(&mut store, || ()).into(),
    ];
    let ty = StructRefPre::new(&mut store, ty);
    let object = StructRef::new(&mut store, &ty, &values).unwrap();
    (store, object, values)
}

/// The place of each field of [`narrow`].
const NARROW: [usize; 3] = [0, 1, 2];

#[divan::bench(sample_size = 50, args = NARROW)]
fn struct_read_narrow_x100(bencher: Bencher<'_, '_>, field: usize) {
    let (mut store, object, _) = narrow();
    bencher.bench_local(move || {
        let mut scope = RootScope::new(&mut store);
        for _ in 0..HANDLES {
            black_box(object.field(&mut scope, black_box(field)).unwrap());
        }
    });
}

#[divan::bench(sample_size = 2000, args = NARROW)]
fn struct_write_narrow(bencher: Bencher<'_, '_>, field: usize) {
    let (mut store, object, values) = narrow();
    bencher.bench_local(move || {
        black_box(object)
            .set_field(&mut store, black_box(field), values[field])
            .unwrap();
    });
}

#[divan::bench(sample_size = 2000)]
fn array_read(bencher: Bencher<'_, '_>) {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let ty = ArrayType::new(&engine, var(StorageType::I8));
    let allocator = ArrayRefPre::new(&mut store, ty);
    let array = ArrayRef::new(&mut store, &allocator, &Val::I32(1), 1000).unwrap();
    bencher.bench_local(move || array.get(&mut store, black_box(500)).unwrap());
}

/// Collections are part of it.
#[divan::bench(sample_size = 50)]
fn struct_new_x100(bencher: Bencher<'_, '_>) {
    let (mut store, allocator, _) = store();
    bencher.bench_local(move || {
        let mut scope = RootScope::new(&mut store);
        for _ in 0..HANDLES {
            let fields = [Val::I32(1), Val::null_any_ref()];
            black_box(StructRef::new(&mut scope, &allocator, &fields).unwrap());
        }
    });
}

#[divan::bench(sample_size = 50)]
fn extern_new_x100(bencher: Bencher<'_, '_>) {
    let mut store = Store::<()>::default();
    bencher.bench_local(move || {
        let mut scope = RootScope::new(&mut store);
        for number in 0..HANDLES {
            black_box(ExternRef::new(&mut scope, number).unwrap());
        }
    });
}

#[divan::bench(sample_size = 50)]
fn rooted_x100(bencher: Bencher<'_, '_>) {
    let mut store = Store::<()>::default();
    bencher.bench_local(move || {
        let mut scope = RootScope::new(&mut store);
        for number in 0..HANDLES as u32 {
            black_box(AnyRef::from_i31(&mut scope, I31::wrapping_u32(number)));
        }
    });
}

#[divan::bench(sample_size = 200)]
fn owned_rooted(bencher: Bencher<'_, '_>) {
    let (mut store, _, object) = store();
    bencher.bench_local(move || -> OwnedRooted<StructRef> {
        black_box(object).to_owned_rooted(&mut store).unwrap()
    });
}

#[divan::bench(sample_size = 2000)]
fn is_struct(bencher: Bencher<'_, '_>) {
    let (store, _, object) = store();
    let any = object.to_anyref();
    bencher.bench_local(move || black_box(any).is_struct(&store).unwrap());
}

/// Sums, and sums so far in place, of the elements of an array, and of as many numbers in memory.
const LOOPS: &str = r#"(module
  (type $ints (array (mut i32)))
  (memory 1)
  (global $array (ref $ints) (array.new $ints (i32.const 3) (i32.const 4096)))
  (func $sum_array (param $a (ref null $ints)) (result i32) (local $i i32) (local $sum i32)
    (block $out (loop $l
      (br_if $out (i32.ge_s (local.get $i) (array.len (local.get $a))))
      (local.set $sum (i32.add (local.get $sum) (array.get $ints (local.get $a) (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $l)))
    (local.get $sum))
  (func $sum_memory (param $length i32) (result i32) (local $i i32) (local $sum i32)
    (block $out (loop $l
      (br_if $out (i32.ge_s (local.get $i) (local.get $length)))
      (local.set $sum
        (i32.add (local.get $sum) (i32.load (i32.shl (local.get $i) (i32.const 2)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $l)))
    (local.get $sum))
  (func $add_array (param $a (ref null $ints)) (result i32) (local $i i32) (local $sum i32)
    (block $out (loop $l
      (br_if $out (i32.ge_s (local.get $i) (array.len (local.get $a))))
      (local.set $sum (i32.add (local.get $sum) (array.get $ints (local.get $a) (local.get $i))))
      (array.set $ints (local.get $a) (local.get $i) (local.get $sum))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $l)))
    (local.get $sum))
  (func $add_memory (param $length i32) (result i32) (local $i i32) (local $sum i32)
    (block $out (loop $l
      (br_if $out (i32.ge_s (local.get $i) (local.get $length)))
      (local.set $sum
        (i32.add (local.get $sum) (i32.load (i32.shl (local.get $i) (i32.const 2)))))
      (i32.store (i32.shl (local.get $i) (i32.const 2)) (local.get $sum))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $l)))
    (local.get $sum))
  (func (export "sum of an array") (result i32) (call $sum_array (global.get $array)))
  (func (export "sum of memory") (result i32) (call $sum_memory (i32.const 4096)))
  (func (export "array in place") (result i32) (call $add_array (global.get $array)))
  (func (export "memory in place") (result i32) (call $add_memory (i32.const 4096))))"#;

/// What is shown is for one element.
#[divan::bench(args = ["sum of an array", "sum of memory", "array in place", "memory in place"])]
fn loops(bencher: Bencher<'_, '_>, name: &str) {
    let engine = Engine::default();
    let module = Module::new(&engine, LOOPS).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let run: TypedFunc<(), i32> = instance.get_typed_func(&mut store, name).unwrap();
    bencher
        .counter(ItemsCount::new(4096u32))
        .bench_local(move || run.call(&mut store, ()).unwrap());
}

fn main() {
    divan::main();
}
