//! Streams to the host, as descriptors of sockets that Node can wait for.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use napi::bindgen_prelude::Function;
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;
use stream::{Refusal, SocketName};

use crate::error::{CodedError, ErrorCode};

/// Opens a character device to the host; gives the descriptor of a socket, which the caller owns. While no host has the
/// other end, what is written is thrown away; when one leaves, the byte 0xff is read.
#[napi(catch_unwind)]
pub fn open_port(path: String) -> Result<i32, CodedError> {
    stream::open_port(Path::new(&path))
        .map(IntoRawFd::into_raw_fd)
        .map_err(|error| failed(&format!("opening {path}"), &error))
}

/// Whom vsock lets in.
#[napi(object)]
pub struct VsockAdmitted {
    /// Context ids: 2 is the host, 1 this machine itself.
    pub peers: Vec<u32>,
    /// Whether a peer may come from any port, and not only from one that a Linux host gives to privileged programs.
    pub any_port: bool,
}

/// Connections that JavaScript has not taken yet.
type Waiting = Arc<Mutex<VecDeque<OwnedFd>>>;

/// Listens on vsock until it is closed.
#[napi]
pub struct VsockListener {
    listener: RefCell<Option<stream::VsockListener>>,
    waiting: Waiting,
}

#[napi]
impl VsockListener {
    /// Calls `onConnection` for each connection of whom is admitted, which `take` then gives. Others are hung up on;
    /// `onRefusal` is called with the reason for the first of each kind.
    #[napi(factory, catch_unwind)]
    pub fn listen(
        port: u32,
        admitted: VsockAdmitted,
        #[napi(ts_arg_type = "() => void")] on_connection: Function<'_, (), ()>,
        #[napi(ts_arg_type = "(reason: string) => void")] on_refusal: Function<'_, String, ()>,
    ) -> Result<Self, CodedError> {
        let unusable =
            |error: napi::Error| CodedError::new(ErrorCode::StreamFailed, error.reason.clone());
        let tell = on_connection
            .build_threadsafe_function::<()>()
            .build()
            .map_err(unusable)?;
        let refuse = on_refusal
            .build_threadsafe_function::<String>()
            .build()
            .map_err(unusable)?;
        let admitted = stream::Admitted {
            peers: admitted.peers,
            last_port: if admitted.any_port {
                u32::MAX
            } else {
                stream::LAST_PRIVILEGED_PORT
            },
        };
        let waiting = Waiting::default();
        let arrived = Arc::clone(&waiting);
        let listener = stream::VsockListener::listen(
            port,
            admitted,
            move |socket| {
                // Not handed over with the call: an environment that is going makes none, and the descriptor would stay
                // open for ever.
                lock(&arrived).push_back(socket);
                tell.call((), ThreadsafeFunctionCallMode::NonBlocking);
            },
            move |refusal| {
                let reason = match refusal {
                    Refusal::Peer(id) => format!("context id {id} is not the host's"),
                    Refusal::Port(port) => {
                        format!("any user of the host may come from port {port}")
                    }
                };
                refuse.call(reason, ThreadsafeFunctionCallMode::NonBlocking);
            },
        )
        .map_err(|error| failed(&format!("listening at port {port} of vsock"), &error))?;
        Ok(Self {
            listener: RefCell::new(Some(listener)),
            waiting,
        })
    }

    /// The descriptor of the next connection's socket, which the caller owns; null when there is none.
    #[napi(catch_unwind)]
    pub fn take(&self) -> Option<i32> {
        lock(&self.waiting).pop_front().map(IntoRawFd::into_raw_fd)
    }

    /// Takes no more connections; those that there are stay. Closing twice is quiet.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        let listener = self.listener.borrow_mut().take();
        drop(listener);
    }
}

/// A panic elsewhere leaves the list as it was.
fn lock(waiting: &Waiting) -> MutexGuard<'_, VecDeque<OwnedFd>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A unix socket that nobody but its owner can ever connect to.
#[napi]
pub struct PrivateSocket {
    name: RefCell<Option<SocketName>>,
    listener: RefCell<Option<UnixListener>>,
}

#[napi]
impl PrivateSocket {
    /// Listens at `path`; a socket of ours that nobody listens at is replaced, and nothing else is.
    #[napi(factory, catch_unwind)]
    pub fn listen(path: String) -> Result<Self, CodedError> {
        let (listener, name) = stream::listen(Path::new(&path))
            .map_err(|error| failed(&format!("listening at {path}"), &error))?;
        Ok(Self {
            name: RefCell::new(Some(name)),
            listener: RefCell::new(Some(listener)),
        })
    }

    /// The descriptor, which the caller owns from now on; null the second time.
    #[napi(catch_unwind)]
    pub fn take_descriptor(&self) -> Option<i32> {
        self.listener
            .borrow_mut()
            .take()
            .map(IntoRawFd::into_raw_fd)
    }

    /// Removes the socket, unless something else stands in its place by now. Removing twice is quiet.
    #[napi(catch_unwind)]
    pub fn remove(&self) {
        if let Some(name) = self.name.borrow_mut().take() {
            name.remove();
        }
    }
}

fn failed(doing: &str, error: &std::io::Error) -> CodedError {
    CodedError::new(ErrorCode::StreamFailed, format!("{doing}: {error}"))
}
