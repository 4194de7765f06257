//! What objects cost the host: reading and writing fields, allocating, and handles.

use divan::{Bencher, black_box};
use sarsen::{
    AnyRef, ArrayRef, ArrayRefPre, ArrayType, Engine, ExternRef, FieldType, I31, Mutability,
    OwnedRooted, RootScope, Rooted, StorageType, Store, StructRef, StructRefPre, StructType, Val,
    ValType,
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

fn main() {
    divan::main();
}
