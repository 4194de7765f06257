//! The registry of WebAssembly types.
