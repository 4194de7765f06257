//! Tests of loaded code, over images made by hand.

use super::*;
use rustix::fs::StatVfsMountFlags;
use sarsen_abi::image::{
    CodeKind, FuncEntry, ImageContents, ImageEncoder, ImageError, StubOffsets, TargetDescription,
};
use sarsen_abi::module::MemoryImage;
use sarsen_abi::types::{CompositeType, FuncType, IndexType, MemoryType, SubType};
use sarsen_abi::{DefinedFuncIndex, Features, Module, Settings, TrapCode, TypeIndex};
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

/// An image of one function that returns `number`, and its stubs, each `ret` alone. `padding` is the
/// size of the function beyond its code, in bytes.
fn image(number: u32, padding: usize) -> Vec<u8> {
    image_with(Vec::new(), number, padding)
}

/// The same, with memories of a page that begin with these contents.
fn image_with(memory_images: Vec<Option<MemoryImage>>, number: u32, padding: usize) -> Vec<u8> {
    let memory = MemoryType {
        index: IndexType::I32,
        shared: false,
        minimum: 1,
        maximum: None,
        page_size_log2: 16,
    };
    let module = Module {
        types: vec![SubType {
            is_final: true,
            supertype: None,
            composite: CompositeType::Func(FuncType {
                params: Box::new([]),
                results: Box::new([]),
            }),
        }],
        rec_groups: std::iter::once(0..1).collect(),
        funcs: vec![TypeIndex::new(0)],
        memories: vec![memory; memory_images.len()],
        memory_images,
        ..Module::default()
    };
    let mut text = vec![0xb8];
    text.extend_from_slice(&number.to_le_bytes());
    text.push(0xc3);
    text.resize(16 + padding, 0x90);
    let start = text.len() as u32;
    text.extend_from_slice(&[0xc3, 0xc3]);

    let mut encoder = ImageEncoder::new(0);
    let kinds = [
        (CodeKind::Wasm(DefinedFuncIndex::new(0)), 0..start),
        (CodeKind::Entry(TypeIndex::new(0)), start..start + 1),
        (CodeKind::Exit(TypeIndex::new(0)), start + 1..start + 2),
    ];
    for (kind, range) in kinds {
        let (start, end) = (range.start, range.end);
        encoder.add_func(FuncEntry { kind, start, end });
    }
    let (entry, exit) = (start, start + 1);
    encoder.add_stubs(TypeIndex::new(0), StubOffsets { entry, exit });
    encoder.add_trap(5, TrapCode::Unreachable);
    encoder.finish(&ImageContents {
        module: &module,
        target: &TargetDescription {
            triple: format!(
                "{}-unknown-{}-gnu",
                std::env::consts::ARCH,
                std::env::consts::OS
            ),
            cpu_features: vec!["sse3".to_owned()],
        },
        settings: &Settings::default(),
        text: &text,
        bodies: &[0],
        data: &[7; 5000],
        names: &[],
        custom: &[],
    })
}

fn load(image: &[u8]) -> Result<Arc<EngineCode>, LoadError> {
    let expected = Expected {
        settings: &Settings::default(),
        features: Features::default(),
    };
    // SAFETY: the tests' images contain no code that does harm.
    unsafe { EngineCode::from_bytes(image, &expected) }
}

fn load_file(file: File) -> Result<Arc<EngineCode>, LoadError> {
    let expected = Expected {
        settings: &Settings::default(),
        features: Features::default(),
    };
    // SAFETY: as above, and nobody else knows the file.
    unsafe { EngineCode::from_file(file, &expected) }
}

fn call(code: &EngineCode) -> u32 {
    let function = code.code_ptr(DefinedFuncIndex::new(0));
    // SAFETY: `image` makes such a function.
    let function: extern "C" fn() -> u32 = unsafe { std::mem::transmute(function) };
    function()
}

fn temporary_file(name: &str, contents: &[u8], mode: u32) -> File {
    use std::os::unix::fs::PermissionsExt;
    let name = format!("sarsen-code-test-{name}-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    std::fs::remove_file(&path).unwrap();
    file.write_all(contents).unwrap();
    file.set_permissions(PermissionsExt::from_mode(mode))
        .unwrap();
    file
}

/// The lines of this process's memory map that a range of addresses is in.
fn mappings(addresses: std::ops::Range<usize>) -> Vec<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let is_inside = |line: &&str| {
        let (start, rest) = line.split_once('-').unwrap();
        let end = rest.split(' ').next().unwrap();
        let number = |hex| usize::from_str_radix(hex, 16).unwrap();
        number(start) < addresses.end && addresses.start < number(end)
    };
    maps.lines().filter(is_inside).map(str::to_owned).collect()
}

#[test]
fn loaded_code_runs_and_is_found_by_its_addresses_until_dropped() {
    let code = load(&image(42, 0)).unwrap();
    assert_eq!(call(&code), 42);
    let text = code.text();
    for (pc, offset) in [(text.start, 0), (text.start + 17, 17), (text.end, 18)] {
        // SAFETY: `code` is alive.
        let found = unsafe { lookup(pc) }.unwrap();
        assert_eq!(
            (found.code as *const _, found.offset),
            (Arc::as_ptr(&code), offset)
        );
    }
    // SAFETY: nothing is there.
    unsafe {
        assert!(lookup(text.end + 1).is_none());
        assert!(lookup(text.start + 65536).is_none_or(|at| !std::ptr::eq(at.code, &*code)));
    }
    assert_eq!(code.image().trap_at(5), Some(TrapCode::Unreachable));
    let at = Arc::downgrade(&code);
    drop(code);
    assert!(at.upgrade().is_none(), "nothing keeps it alive");
}

#[test]
fn large_texts_are_found_by_every_granule() {
    // One of them ends where a granule does.
    for padding in [200_000, 2 * 65536 - 18] {
        let code = load(&image(1, padding)).unwrap();
        let text = code.text();
        assert!(text.start.is_multiple_of(65536));
        for pc in text.clone().step_by(10_000).chain([text.end]) {
            // SAFETY: `code` is alive.
            let found = unsafe { lookup(pc) }.unwrap();
            assert_eq!(found.offset as usize, pc - text.start);
        }
    }
}

#[test]
fn text_is_executable_and_never_writable() {
    let code = load(&image(1, 0)).unwrap();
    let lines = mappings(code.text());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(" r-xp "), "{lines:?}");
}

#[test]
fn a_file_of_ours_is_mapped_and_one_that_others_may_write_is_copied() {
    let image = image(7, 0);
    for (mode, mapped) in [(0o600, true), (0o666, false)] {
        let file = temporary_file(&format!("{mode:o}"), &image, mode);
        // Where nothing may be executed, a file of ours is copied, too.
        let flags = rustix::fs::fstatvfs(&file).unwrap().f_flag;
        let mapped = mapped && !flags.contains(StatVfsMountFlags::NOEXEC);
        let code = load_file(file).unwrap();
        assert_eq!(call(&code), 7);
        let lines = mappings(code.text());
        assert_eq!(!lines[0].contains("memfd:"), mapped, "{lines:?}");
    }
}

#[test]
fn data_can_be_mapped_again_from_its_file_which_is_closed_if_nobody_will() {
    let code = load(&image_with(vec![None], 1, 0)).unwrap();
    assert_eq!(code.data(), [7; 5000]);
    assert!(code.data_file().is_none());
    let (address, bytes) = (0, 0..4096);
    let contents = MemoryImage { address, bytes };
    let code = load(&image_with(vec![Some(contents)], 1, 0)).unwrap();
    let (file, offset) = code.data_file().unwrap();
    let mut bytes = [0; 5000];
    assert_eq!(rustix::io::pread(file, &mut bytes, offset), Ok(5000));
    assert_eq!(bytes, [7; 5000]);
}

#[test]
fn what_does_not_fit_or_is_damaged_is_refused_by_name() {
    let mut bytes = image(1, 0);
    let settings = Settings {
        epoch_interruption: true,
        ..Settings::default()
    };
    let expected = Expected {
        settings: &settings,
        features: Features::default(),
    };
    // SAFETY: it is not loaded.
    let error = unsafe { EngineCode::from_bytes(&bytes, &expected) }.unwrap_err();
    assert!(error.to_string().contains("epoch_interruption"), "{error}");

    let code = bytes
        .windows(5)
        .position(|w| w == [0xb8, 1, 0, 0, 0])
        .unwrap();
    bytes[code + 1] = 2;
    let error = load(&bytes).unwrap_err();
    let damaged = ImageError::SectionDamaged(".text".to_owned());
    assert!(
        matches!(&error, LoadError::Image(e) if *e == damaged),
        "{error}"
    );

    for file in [&b""[..], b"\0asm\x01\0\0\0"] {
        let error = load_file(temporary_file("none", file, 0o600)).unwrap_err();
        assert!(
            matches!(error, LoadError::Image(ImageError::NotAnImage)),
            "{error}"
        );
    }
}

#[test]
fn code_can_be_shared_between_threads() {
    fn assert_shared<T: Send + Sync>() {}
    assert_shared::<EngineCode>();
    assert_shared::<StoreCode>();
}

#[test]
fn codes_come_and_go_on_many_threads_while_others_are_looked_up() {
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for round in 0..50 {
                    let number = thread * 1000 + round;
                    let code = load(&image(number, 70_000)).unwrap();
                    assert_eq!(call(&code), number);
                    let pc = code.text().start + 66_000;
                    // SAFETY: `code` is alive.
                    let found = unsafe { lookup(pc) }.unwrap();
                    assert!(std::ptr::eq(found.code, &*code));
                }
            });
        }
    });
}
