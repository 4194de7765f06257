//! Linear memories, tables and recycled blocks.
