//! Many threads at once, many types at once.

use super::*;
use sarsen_abi::types::{FieldType, StorageType};
use std::sync::atomic::AtomicBool;

/// A number generator that is only as random as a schedule needs to be.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

const FAMILIES: u32 = 6;
const MEMBERS: u32 = 5;

/// Structures of which each extends the one before. The first has `family` fields, and each one more,
/// which refers to it: so the number of fields tells which one it is.
fn family(family: u32) -> Module {
    let mut fields = vec![byte(); family as usize + 1];
    let mut groups = Vec::new();
    for member in 0..MEMBERS {
        if member > 0 {
            fields.push(FieldType {
                storage: StorageType::Val(ValType::Ref(RefType {
                    nullable: true,
                    heap: HeapType::ConcreteStruct(TypeIndex::new(member)),
                })),
                mutable: true,
            });
        }
        groups.push(vec![SubType {
            is_final: false,
            supertype: member.checked_sub(1).map(TypeIndex::new),
            composite: CompositeType::Struct(fields.clone().into()),
        }]);
    }
    module(groups)
}

fn byte() -> FieldType {
    FieldType {
        storage: StorageType::I8,
        mutable: true,
    }
}

/// What is known without a lock of types that `types` holds is what was registered.
fn check_family(registry: &Registry, types: &ModuleTypes, family: u32) {
    for (member, &id) in types.ids().iter().enumerate() {
        // SAFETY: `types` holds it.
        let defined = unsafe { registry.defined_held(id) }.expect("registered");
        let shape = defined.as_struct().expect("a structure");
        assert_eq!(defined.id, id);
        assert_eq!(shape.fields.len(), family as usize + 1 + member);
        assert_eq!(shape.layout.fields.len(), shape.fields.len());
        for (other, &ancestor) in types.ids().iter().enumerate() {
            assert_eq!(registry.is_subtype(id, ancestor), other <= member);
        }
    }
}

/// Does `rounds` things at random with what it holds.
fn disturb(registry: &Arc<Registry>, seen: &[AtomicU32], seed: u64, rounds: usize) {
    let mut random = Random(seed);
    let modules: Vec<Module> = (0..FAMILIES).map(family).collect();
    let mut modules_held: Vec<(u32, ModuleTypes)> = Vec::new();
    let mut types_held: Vec<RegisteredType> = Vec::new();
    for _ in 0..rounds {
        match random.below(8) {
            0..2 => {
                let family = random.below(FAMILIES as usize);
                let types = registry.register_module(&modules[family]).unwrap();
                seen[family].store(types.ids()[MEMBERS as usize - 1].0, Ordering::Release);
                modules_held.push((family as u32, types));
            }
            2 if !modules_held.is_empty() => {
                drop(modules_held.swap_remove(random.below(modules_held.len())));
            }
            3 if !modules_held.is_empty() => {
                let (family, types) = &modules_held[random.below(modules_held.len())];
                check_family(registry, types, *family);
            }
            4 => {
                // Perhaps nobody holds it now, or it is another type.
                let id = TypeId(seen[random.below(seen.len())].load(Ordering::Acquire));
                types_held.extend(registry.retain(id));
            }
            5 if !types_held.is_empty() => {
                let ty = &types_held[random.below(types_held.len())];
                assert!(registry.is_subtype(ty.id(), ty.id()));
                assert_eq!(registry.kind(ty.id()), Kind::Struct);
                types_held.push(ty.clone());
            }
            6 if !types_held.is_empty() => {
                drop(types_held.swap_remove(random.below(types_held.len())));
            }
            _ => std::thread::yield_now(),
        }
        if modules_held.len() + types_held.len() > 12 {
            modules_held.clear();
            types_held.clear();
        }
    }
}

#[test]
fn many_threads_that_hold_and_drop_types_at_random_leave_nothing() {
    const THREADS: u64 = 6;
    const ROUNDS: usize = 3_000;
    let registry = registry();
    let seen: Vec<AtomicU32> = (0..FAMILIES).map(|_| AtomicU32::new(0)).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (1..=THREADS)
            .map(|seed| {
                let (registry, seen) = (&registry, &seen);
                scope.spawn(move || disturb(registry, seen, seed * 0x9e37_79b9, ROUNDS))
            })
            .collect();
        // As compiled code with a damaged heap reads: rows of types that nobody holds.
        scope.spawn(|| {
            let mut random = Random(7);
            while !done.load(Ordering::Relaxed) {
                let id = |n: usize| TypeId(n as u32 * ROW_SIZE);
                let (a, b) = (id(random.below(100)), id(random.below(100)));
                let _ = (
                    registry.is_subtype(a, b),
                    registry.kind(a),
                    registry.depth(b),
                );
            }
        });
        let outcomes: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        done.store(true, Ordering::Relaxed);
        assert!(outcomes.iter().all(Result::is_ok));
    });
    assert!(registry.is_empty());
    let state = registry.lock();
    assert!(state.groups.is_empty());
    let given = (state.next.0 - FIRST_TYPE.0) / ROW_SIZE;
    assert_eq!(state.free.len() as u32, given, "no id is lost");
}

/// How many types the tests of quantity register.
const MANY: u32 = if cfg!(debug_assertions) {
    200_000
} else {
    1_000_000
};

/// A structure with a field for every two bits of `number`: as alike as different types can be.
fn numbered(number: u32, supertype: Option<u32>) -> SubType {
    let digit = |digit: u32| FieldType {
        storage: match number >> (2 * digit) & 3 {
            0 => StorageType::I8,
            1 => StorageType::I16,
            2 => StorageType::Val(ValType::I32),
            _ => StorageType::Val(ValType::F32),
        },
        mutable: true,
    };
    SubType {
        is_final: false,
        supertype: supertype.map(TypeIndex::new),
        composite: CompositeType::Struct((0..10).map(digit).collect()),
    }
}

/// A lookup hashes a group once, and compares it with those of the same hash: there is never another.
#[test]
fn a_million_types_are_each_found_at_the_first_attempt() {
    let registry = registry();
    let many = module((0..MANY).map(|i| vec![numbered(i, None)]).collect());
    let types = registry.register_module(&many).unwrap();
    assert_eq!(registry.len(), MANY as usize);
    let last = types.ids().last().unwrap().0;
    assert_eq!(last, FIRST_TYPE.0 + (MANY - 1) * ROW_SIZE, "ids are dense");
    {
        let state = registry.lock();
        let mut hashes: Vec<u64> = state.groups.iter().map(|r| r.group.hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), MANY as usize);
    }
    drop(types);
    assert!(registry.is_empty());
}

#[test]
fn a_large_group_is_registered_and_dropped_as_one() {
    let registry = registry();
    let group = (0..MANY / 4).map(|i| numbered(i, (i % 2 == 1).then(|| i - 1)));
    let large = module(vec![group.collect()]);
    let types = registry.register_module(&large).unwrap();
    let again = registry.register_module(&large).unwrap();
    assert_eq!(types.ids(), again.ids());
    assert_eq!(registry.lock().groups.len(), 1);
    drop((types, again));
    assert!(registry.is_empty());
}
