//! Tests of Sarsen as a whole: see the files in `tests`. Here is what several of them need.

mod random;

pub use random::Random;
