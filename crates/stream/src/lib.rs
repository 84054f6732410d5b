//! Streams to the host that Node cannot open, or wait for, by itself: ports of virtio-serial and serial lines, vsock, and
//! unix sockets that nobody but their owner can ever connect to. Ports and vsock are joined to a socket, which Node can
//! wait for like any other, by a thread that copies both ways.
//!
//! A port without a host at the other end is not waited for as other descriptors are: the kernel says all the time that
//! it is readable and hung up. What it does tell is each change, so changes are what the thread waits for.
//!
//! That is how Linux does it; elsewhere the crate is empty.

#![cfg(target_os = "linux")]

mod bridge;
mod device;
mod sys;
#[cfg(test)]
mod testing;
mod unix;
mod vsock;
mod way;

pub use device::open_port;
pub use unix::{SocketName, listen};
pub use vsock::{Admitted, LAST_PRIVILEGED_PORT, Refusal, VsockListener};
