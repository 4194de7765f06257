//! Sockets. WASI preview 1 cannot create them, and this crate preopens none: every descriptor is
//! something else, which these functions say.

use crate::abi::Fd;
use crate::context::WasiCtx;
use crate::errno::{Errno, Outcome};

/// `sock_accept`, `sock_recv`, `sock_send` and `sock_shutdown` on an open or unknown descriptor.
pub(crate) fn not_a_socket(ctx: &mut WasiCtx, fd: Fd) -> Outcome {
    ctx.table.get(fd)?;
    Err(Errno::Notsock.into())
}
