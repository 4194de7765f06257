//! Source locations from a module's DWARF, functions included that the program's own compiler inlined.
//!
//! The DWARF is written by hand, to say exactly what the test expects:
//!
//! ```text
//!   main.c:12:5   outer() { leaf(); }         leaf is inlined
//!   leaf.h:7:3    leaf() { __builtin_trap(); }
//!   main.c:20     caller() { outer(); }
//! ```

use sarsen::{Config, Engine, FrameInfo, Instance, Module, Store, WasmBacktrace};

const WAT: &str = r#"(module $program
    (func $caller (export "caller") (nop) (call $outer) (nop))
    (func $outer (nop) (nop) (nop) unreachable))"#;

/// Little-endian bytes in the making.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u8(&mut self, values: &[u8]) -> &mut Self {
        self.0.extend(values);
        self
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.u8(&value.to_le_bytes())
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.u8(&value.to_le_bytes())
    }

    fn str(&mut self, text: &str) -> &mut Self {
        self.u8(text.as_bytes()).u8(&[0])
    }

    /// The bytes behind their length.
    fn unit(&self) -> Vec<u8> {
        let mut unit = Bytes::default();
        unit.u32(self.0.len() as u32).u8(&self.0);
        unit.0
    }
}

/// Unsigned LEB128.
fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn custom_section(name: &str, contents: &[u8]) -> Vec<u8> {
    let body = [&leb(name.len())[..], name.as_bytes(), contents].concat();
    [&[0][..], &leb(body.len()), &body].concat()
}

/// Where things are in the module, as addresses in DWARF.
struct Addresses {
    caller: u32,
    outer: u32,
    /// The instructions of `leaf`, inlined in `outer`.
    leaf: u32,
    end: u32,
}

fn addresses(wasm: &[u8]) -> Addresses {
    let find = |bytes: &[u8]| wasm.windows(bytes.len()).position(|w| w == bytes).unwrap();
    // The section's id and size, two functions; `caller`: size, no locals, nop, call 1.
    let code = find(&[10, 15, 2, 6, 0, 1, 0x10, 1]);
    let contents = code + 2;
    let at = |offset: usize| (offset - contents) as u32;
    // `outer`: size, no locals, three nops, unreachable, end.
    let outer = find(&[6, 0, 1, 1, 1, 0, 0x0b]);
    Addresses {
        caller: at(code + 4),
        outer: at(outer + 1),
        leaf: at(outer + 4),
        end: at(outer + 7),
    }
}

fn abbreviations() -> Vec<u8> {
    let mut b = Bytes::default();
    // 1: compile unit with children: name, stmt_list, low_pc, high_pc (as size).
    b.u8(&[
        1, 0x11, 1, 0x03, 0x08, 0x10, 0x17, 0x11, 0x01, 0x12, 0x06, 0, 0,
    ]);
    // 2: subprogram without children: name, inline. The abstract `leaf`.
    b.u8(&[2, 0x2e, 0, 0x03, 0x08, 0x20, 0x0b, 0, 0]);
    // 3: subprogram with children: name, low_pc, high_pc.
    b.u8(&[3, 0x2e, 1, 0x03, 0x08, 0x11, 0x01, 0x12, 0x06, 0, 0]);
    // 4: inlined subroutine: abstract_origin, low_pc, high_pc, call_file, call_line, call_column.
    b.u8(&[4, 0x1d, 0, 0x31, 0x13, 0x11, 0x01, 0x12, 0x06]);
    b.u8(&[0x58, 0x0b, 0x59, 0x0b, 0x57, 0x0b, 0, 0, 0]);
    b.0
}

fn info(a: &Addresses) -> Vec<u8> {
    let mut b = Bytes::default();
    // Version 4, abbreviations at 0, addresses of 4 bytes.
    b.u16(4).u32(0).u8(&[4]);
    b.u8(&[1])
        .str("main.c")
        .u32(0)
        .u32(a.caller)
        .u32(a.end - a.caller);
    // References count from the unit's first byte, which is that of its length.
    let leaf = 4 + b.0.len() as u32;
    b.u8(&[2]).str("leaf").u8(&[1]);
    b.u8(&[3])
        .str("caller")
        .u32(a.caller)
        .u32(a.outer - a.caller)
        .u8(&[0]);
    b.u8(&[3])
        .str("_ZN4test5outerEv")
        .u32(a.outer)
        .u32(a.end - a.outer);
    b.u8(&[4])
        .u32(leaf)
        .u32(a.leaf)
        .u32(a.end - a.leaf)
        .u8(&[1, 12, 5]);
    b.u8(&[0, 0]);
    b.unit()
}

fn lines(a: &Addresses) -> Vec<u8> {
    let mut header = Bytes::default();
    // Instruction length, operations, is_stmt; line base -5, range 14; operands of opcodes 1 to 12.
    header.u8(&[1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1]);
    header
        .u8(&[0])
        .str("main.c")
        .u8(&[0, 0, 0])
        .str("leaf.h")
        .u8(&[0, 0, 0, 0]);
    let mut b = Bytes::default();
    b.u16(4).u32(header.0.len() as u32).u8(&header.0);
    let row = |b: &mut Bytes, address: u32, file: u8, advance: i8, column: u8| {
        // set_address, set_file, advance_line (one byte of signed LEB128), set_column, copy.
        b.u8(&[0, 5, 2]).u32(address).u8(&[4, file]);
        b.u8(&[3, advance as u8 & 0x7f, 5, column, 1]);
    };
    row(&mut b, a.caller, 1, 19, 1);
    row(&mut b, a.outer, 1, -9, 2);
    row(&mut b, a.leaf, 2, -4, 3);
    // set_address, end_sequence.
    b.u8(&[0, 5, 2]).u32(a.end).u8(&[0, 1, 1]);
    b.unit()
}

fn with_dwarf() -> Vec<u8> {
    let mut wasm = wat::parse_str(WAT).unwrap();
    let a = addresses(&wasm);
    let sections = [
        (".debug_abbrev", abbreviations()),
        (".debug_info", info(&a)),
        (".debug_line", lines(&a)),
    ];
    for (name, contents) in sections {
        wasm.extend(custom_section(name, &contents));
    }
    wasm
}

fn frames(config: &Config, wasm: &[u8]) -> Vec<Vec<String>> {
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, wasm).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let caller = instance
        .get_typed_func::<(), ()>(&mut store, "caller")
        .unwrap();
    let error = caller.call(&mut store, ()).unwrap_err();
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    backtrace.frames().iter().map(symbols).collect()
}

fn symbols(frame: &FrameInfo) -> Vec<String> {
    let of = |symbol: &sarsen::FrameSymbol| {
        let name = symbol.name().unwrap_or("?");
        let file = symbol.file().unwrap_or("?");
        format!(
            "{name} {file}:{}:{}",
            symbol.line().unwrap_or(0),
            symbol.column().unwrap_or(0)
        )
    };
    frame.symbols().iter().map(of).collect()
}

#[test]
fn frames_have_source_locations_and_inlined_source_frames() {
    let wasm = with_dwarf();
    for inlining in [false, true] {
        let frames = frames(Config::new().compiler_inlining(inlining), &wasm);
        let expected = [
            vec!["leaf leaf.h:7:3", "test::outer() main.c:12:5"],
            vec!["caller main.c:20:1"],
        ];
        assert_eq!(frames, expected, "inlining: {inlining}");
    }
}

#[test]
fn damaged_dwarf_loses_locations_and_nothing_else() {
    let wasm = with_dwarf();
    let start = wat::parse_str(WAT).unwrap().len();
    let names: [&[u8]; 3] = [b".debug_abbrev", b".debug_info", b".debug_line"];
    let is_name = |at: usize| {
        names.iter().any(|name| {
            let found = wasm.windows(name.len()).position(|w| w == *name).unwrap();
            // The section's header is a valid module's.
            (found - 4..found + name.len()).contains(&at)
        })
    };
    for at in (start..wasm.len()).filter(|&at| !is_name(at)) {
        let mut damaged = wasm.clone();
        damaged[at] ^= 0x55;
        assert_eq!(frames(&Config::new(), &damaged).len(), 2, "byte {at}");
    }
}
