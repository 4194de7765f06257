//! Types that are registered, dropped and cast to by two threads, in stores of their own and one engine.
//!
//! There are a few modules, each with a chain of structure types, of which some are equal to those of another
//! module. A thread loads and drops them in any order, and asks each module of the objects of the others: an
//! object is of the types up to its own in its chain, of those in equal chains, and of no others.

use crate::random::Random;
use sarsen::{AnyRef, Engine, Instance, Module, Rooted, Store, ensure};
use std::fmt::Write as _;
use std::thread;

const MODULES: usize = 8;
/// Modules with the same number after division by this have the same types.
const CHAINS: usize = 5;
const DEPTH: u32 = 4;
const STEPS: u64 = 60;

/// Types $t0 to $t3 in one group, a function that makes an object of each, and one that tells of which an
/// object is.
fn text(number: usize) -> String {
    let chain = number % CHAINS;
    let field = ["i32", "i64", "f64", "(ref null 0)", "(ref null func)"][chain];
    let mut text = format!("(module (rec (type $t0 (sub (struct (field {field}))))\n");
    for depth in 1..DEPTH {
        let fields = format!("(field {field})").repeat(depth as usize + 1);
        let _ = writeln!(
            text,
            "(type $t{depth} (sub $t{} (struct {fields})))",
            depth - 1
        );
    }
    // What sets modules with equal types apart.
    let _ = writeln!(
        text,
        ") (func (export \"number\") (result i32) (i32.const {number}))
        (func (export \"make\") (param i32) (result anyref)"
    );
    for depth in 0..DEPTH {
        let _ = writeln!(
            text,
            "(if (i32.eq (local.get 0) (i32.const {depth})) (then (return (struct.new_default $t{depth}))))"
        );
    }
    text.push_str(
        "(ref.null any)) (func (export \"tell\") (param anyref) (result i32) (i32.const 0)\n",
    );
    for depth in 0..DEPTH {
        let _ = writeln!(
            text,
            "(i32.or (i32.shl (ref.test (ref $t{depth}) (local.get 0)) (i32.const {depth})))"
        );
    }
    text.push_str("))");
    text
}

/// What one thread does.
fn steps(engine: &Engine, images: &[Vec<u8>], mut random: Random) -> sarsen::Result<()> {
    let mut loaded: Vec<(usize, Module)> = Vec::new();
    for _ in 0..STEPS {
        match random.below(3) {
            0 if !loaded.is_empty() => {
                let at = random.below(loaded.len() as u64) as usize;
                loaded.swap_remove(at);
            }
            1 if !loaded.is_empty() => ask(engine, &loaded, &mut random)?,
            _ => {
                let number = random.below(MODULES as u64) as usize;
                // SAFETY: this library has made the image.
                let module = unsafe { Module::deserialize(engine, &images[number]) }?;
                loaded.push((number, module));
            }
        }
    }
    Ok(())
}

/// Makes objects of one module's types, and asks another one.
fn ask(engine: &Engine, loaded: &[(usize, Module)], random: &mut Random) -> sarsen::Result<()> {
    let mut store = Store::new(engine, ());
    let mut any = || &loaded[random.below(loaded.len() as u64) as usize];
    let ((maker, module), (teller, other)) = (any(), any());
    let instance = Instance::new(&mut store, module, &[])?;
    let make = instance.get_typed_func::<u32, Option<Rooted<AnyRef>>>(&mut store, "make")?;
    let instance = Instance::new(&mut store, other, &[])?;
    let tell = instance.get_typed_func::<Option<Rooted<AnyRef>>, u32>(&mut store, "tell")?;
    for depth in 0..DEPTH {
        let object = make.call(&mut store, depth)?;
        let told = tell.call(&mut store, object)?;
        let expected = match maker % CHAINS == teller % CHAINS {
            true => (2 << depth) - 1,
            false => 0,
        };
        ensure!(
            told == expected,
            "module {teller} says {told:#b} of object {depth} of module {maker}, not {expected:#b}"
        );
    }
    Ok(())
}

/// Runs both threads.
pub(super) fn run(engine: &Engine, random: &mut Random) -> sarsen::Result<()> {
    let images = (0..MODULES).map(|number| {
        let module = wat::parse_str(text(number)).expect("the text is ours");
        engine.precompile_module(&module)
    });
    let images: Vec<Vec<u8>> = images.collect::<Result<_, _>>()?;
    let seeds = [random.number(), random.number()];
    let results = thread::scope(|scope| {
        let images = &images;
        let threads =
            seeds.map(|seed| scope.spawn(move || steps(engine, images, Random::new(seed))));
        threads.map(|thread| thread.join().expect("it does not panic"))
    });
    results.into_iter().collect()
}
