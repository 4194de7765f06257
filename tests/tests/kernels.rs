//! Programs for vectors compute what plain loops do.

use sarsen::{Config, Engine, Instance, Memory, Module, Store, TypedFunc};
use sarsen_benches::kernels::{KERNELS, Kernel};

fn instantiate(kernel: &Kernel, config: &Config) -> (Store<()>, Instance) {
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, kernel.source).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

#[test]
fn vectors_give_what_plain_loops_give() {
    const ROUNDS: i32 = 2;
    for kernel in &KERNELS {
        let expected = (kernel.expected)(ROUNDS.cast_unsigned());
        for deterministic in [false, true] {
            let mut config = Config::new();
            config.relaxed_simd_deterministic(deterministic);
            let (mut store, instance) = instantiate(kernel, &config);
            let run: TypedFunc<i32, i32> = instance.get_typed_func(&mut store, "run").unwrap();
            let result = run.call(&mut store, ROUNDS).unwrap().cast_unsigned();
            assert_eq!(result, expected, "{kernel}");
        }
    }
}

/// Has the kernel count the characters of `text`, which lies so that it ends anywhere in a vector.
struct Characters {
    store: Store<()>,
    memory: Memory,
    count: TypedFunc<(i32, i32), i32>,
}

impl Characters {
    const ADDRESS: usize = 64;

    fn new() -> Self {
        let kernel = KERNELS.iter().find(|kernel| kernel.name == "utf8").unwrap();
        let (mut store, instance) = instantiate(kernel, &Config::new());
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let count = instance.get_typed_func(&mut store, "characters").unwrap();
        Characters {
            store,
            memory,
            count,
        }
    }

    fn check(&mut self, text: &[u8]) {
        self.memory
            .write(&mut self.store, Self::ADDRESS, text)
            .unwrap();
        let place = (Self::ADDRESS as i32, text.len() as i32);
        let count = self.count.call(&mut self.store, place).unwrap();
        let expected = std::str::from_utf8(text).map_or(-1, |text| text.chars().count() as i32);
        assert_eq!(count, expected, "{text:x?}");
    }
}

#[test]
fn utf8_is_valid_where_the_standard_library_says_so() {
    let mut characters = Characters::new();
    // The bytes at which something changes.
    let bytes = [
        0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xef,
        0xf0, 0xf1, 0xf4, 0xf5, 0xff,
    ];
    for first in bytes {
        for second in bytes {
            for third in [0x00, 0x80, 0xbf, 0xc2] {
                for fourth in [0x00, 0x80, 0xbf, 0xc2] {
                    let mistake = [first, second, third, fourth];
                    // Within a vector, and over the end of one.
                    for (before, length) in [(0, 4), (14, 4), (15, 4), (13, 3), (15, 2), (15, 1)] {
                        let mut text = vec![b'-'; before];
                        text.extend(&mistake[..length]);
                        characters.check(&text);
                    }
                }
            }
        }
    }
}
