//! An embedded XenStore server over unix sockets: what a newcomer, a test or a plugin author runs without Xen.
//!
//! It behaves as Debian's C xenstored does, as far as its clients can see: operations and their errors, permissions and
//! quotas of guests, transactions that conflict at their end, watches and the order of events. `tree` holds the nodes,
//! `session` carries operations out, and neither touches the world; `server` has the sockets.

mod server;
mod session;
mod tree;

pub use server::Server;
