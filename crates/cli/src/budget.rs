//! How much memory a program may take: all of its linear memories, tables and heap objects together.
//!
//! A limit on each memory alone would be none, because a module may have many.

use sarsen::{ResourceLimiter, Result};

/// What is left of the program's memory, in bytes.
#[derive(Debug)]
pub(crate) struct Budget {
    left: usize,
}

/// What an element of a table takes, in bytes, whatever its type.
const TABLE_ELEMENT_SIZE: usize = 8;

impl Budget {
    pub(crate) fn new(bytes: usize) -> Budget {
        Budget { left: bytes }
    }

    /// Takes the difference, if it is there, and if growth will not fail for another reason.
    fn take(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return false;
        }
        let left = self.left.checked_sub(desired.saturating_sub(current));
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

impl ResourceLimiter for Budget {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        Ok(self.take(current, desired, maximum))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let bytes = |elements: usize| elements.saturating_mul(TABLE_ELEMENT_SIZE);
        Ok(self.take(bytes(current), bytes(desired), maximum.map(bytes)))
    }

    fn heap_growing(&mut self, current: usize, desired: usize) -> Result<bool> {
        Ok(self.take(current, desired, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_comes_from_one_budget() {
        let mut budget = Budget::new(1000);
        assert!(budget.memory_growing(0, 600, None).unwrap());
        assert!(!budget.memory_growing(0, 600, None).unwrap());
        assert!(budget.table_growing(0, 25, None).unwrap());
        assert!(!budget.table_growing(25, 51, None).unwrap());
        assert!(budget.heap_growing(0, 200).unwrap());
        assert!(!budget.memory_growing(600, 601, None).unwrap());
    }

    #[test]
    fn what_a_type_forbids_costs_nothing() {
        let mut budget = Budget::new(1000);
        assert!(!budget.memory_growing(0, 600, Some(500)).unwrap());
        assert!(budget.memory_growing(0, 1000, None).unwrap());
    }
}
