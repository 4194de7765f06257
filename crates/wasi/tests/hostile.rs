//! A guest that passes whatever numbers it likes to every function gets errnos, and nothing else
//! happens: no panic, no hang, no end of the guest, nothing outside its directory touched.

use sarsen::{Engine, Extern, ExternType, Func, Linker, Module, Store, Val, ValType};
use sarsen_wasi::{DirPerms, FilePerms, Input, RandomSource, SeededRandom, WasiCtx, add_to_linker};

const CALLS: u32 = 30_000;

/// Numbers at which checks go wrong, and some that work. None is a size that a disk could have.
const NUMBERS: [i64; 20] = [
    0,
    1,
    2,
    3,
    4,
    5,
    8,
    16,
    24,
    64,
    256,
    4096,
    65_528,
    65_536,
    65_537,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fff8,
    i64::MAX,
    -1,
];

/// A module that exports every WASI function as if it were its own, but for the one that exits.
fn forwarding_module(engine: &Engine, memory: &str) -> sarsen::Result<Module> {
    let declared = Module::new(engine, include_str!("all_imports.wat"))?;
    let mut imports = String::new();
    let mut exports = String::new();
    for import in declared
        .imports()
        .filter(|import| import.name() != "proc_exit")
    {
        let (module, name) = (import.module(), import.name());
        let ExternType::Func(ty) = import.ty() else {
            panic!("{name} is no function")
        };
        let params: Vec<String> = ty.params().map(|param| param.to_string()).collect();
        let signature = format!("(param {}) (result i32)", params.join(" "));
        let arguments: Vec<String> = (0..params.len())
            .map(|index| format!("(local.get {index})"))
            .collect();
        imports += &format!("(import \"{module}\" \"{name}\" (func ${name} {signature}))\n");
        exports += &format!(
            "(func (export \"{name}\") {signature} (call ${name} {}))\n",
            arguments.join(" ")
        );
    }
    Module::new(
        engine,
        format!("(module {imports} (memory (export \"memory\") {memory}) {exports})"),
    )
}

/// Memory of which much is good as an iovec, a path or a subscription.
fn memory_contents(random: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
    let mut contents = vec![0; 65_536];
    for word in contents.chunks_mut(4) {
        word.copy_from_slice(&(NUMBERS[random(NUMBERS.len())] as u32).to_le_bytes());
    }
    for (at, path) in [
        (256, "dir/"),
        (1024, "../a"),
        (2048, "a\0b"),
        (4096, "link"),
        (4100, "/x"),
    ] {
        contents[at..at + path.len()].copy_from_slice(path.as_bytes());
    }
    contents
}

#[test]
fn whatever_a_guest_passes_it_gets_an_errno() {
    call_with_anything("1");
}

#[test]
fn whatever_a_guest_with_a_shared_memory_passes_it_gets_an_errno() {
    call_with_anything("1 1 shared");
}

fn call_with_anything(memory: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let inside = scratch.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(scratch.path().join("a"), "outside").unwrap();
    std::os::unix::fs::symlink("../a", inside.join("link")).unwrap();

    let engine = Engine::default();
    let module = forwarding_module(&engine, memory).unwrap();
    let mut linker = Linker::new(&engine);
    add_to_linker(&mut linker, |ctx: &mut WasiCtx| ctx).unwrap();
    let context = || {
        let mut builder = WasiCtx::builder();
        builder
            .arg("x")
            .env("A", "1")
            .stdin(Input::bytes(vec![1; 100]))
            .allow_blocking(false)
            .max_open_descriptors(16)
            .preopened_dir(&inside, "/", DirPerms::all(), FilePerms::all())
            .unwrap();
        builder.build()
    };
    let mut store = Store::new(&engine, context());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let memory = instance.get_export(&mut store, "memory").unwrap();
    let functions: Vec<(String, Func)> = module
        .exports()
        .filter(|export| export.name() != "memory")
        .map(|export| {
            let func = instance.get_func(&mut store, export.name()).unwrap();
            (export.name().to_owned(), func)
        })
        .collect();
    assert_eq!(functions.len(), 45);

    let mut source = SeededRandom::new(2);
    let mut random = move |below: usize| {
        let mut bytes = [0; 8];
        source.fill(&mut bytes).unwrap();
        (u64::from_le_bytes(bytes) % below as u64) as usize
    };
    let mut successes = 0;
    for call in 0..CALLS {
        if call % 100 == 0 {
            let contents = memory_contents(&mut random);
            match &memory {
                Extern::Memory(memory) => memory.write(&mut store, 0, &contents),
                Extern::SharedMemory(memory) => memory.write(0, &contents),
                other => panic!("{other:?} is no memory"),
            }
            .unwrap();
            // By now the guest may have closed all that it had.
            *store.data_mut() = context();
        }
        let (name, func) = &functions[random(functions.len())];
        let arguments: Vec<Val> = func
            .ty(&store)
            .params()
            .map(|param| {
                let number = NUMBERS[random(NUMBERS.len())];
                match param {
                    ValType::I64 => Val::I64(number),
                    _ => Val::I32(number as i32),
                }
            })
            .collect();
        let mut results = [Val::I32(-1)];
        func.call(&mut store, &arguments, &mut results)
            .unwrap_or_else(|error| panic!("{name} {arguments:?}: {error:?}"));
        let errno = results[0].unwrap_i32();
        successes += u32::from(errno == 0);
        assert!((0..77).contains(&errno), "{name} {arguments:?}: {errno}");
    }
    assert!(
        successes > CALLS / 50,
        "the test is worth nothing: {successes} successes"
    );
    assert_eq!(
        std::fs::read_to_string(scratch.path().join("a")).unwrap(),
        "outside"
    );
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 2);
}
