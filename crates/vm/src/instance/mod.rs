//! Stores and instances.
