//! Atomic operations, waits and growth by two threads on one memory.
//!
//! Each place in the memory has a role, which says what is done to it and what it must hold in the end.

use crate::random::Random;
use sarsen::{Engine, Instance, MemoryType, Module, SharedMemory, Store, ensure};
use std::fmt::Write as _;
use std::thread;

const PAGES: u32 = 1;
const MAX_PAGES: u32 = 12;
/// Places of 8 bytes from here on.
const FIRST: u64 = 64;
/// Whose turn it is, and what only who has it may touch, without atomics.
const TURN: u32 = 0;
const GUARDED: u32 = 8;
/// Nanoseconds after which a wait was forgotten, on a machine with much else to do.
const FORGOTTEN: u64 = 120_000_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Add,
    Sub,
    Xor,
    Or,
    And,
    /// All values that were read must differ, and add up.
    Ticket,
    /// Counted by comparing and exchanging.
    Count,
    /// All values that were written must be read once, or be the last.
    Exchange,
    /// The last value of one of the two.
    Store,
}

/// Where a place is.
fn address(place: usize) -> u64 {
    FIRST + 8 * place as u64
}

struct Place {
    role: Role,
    /// In bytes, as a power of two.
    width: u32,
}

impl Place {
    fn mask(&self) -> u64 {
        u64::MAX >> (64 - (8 << self.width))
    }

    fn initial(&self) -> u64 {
        match self.role {
            Role::And => self.mask(),
            _ => 0,
        }
    }
}

/// An operation on a place, and its operand.
type Operation = (usize, u64);

struct Program {
    places: Vec<Place>,
    /// What each thread does in each of its rounds.
    operations: [Vec<Operation>; 2],
    rounds: u32,
    /// How often each thread has its turn in a round.
    turns: u32,
    /// Pages by which each thread grows the memory at last, one by one.
    growth: [u32; 2],
}

impl Program {
    fn new(random: &mut Random) -> Program {
        let roles = [
            Role::Add,
            Role::Sub,
            Role::Xor,
            Role::Or,
            Role::And,
            Role::Ticket,
            Role::Count,
            Role::Exchange,
            Role::Store,
        ];
        let place = |random: &mut Random| {
            let role = random.choose(&roles);
            let width = match role {
                Role::Ticket | Role::Count => 3,
                _ => random.below(4) as u32,
            };
            Place { role, width }
        };
        let places: Vec<Place> = (0..1 + random.below(10)).map(|_| place(random)).collect();
        let operations = [(); 2].map(|()| {
            let count = 1 + random.below(12);
            let operation = |_| {
                let place = random.below(places.len() as u64) as usize;
                (place, random.number() & places[place].mask())
            };
            (0..count).map(operation).collect()
        });
        Program {
            places,
            operations,
            rounds: 1 + random.below(2000) as u32,
            turns: u32::from(random.below(3) == 0),
            growth: [(); 2].map(|()| random.below(9) as u32),
        }
    }

    fn text(&self) -> String {
        let mut text =
            format!("(module (import \"\" \"memory\" (memory {PAGES} {MAX_PAGES} shared))\n");
        for thread in 0..2 {
            let _ = writeln!(
                text,
                "(func (export \"run{thread}\") (param $rounds i32) (result i64 i32)
                   (local $sum i64) (local $old i64) (local $grown i32)
                   (loop $round"
            );
            for (place, operand) in &self.operations[thread] {
                self.operation(&mut text, *place, *operand);
            }
            for _ in 0..self.turns {
                turn(&mut text, thread);
            }
            text.push_str(
                "(br_if $round (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))\n",
            );
            for _ in 0..self.growth[thread] {
                text.push_str(
                    "(if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then
                       (local.set $grown (i32.add (local.get $grown) (i32.const 1)))))\n",
                );
            }
            text.push_str("(local.get $sum) (local.get $grown))\n");
        }
        text.push(')');
        text
    }

    fn operation(&self, text: &mut String, place: usize, operand: u64) {
        let Place { role, width } = self.places[place];
        let at = address(place);
        let (bits, unsigned) = match width {
            3 => (String::new(), ""),
            width => ((8 << width).to_string(), "_u"),
        };
        let rmw = |name: &str, operand: u64| {
            format!(
                "(i64.atomic.rmw{bits}.{name}{unsigned} (i32.const {at}) (i64.const {operand}))"
            )
        };
        let add = |value: String| format!("(local.set $sum (i64.add (local.get $sum) {value}))");
        let line = match role {
            Role::Add => format!("(drop {})", rmw("add", operand)),
            Role::Sub => format!("(drop {})", rmw("sub", operand)),
            Role::Xor => format!("(drop {})", rmw("xor", operand)),
            Role::Or => format!("(drop {})", rmw("or", operand)),
            Role::And => format!("(drop {})", rmw("and", operand)),
            Role::Ticket => add(rmw("add", 1)),
            Role::Exchange => add(rmw("xchg", operand)),
            Role::Store => {
                let bits = if width == 3 { "" } else { &bits };
                format!("(i64.atomic.store{bits} (i32.const {at}) (i64.const {operand}))")
            }
            Role::Count => format!(
                "(loop $again
                   (local.set $old (i64.atomic.load (i32.const {at})))
                   (br_if $again (i64.ne (local.get $old)
                     (i64.atomic.rmw.cmpxchg (i32.const {at}) (local.get $old)
                       (i64.add (local.get $old) (i64.const 1))))))"
            ),
        };
        let _ = writeln!(text, "{line}");
    }

    /// Operands of a place, by both threads, as often as they are used.
    fn operands(&self, place: usize) -> impl Iterator<Item = u64> {
        let all = self.operations.iter().flatten();
        all.filter(move |operation| operation.0 == place)
            .map(|operation| operation.1)
    }

    /// What is wrong with the places' contents, and with the sum of what was read.
    fn check(&self, found: &[u64], sum: u64) -> sarsen::Result<()> {
        let rounds = u64::from(self.rounds);
        let mut expected_sum = 0_u64;
        for (at, place) in self.places.iter().enumerate() {
            let (content, mask) = (found[at], place.mask());
            let operands = || self.operands(at);
            let total = operands()
                .fold(0_u64, u64::wrapping_add)
                .wrapping_mul(rounds);
            let times = operands().count() as u64 * rounds;
            let expected = match place.role {
                Role::Add => total & mask,
                Role::Sub => total.wrapping_neg() & mask,
                Role::Xor if rounds % 2 == 0 => 0,
                Role::Xor => operands().fold(0, |all, one| all ^ one),
                Role::Or => operands().fold(0, |all, one| all | one),
                Role::And => operands().fold(mask, |all, one| all & one),
                Role::Count => times,
                Role::Ticket => {
                    let read = times.wrapping_mul(times.wrapping_sub(1)) / 2;
                    expected_sum = expected_sum.wrapping_add(read);
                    times
                }
                Role::Exchange => {
                    expected_sum = expected_sum.wrapping_add(total.wrapping_sub(content));
                    content
                }
                Role::Store => {
                    let last = self.operations.iter().filter_map(|operations| {
                        let last = operations.iter().rfind(|operation| operation.0 == at);
                        last.map(|operation| operation.1)
                    });
                    let mut last: Vec<u64> = last.collect();
                    if last.is_empty() {
                        last.push(0);
                    }
                    ensure!(
                        last.contains(&content),
                        "place {at}: {content:#x} of {last:x?}"
                    );
                    content
                }
            };
            ensure!(
                content == expected,
                "place {at}: {content:#x}, not {expected:#x}"
            );
        }
        ensure!(sum == expected_sum, "read {sum:#x}, not {expected_sum:#x}");
        Ok(())
    }
}

/// Waits for the turn of a thread, adds to what is guarded by it, and gives it to the other thread.
fn turn(text: &mut String, thread: usize) {
    let other = 1 - thread;
    let _ = writeln!(
        text,
        "(loop $wait
           (if (i32.ne (i32.atomic.load (i32.const {TURN})) (i32.const {thread})) (then
             (if (i32.eq (i32.const 2) (memory.atomic.wait32 (i32.const {TURN}) (i32.const {other})
                   (i64.const {FORGOTTEN})))
               (then unreachable))
             (br $wait))))
         (i64.store (i32.const {GUARDED}) (i64.add (i64.load (i32.const {GUARDED})) (i64.const 3)))
         (i32.atomic.store (i32.const {TURN}) (i32.const {other}))
         (drop (memory.atomic.notify (i32.const {TURN}) (i32.const 1)))"
    );
}

/// Makes a program and runs it.
pub(super) fn run(engine: &Engine, random: &mut Random) -> sarsen::Result<()> {
    let program = Program::new(random);
    let module = Module::new(engine, program.text())?;
    let memory = SharedMemory::new(engine, MemoryType::shared(PAGES, MAX_PAGES))?;
    for (at, place) in program.places.iter().enumerate() {
        memory.write(address(at), &place.initial().to_le_bytes())?;
    }
    let results = thread::scope(|scope| {
        let threads = ["run0", "run1"].map(|name| {
            let (module, memory, rounds) = (&module, &memory, program.rounds);
            scope.spawn(move || -> sarsen::Result<(u64, u32)> {
                let mut store = Store::new(module.engine(), ());
                let instance = Instance::new(&mut store, module, &[memory.clone().into()])?;
                let run = instance.get_typed_func::<u32, (u64, u32)>(&mut store, name)?;
                run.call(&mut store, rounds)
            })
        });
        threads.map(|thread| thread.join().expect("it does not panic"))
    });
    let [(sum0, grown0), (sum1, grown1)] = match results {
        [Ok(first), Ok(second)] => [first, second],
        [Err(error), _] | [_, Err(error)] => return Err(error),
    };
    let read = |at: u64| {
        let mut bytes = [0; 8];
        memory.read(at, &mut bytes).expect("within its size");
        u64::from_le_bytes(bytes)
    };
    let found: Vec<u64> = (0..program.places.len())
        .map(|at| read(address(at)))
        .collect();
    program.check(&found, sum0.wrapping_add(sum1))?;
    let turns = 2 * u64::from(program.turns * program.rounds);
    let guarded = read(u64::from(GUARDED));
    ensure!(guarded == 3 * turns, "{guarded} by {turns} turns");
    let granted = program.growth.iter().sum::<u32>().min(MAX_PAGES - PAGES);
    ensure!(
        grown0 + grown1 == granted && memory.size() == u64::from(PAGES + granted),
        "{grown0} and {grown1} pages of {granted}, {} in the end",
        memory.size()
    );
    Ok(())
}
