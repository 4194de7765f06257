//! Precompiled images.

use sarsen::{Config, Engine, Instance, Module, Store};

const TEXT: &str = r#"(module $named
  (memory 1) (data (i32.const 3) "abc")
  (func (export "get") (param i32) (result i32) (i32.load8_u (local.get 0))))"#;

fn works(engine: &Engine, module: &Module) {
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, module, &[]).unwrap();
    let get = instance
        .get_typed_func::<i32, i32>(&mut store, "get")
        .unwrap();
    assert_eq!(get.call(&mut store, 4).unwrap(), i32::from(b'b'));
    assert_eq!(module.name(), Some("named"));
}

#[test]
fn a_module_survives_serialization() {
    let engine = Engine::default();
    let module = Module::new(&engine, TEXT).unwrap();
    let image = module.serialize().unwrap();
    assert_eq!(image, engine.precompile_module(TEXT.as_bytes()).unwrap());
    assert!(Engine::detect_precompiled(&image));
    assert!(Engine::detect_precompiled(&image[..16]));
    assert!(!Engine::detect_precompiled(b"\0asm\x01\0\0\0"));
    let this_program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(!Engine::detect_precompiled(&this_program));
    let other = Engine::default();
    // SAFETY: the image has just been made by this library.
    works(
        &other,
        &unsafe { Module::deserialize(&other, &image) }.unwrap(),
    );

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &image).unwrap();
    // SAFETY: as above, and nobody changes the file.
    works(
        &other,
        &unsafe { Module::deserialize_file(&other, file.path()) }.unwrap(),
    );
}

#[test]
fn an_image_of_another_configuration_is_refused() {
    let image = Engine::default()
        .precompile_module(TEXT.as_bytes())
        .unwrap();
    let mut config = Config::new();
    config.consume_fuel(true);
    let engine = Engine::new(&config).unwrap();
    // SAFETY: the image has just been made by this library.
    let error = unsafe { Module::deserialize(&engine, &image) }.unwrap_err();
    assert!(!error.to_string().is_empty());
}

#[test]
fn a_damaged_image_is_refused() {
    let engine = Engine::default();
    let image = engine.precompile_module(TEXT.as_bytes()).unwrap();
    for length in [0, 1, 63, 64, image.len() / 2, image.len() - 1] {
        // SAFETY: what is damaged is not run.
        let loaded = unsafe { Module::deserialize(&engine, &image[..length]) };
        assert!(loaded.is_err(), "{length}");
    }
    for position in (0..image.len()).step_by(image.len() / 97) {
        let mut damaged = image.clone();
        damaged[position] ^= 0x10;
        // SAFETY: damage in what matters is found; what does not matter is as it was.
        if let Ok(module) = unsafe { Module::deserialize(&engine, &damaged) } {
            works(&engine, &module);
        }
    }
}

#[test]
fn bad_modules_are_refused_with_an_offset() {
    let engine = Engine::default();
    assert!(Module::new(&engine, b"").is_err());
    assert!(Module::new(&engine, b"not wasm").is_err());
    assert!(Module::new(&engine, "(module").is_err());
    let error = Module::from_binary(&engine, b"\0asm\x01\0\0\0\x01").unwrap_err();
    assert!(format!("{error:#}").contains("offset"), "{error:#}");
    let invalid = wat::parse_str("(module (func (result i32) (i64.const 0)))").unwrap();
    let error = Module::validate(&engine, &invalid).unwrap_err();
    assert!(format!("{error:#}").contains("offset"), "{error:#}");
    assert!(Module::from_binary(&engine, TEXT.as_bytes()).is_err());
    Module::validate(&engine, &wat::parse_str(TEXT).unwrap()).unwrap();
    assert!(Module::from_file(&engine, "/does/not/exist").is_err());
}

#[test]
fn what_a_module_declares_is_told() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
             (import "a" "f" (func (param i32)))
             (import "b" "g" (global (mut f32)))
             (memory (export "m") 1 2)
             (table (export "t") 0 externref)
             (func (export "x") (result i64) (i64.const 0)))"#,
    )
    .unwrap();
    let imports: Vec<_> = module
        .imports()
        .map(|i| format!("{}::{} {}", i.module(), i.name(), i.ty()))
        .collect();
    assert_eq!(
        imports,
        ["a::f (func (param i32))", "b::g (global (mut f32))"]
    );
    let exports: Vec<_> = module
        .exports()
        .map(|e| format!("{} {}", e.name(), e.ty()))
        .collect();
    assert_eq!(
        exports,
        [
            "m (memory 1 2)",
            "t (table 0 externref)",
            "x (func (result i64))"
        ]
    );
    assert_eq!(
        module
            .get_export("x")
            .unwrap()
            .unwrap_func()
            .results()
            .len(),
        1
    );
    assert!(module.get_export("y").is_none());
    assert!(module.name().is_none());
    assert!(Module::same(&module, &module.clone()));
}

#[test]
fn proposals_can_be_switched_off() {
    let mut config = Config::new();
    config.wasm_multi_memory(false);
    let engine = Engine::new(&config).unwrap();
    assert!(Module::new(&engine, "(module (memory 1) (memory 1))").is_err());
    assert!(Module::new(&Engine::default(), "(module (memory 1) (memory 1))").is_ok());
}
