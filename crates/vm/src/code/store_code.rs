//! What one store executes.

use super::engine_code::EngineCode;
use super::pc::{EnginePc, StorePc};
use std::sync::Arc;

/// What one store executes of an [`EngineCode`]: the same mapping.
#[derive(Clone, Debug)]
pub struct StoreCode {
    code: Arc<EngineCode>,
}

impl StoreCode {
    /// The engine's own mapping.
    pub fn new(code: Arc<EngineCode>) -> StoreCode {
        StoreCode { code }
    }

    /// The code.
    pub fn engine_code(&self) -> &Arc<EngineCode> {
        &self.code
    }

    /// The same place in the engine's mapping.
    pub fn engine_pc(&self, pc: StorePc) -> EnginePc {
        EnginePc(pc.0)
    }

    /// The same place in the store's mapping.
    pub fn store_pc(&self, pc: EnginePc) -> StorePc {
        StorePc(pc.0)
    }
}
