//! How much memory a program may take: all of its linear memories, tables and heap objects together.
//!
//! A limit on each memory alone would be none, because a module may have many.

use sarsen::{Error, ResourceLimiter, Result, bail};

/// What is left of the program's memory, in bytes.
#[derive(Debug)]
pub(crate) struct Budget {
    left: usize,
    /// Whether it is an error, and not an answer, that there is not enough.
    insist: bool,
}

/// What an element of a table takes, in bytes, whatever its type.
const TABLE_ELEMENT_SIZE: usize = 8;

impl Budget {
    pub(crate) fn new(bytes: usize, insist: bool) -> Budget {
        Budget {
            left: bytes,
            insist,
        }
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

    /// The answer of somebody who insists.
    fn answer(&self, what: &str, taken: bool, desired: usize) -> Result<bool> {
        if self.insist && !taken {
            bail!("{what} may not grow to {desired} bytes (--trap-on-grow-failure)");
        }
        Ok(taken)
    }

    fn failed(&self, what: &str, error: Error) -> Result<()> {
        match self.insist {
            true => Err(error.context(format!("{what} could not grow (--trap-on-grow-failure)"))),
            false => Ok(()),
        }
    }
}

impl ResourceLimiter for Budget {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let taken = self.take(current, desired, maximum);
        self.answer("a memory", taken, desired)
    }

    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        self.failed("a memory", error)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let bytes = |elements: usize| elements.saturating_mul(TABLE_ELEMENT_SIZE);
        let taken = self.take(bytes(current), bytes(desired), maximum.map(bytes));
        self.answer("a table", taken, bytes(desired))
    }

    fn table_grow_failed(&mut self, error: Error) -> Result<()> {
        self.failed("a table", error)
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
        let mut budget = Budget::new(1000, false);
        assert!(budget.memory_growing(0, 600, None).unwrap());
        assert!(!budget.memory_growing(0, 600, None).unwrap());
        assert!(budget.table_growing(0, 25, None).unwrap());
        assert!(!budget.table_growing(25, 51, None).unwrap());
        assert!(budget.heap_growing(0, 200).unwrap());
        assert!(!budget.memory_growing(600, 601, None).unwrap());
    }

    #[test]
    fn what_a_type_forbids_costs_nothing() {
        let mut budget = Budget::new(1000, false);
        assert!(!budget.memory_growing(0, 600, Some(500)).unwrap());
        assert!(budget.memory_growing(0, 1000, None).unwrap());
    }

    #[test]
    fn who_insists_gets_errors() {
        let mut budget = Budget::new(1000, true);
        assert!(budget.memory_growing(0, 600, None).unwrap());
        let error = budget.memory_growing(0, 600, None).unwrap_err();
        assert!(error.to_string().contains("600 bytes"), "{error}");
        budget.table_growing(0, 100, None).unwrap_err();
        budget.table_growing(0, 10, Some(9)).unwrap_err();
        // The collector tries other ways first.
        assert!(!budget.heap_growing(0, 600).unwrap());
    }
}
