//! Listening for the host on vsock.

use std::io;
use std::mem::{Discriminant, discriminant};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread::{self, JoinHandle};

use crate::bridge::{End, bridge};
use crate::sys::{check, own};

const BACKLOG: libc::c_int = 8;
const STACK: usize = 128 * 1024;
/// How long to wait for descriptors or memory.
const SHORTAGE_MS: libc::c_int = 100;

/// What Linux lets only privileged programs connect from.
pub const LAST_PRIVILEGED_PORT: u32 = 1023;

/// Who is let in.
pub struct Admitted {
    /// Context ids: 2 is the host, 1 this machine itself. Each stands for a machine with all its users.
    pub peers: Vec<u32>,
    /// The highest port that a peer may come from. The kernel of a Linux host gives those up to
    /// [`LAST_PRIVILEGED_PORT`] to privileged programs only.
    pub last_port: u32,
}

/// Why somebody was hung up on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Of another machine: its context id.
    Peer(u32),
    /// From a port that any user there may have.
    Port(u32),
}

impl Admitted {
    fn refusal(&self, peer: &libc::sockaddr_vm) -> Option<Refusal> {
        if !self.peers.contains(&peer.svm_cid) {
            return Some(Refusal::Peer(peer.svm_cid));
        }
        (peer.svm_port > self.last_port).then_some(Refusal::Port(peer.svm_port))
    }
}

/// Listens until it is dropped.
pub struct VsockListener {
    /// Wakes the thread, to end.
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl VsockListener {
    /// Calls `on_connection` from a thread of its own with a socket for each peer that is admitted. Others are hung up
    /// on; `on_refusal` is called for the first of each kind, so that nobody can make it tell without an end.
    ///
    /// # Errors
    /// The system's: no vsock in this kernel, or a port that somebody has.
    pub fn listen(
        port: u32,
        admitted: Admitted,
        on_connection: impl Fn(OwnedFd) + Send + 'static,
        on_refusal: impl Fn(Refusal) + Send + 'static,
    ) -> io::Result<Self> {
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: takes no pointers; the result is checked.
        let listener = own(unsafe { libc::socket(libc::AF_VSOCK, kind, 0) })?;
        let address = address_of(port);
        // SAFETY: pointer and length are those of one live address.
        check(unsafe {
            libc::bind(
                listener.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_vm>() as libc::socklen_t,
            )
        })?;
        // SAFETY: takes no pointers.
        check(unsafe { libc::listen(listener.as_raw_fd(), BACKLOG) })?;
        // SAFETY: takes no pointers; the result is checked.
        let stop = own(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        let stopped = stop.try_clone()?;
        let thread = thread::Builder::new()
            .name("vsock".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                accept_all(&listener, &stopped, &admitted, &on_connection, &on_refusal);
            })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for VsockListener {
    fn drop(&mut self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: eight bytes are what an eventfd takes.
        unsafe { libc::write(self.stop.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            // It panicked; the panic hook has printed it, and there is nothing left to stop.
        }
    }
}

fn address_of(port: u32) -> libc::sockaddr_vm {
    // SAFETY: all fields are integers or arrays of them.
    let mut address: libc::sockaddr_vm = unsafe { std::mem::zeroed() };
    address.svm_family = libc::AF_VSOCK as libc::sa_family_t;
    address.svm_cid = libc::VMADDR_CID_ANY;
    address.svm_port = port;
    address
}

fn accept_all(
    listener: &OwnedFd,
    stop: &OwnedFd,
    admitted: &Admitted,
    on_connection: &impl Fn(OwnedFd),
    on_refusal: &impl Fn(Refusal),
) {
    let mut told: Vec<Discriminant<Refusal>> = Vec::new();
    loop {
        let entry = |descriptor: &OwnedFd| libc::pollfd {
            fd: descriptor.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let mut entries = [entry(listener), entry(stop)];
        // SAFETY: pointer and count are those of one live array.
        let waited = check(unsafe { libc::poll(entries.as_mut_ptr(), 2, -1) });
        let [_, stopped] = &entries;
        match waited {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
            Ok(_) if stopped.revents != 0 => return,
            Ok(_) => {}
        }
        match accept(listener) {
            Ok((connection, peer)) => match admitted.refusal(&peer) {
                None => {
                    if let Ok(socket) = bridge(connection, End::Close) {
                        on_connection(socket);
                    }
                }
                Some(refusal) => {
                    drop(connection);
                    let kind = discriminant(&refusal);
                    if !told.contains(&kind) {
                        told.push(kind);
                        on_refusal(refusal);
                    }
                }
            },
            Err(error) if is_passing(&error) => {}
            Err(error) if is_shortage(&error) => {
                // SAFETY: pointer and count are those of one live entry.
                unsafe { libc::poll(&mut entry(stop), 1, SHORTAGE_MS) };
            }
            Err(_) => return,
        }
    }
}

/// Whether the system has nothing to take a connection with for now. The connection waits.
fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
    )
}

/// Whether the next connection may fare better.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// A connection and who is there.
fn accept(listener: &OwnedFd) -> io::Result<(OwnedFd, libc::sockaddr_vm)> {
    let mut peer = address_of(0);
    let mut length = size_of::<libc::sockaddr_vm>() as libc::socklen_t;
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: place and length are those of one live address.
    let connection = own(unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            (&raw mut peer).cast(),
            &mut length,
            flags,
        )
    })?;
    Ok((connection, peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_let_in_from_privileged_ports_alone_and_others_from_none() {
        let from = |cid, port| {
            let mut peer = address_of(port);
            peer.svm_cid = cid;
            peer
        };
        let careful = Admitted {
            peers: vec![2],
            last_port: LAST_PRIVILEGED_PORT,
        };
        assert_eq!(careful.refusal(&from(2, 1)), None);
        assert_eq!(careful.refusal(&from(2, 1023)), None);
        assert_eq!(careful.refusal(&from(2, 1024)), Some(Refusal::Port(1024)));
        assert_eq!(careful.refusal(&from(1, 1023)), Some(Refusal::Peer(1)));
        let open = Admitted {
            peers: vec![2],
            last_port: u32::MAX,
        };
        assert_eq!(open.refusal(&from(2, 1 << 30)), None);
        assert_eq!(open.refusal(&from(3, 1)), Some(Refusal::Peer(3)));
    }
}
