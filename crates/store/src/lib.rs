//! An embedded XenStore server over unix sockets: what a newcomer, a test or a plugin author runs without Xen.
//!
//! Modelled on Debian's C xenstored, as far as clients can see it: operations and their errors, permissions and quotas of
//! guests, transactions that conflict at their end, watches and the order of events. Where the two differ, the real one
//! is right. `tree` holds the nodes,
//! `session` carries operations out, and neither touches the world; `server` has the sockets, which are Linux's.

#[cfg(target_os = "linux")]
mod server;
#[cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "nobody serves it there yet")
)]
mod session;
mod tree;

#[cfg(target_os = "linux")]
pub use server::Server;
