//! How much fits.

use super::*;

#[test]
fn a_heap_is_usable_up_to_its_limit_less_fifteen_percent() {
    for mib in [1usize, 4, 16, 64, 256] {
        if mib > 16 && cfg!(debug_assertions) {
            continue;
        }
        let limit = mib << 20;
        let mut stage = Stage::new(
            &GcConfig {
                nursery_initial: 1 << 20,
                ..config()
            },
            1,
            limit,
        );
        let wanted = limit / 100 * 85;
        let mut live = 0;
        while live + 24 <= wanted {
            let next = stage.outside.slots[0];
            let node = stage.structure(NODE, &[1, next, 0]);
            stage.outside.slots[0] = node.unwrap_or_else(|e| panic!("{e} at {live} of {limit}"));
            live += 24;
            // As much garbage again.
            stage.structure(NODE, &[2, 0, 0]).unwrap();
        }
        // And it ends: with an error, after which the heap can be used on.
        let full = (0..limit / 8).find_map(|_| {
            let next = stage.outside.slots[0];
            match stage.structure(NODE, &[1, next, 0]) {
                Ok(node) => {
                    stage.outside.slots[0] = node;
                    None
                }
                Err(error) => Some(error),
            }
        });
        assert!(matches!(full, Some(HeapError::Full)));
        assert!(matches!(
            stage.array(BYTES, limit as u32),
            Err(HeapError::Full)
        ));
        stage.outside.slots[0] = 0;
        stage.collect(true);
        let half = stage.array(BYTES, limit as u32 / 2).unwrap();
        stage.outside.slots[0] = half;
        stage.node(1, 0, 0);
        stage.verify();
    }
}

#[test]
fn what_is_too_large_for_any_heap_is_refused_before_anything_is_asked() {
    let mut stage = Stage::new(&config(), 1, 0);
    assert!(matches!(
        stage.array(ARRAY, u32::MAX),
        Err(HeapError::TooLarge)
    ));
    assert!(matches!(stage.array(BYTES, 1 << 20), Err(HeapError::Full)));
    assert!(matches!(
        stage.structure(NODE, &[1, 0, 0]),
        Err(HeapError::Full)
    ));
}

#[test]
fn without_a_collector_objects_stay_and_the_limit_holds() {
    let config = GcConfig {
        collector: CollectorKind::Null,
        ..config()
    };
    let mut stage = Stage::new(&config, 1, 1 << 20);
    let mut count = 0;
    while stage.structure(NODE, &[count, 0, 0]).is_ok() {
        count += 1;
    }
    assert!(count as usize * 24 > (1 << 20) - (64 << 10), "{count}");
    assert_eq!(stage.heap.stats().bytes_allocated, u64::from(count) * 24);
}

/// Fails when it is asked for the first time, agrees to what is wanted then, and to nothing after that.
struct Grudging {
    asked: u32,
}

impl World for Grudging {
    fn roots(&mut self, _: &mut Roots) {}

    fn may_grow(&mut self, _: usize, _: usize) -> Result<bool, HostError> {
        self.asked += 1;
        match self.asked {
            1 => Err(Box::new("not today")),
            asked => Ok(asked == 2),
        }
    }
}

#[test]
fn an_error_of_the_limiter_is_forgotten_once_it_has_agreed() {
    let config = GcConfig {
        collector: CollectorKind::Null,
        ..config()
    };
    let mut stage = Stage::new(&config, 1, 0);
    let ty = stage.ty(BYTES);
    let mut world = Grudging { asked: 0 };
    // More than was needed was refused.
    stage.heap.allocate_object(ty, 8, &mut world).unwrap();
    let full = stage.heap.allocate_object(ty, 1 << 20, &mut world);
    assert!(matches!(full, Err(HeapError::Full)));
    assert_eq!(world.asked, 4);
}
