//! Images in memory, and which code a program counter belongs to.

mod engine_code;
mod pc;
mod store_code;

pub use engine_code::{EngineCode, Expected, LoadError};
pub use pc::{CodeAt, EnginePc, StorePc, lookup};
pub use store_code::StoreCode;
