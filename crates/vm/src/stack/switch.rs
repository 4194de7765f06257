//! The routines in assembly (`arch`), made of what this folder knows.

use super::stacks::trim_after_finish;
use crate::arch;

pub(crate) use arch::{native_call, resume_from_host, resume_stack, switch_stack};

arch::start_routine!(start => trim_after_finish);
