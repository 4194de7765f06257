//! Entering, walking and leaving compiled code.
