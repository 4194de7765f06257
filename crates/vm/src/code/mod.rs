//! Images in memory, and which code a program counter belongs to.
