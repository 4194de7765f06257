//! Every order in which threads can register and drop equal types.
//!
//! Registering is one step, because it is done under the lock; dropping is several: letting go of each
//! group, then removing those that nobody held any more, under the lock. Whatever happens in between,
//! a type that somebody holds is found, and what nobody holds is gone in the end.

use super::*;

/// One step of a round of a thread's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Register,
    LetGo(usize),
    Remove,
}

const ROUND: [Step; 4] = [Step::Register, Step::LetGo(0), Step::LetGo(1), Step::Remove];

/// A thread between two steps.
#[derive(Default)]
struct Thread {
    done: usize,
    held: Vec<Arc<Group>>,
    dead: Vec<Arc<Group>>,
}

impl Thread {
    fn step(&mut self, registry: &Registry) {
        match ROUND[self.done % ROUND.len()] {
            Step::Register => {
                let mut state = registry.lock();
                let first = registry.intern(&mut state, canonical(None)).unwrap();
                let second = registry.intern(&mut state, canonical(Some(first.ids[0])));
                self.held = vec![first, second.unwrap()];
            }
            // Not in the order in which they were registered.
            Step::LetGo(_) => {
                let group = self.held.remove(0);
                if group.let_go() {
                    self.dead.push(group);
                }
            }
            Step::Remove => {
                let dead = std::mem::take(&mut self.dead);
                registry.remove_unheld(dead);
            }
        }
        self.done += 1;
    }
}

/// A group of one function type, whose parameter refers to `named`.
fn canonical(named: Option<TypeId>) -> CanonicalGroup {
    let parameter = |id| reference_to(id).map(CanonicalRef::Outside);
    CanonicalGroup {
        types: Box::new([SubType {
            is_final: true,
            supertype: None,
            composite: CompositeType::Func(FuncType {
                params: named.map(parameter).into_iter().collect(),
                results: Box::default(),
            }),
        }]),
    }
}

fn check(registry: &Registry, threads: &[Thread], order: &[usize]) {
    let held = threads.iter().flat_map(|thread| &thread.held);
    let state = registry.lock();
    for group in held {
        let (found, _) = registry
            .group_locked(&state, group.ids[0])
            .unwrap_or_else(|| panic!("a held type has no row: {order:?}"));
        assert!(Arc::ptr_eq(&found, group), "an id of two types: {order:?}");
        assert!(!group.removed.load(Ordering::Relaxed), "{order:?}");
        let equal = state
            .groups
            .iter()
            .filter(|r| r.group.canonical == group.canonical);
        assert_eq!(equal.count(), 1, "an equal type: {order:?}");
    }
}

/// Runs one order of steps: at each place, the number of the thread that goes on.
fn run(registry: &Registry, threads: usize, order: &[usize]) {
    let mut threads: Vec<Thread> = (0..threads).map(|_| Thread::default()).collect();
    for (done, &thread) in order.iter().enumerate() {
        threads[thread].step(registry);
        check(registry, &threads, &order[..=done]);
    }
    let state = registry.lock();
    assert!(state.groups.is_empty() && state.types == 0, "{order:?}");
    let mut free = state.free.clone();
    free.sort_unstable();
    free.dedup();
    let given = (state.next.0 - FIRST_TYPE.0) / ROW_SIZE;
    assert_eq!(free.len() as u32, given, "each id is free once: {order:?}");
    assert_eq!(
        state.free.len() as u32,
        given,
        "each id is free once: {order:?}"
    );
}

/// Runs every order of `threads` threads of `rounds` rounds each; returns how many there are.
fn run_all(threads: usize, rounds: usize) -> usize {
    fn extend(registry: &Registry, left: &mut [usize], order: &mut Vec<usize>) -> usize {
        if left.iter().all(|&left| left == 0) {
            run(registry, left.len(), order);
            return 1;
        }
        let mut count = 0;
        for thread in 0..left.len() {
            if left[thread] > 0 {
                left[thread] -= 1;
                order.push(thread);
                count += extend(registry, left, order);
                order.pop();
                left[thread] += 1;
            }
        }
        count
    }
    let registry = Registry::new().unwrap();
    let mut left = vec![rounds * ROUND.len(); threads];
    extend(&registry, &mut left, &mut Vec::new())
}

#[test]
fn two_threads_that_register_and_drop_twice_agree_in_every_order() {
    assert_eq!(run_all(2, 2), 12_870);
}

#[test]
fn three_threads_that_register_and_drop_agree_in_every_order() {
    assert_eq!(run_all(3, 1), 34_650);
}
