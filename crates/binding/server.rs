//! The embedded store for JavaScript.

use std::cell::RefCell;
use std::path::Path;

use napi_derive::napi;
use store::Server;

use crate::error::{CodedError, ErrorCode};

/// The embedded XenStore server, on a thread of its own.
#[napi]
pub struct StoreServer {
    server: RefCell<Option<Server>>,
}

#[napi]
impl StoreServer {
    /// Listens at `socket`; one of ours that nobody serves any more is replaced, and nothing else is. Whoever connects
    /// there acts as dom0.
    #[napi(factory, catch_unwind)]
    pub fn listen(socket: String) -> Result<Self, CodedError> {
        let server = Server::listen(Path::new(&socket))
            .map_err(|error| failed("listening at", &socket, &error))?;
        Ok(Self {
            server: RefCell::new(Some(server)),
        })
    }

    /// Makes `/local/domain/<domid>` as a toolstack does; whoever connects to `socket` acts as that guest.
    #[napi(catch_unwind)]
    pub fn add_domain(&self, domid: u32, socket: String) -> Result<(), CodedError> {
        match self.server.borrow().as_ref() {
            Some(server) => server
                .add_domain(domid, Path::new(&socket))
                .map_err(|error| failed("adding a domain at", &socket, &error)),
            None => Err(CodedError::new(
                ErrorCode::Closed,
                "the embedded store is closed".to_owned(),
            )),
        }
    }

    /// Stops serving and removes the sockets. Closing twice is quiet.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        let server = self.server.borrow_mut().take();
        drop(server);
    }
}

fn failed(doing: &str, socket: &str, error: &std::io::Error) -> CodedError {
    CodedError::new(ErrorCode::Io, format!("{doing} {socket}: {error}"))
}
