//! Streams to the host that Node cannot wait for by itself: ports of virtio-serial, and vsock. Each is joined to a
//! socket, which Node can wait for like any other, by a thread that copies both ways.
//!
//! A port without a host at the other end is not waited for as other descriptors are: the kernel says all the time that
//! it is readable and hung up. What it does tell is each change, so changes are what the thread waits for.

mod bridge;
mod sys;
mod vsock;

pub use bridge::open_port;
pub use vsock::VsockListener;
