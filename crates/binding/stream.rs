//! Streams to the host, as descriptors of sockets that Node can wait for.

use std::cell::RefCell;
use std::os::fd::IntoRawFd;
use std::path::Path;

use napi::bindgen_prelude::Function;
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use crate::error::{CodedError, ErrorCode};

/// Opens a character device to the host; gives the descriptor of a socket, which the caller owns. While no host has the
/// other end, what is written is thrown away; when one leaves, the byte 0xff is read.
#[napi(catch_unwind)]
pub fn open_port(path: String) -> Result<i32, CodedError> {
    stream::open_port(Path::new(&path))
        .map(IntoRawFd::into_raw_fd)
        .map_err(|error| failed(&format!("opening {path}"), &error))
}

/// Listens on vsock until it is closed.
#[napi]
pub struct VsockListener {
    listener: RefCell<Option<stream::VsockListener>>,
}

#[napi]
impl VsockListener {
    /// Calls `onConnection` with the descriptor of a socket, which the callee owns, for each connection from one of
    /// `peers`. Those are context ids: 2 is the host, 1 this machine itself.
    #[napi(factory, catch_unwind)]
    pub fn listen(
        port: u32,
        peers: Vec<u32>,
        #[napi(ts_arg_type = "(descriptor: number) => void")] on_connection: Function<'_, i32, ()>,
    ) -> Result<Self, CodedError> {
        let call = on_connection
            .build_threadsafe_function()
            .build()
            .map_err(|error| CodedError::new(ErrorCode::StreamFailed, error.reason.clone()))?;
        let listener = stream::VsockListener::listen(port, peers, move |socket| {
            call.call(
                socket.into_raw_fd(),
                ThreadsafeFunctionCallMode::NonBlocking,
            );
        })
        .map_err(|error| failed(&format!("listening at port {port} of vsock"), &error))?;
        Ok(Self {
            listener: RefCell::new(Some(listener)),
        })
    }

    /// Takes no more connections; those that there are stay. Closing twice is quiet.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        let listener = self.listener.borrow_mut().take();
        drop(listener);
    }
}

fn failed(doing: &str, error: &std::io::Error) -> CodedError {
    CodedError::new(ErrorCode::StreamFailed, format!("{doing}: {error}"))
}
