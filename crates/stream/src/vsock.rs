//! Listening for the host on vsock.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread::{self, JoinHandle};

use crate::bridge::{End, bridge};
use crate::sys::{check, own};

const BACKLOG: libc::c_int = 8;
const STACK: usize = 128 * 1024;
/// How long to wait for descriptors or memory.
const SHORTAGE_MS: libc::c_int = 100;

/// Listens until it is dropped.
pub struct VsockListener {
    /// Wakes the thread, to end.
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl VsockListener {
    /// Calls `on_connection` from a thread of its own with a socket for each peer of `peers`, which are context ids: 2
    /// is the host, 1 this machine itself. Others are hung up on.
    ///
    /// # Errors
    /// The system's: no vsock in this kernel, or a port that somebody has.
    pub fn listen(
        port: u32,
        peers: Vec<u32>,
        on_connection: impl Fn(OwnedFd) + Send + 'static,
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
            .spawn(move || accept_all(&listener, &stopped, &peers, &on_connection))?;
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

fn accept_all(listener: &OwnedFd, stop: &OwnedFd, peers: &[u32], on_connection: &impl Fn(OwnedFd)) {
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
            Ok((connection, peer)) if peers.contains(&peer) => {
                if let Ok(socket) = bridge(connection, End::Close) {
                    on_connection(socket);
                }
            }
            Ok(_) => {}
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

/// A connection and the context id of who is there.
fn accept(listener: &OwnedFd) -> io::Result<(OwnedFd, u32)> {
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
    Ok((connection, peer.svm_cid))
}
