use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use crate::endpoint::{Endpoint, Kind};
use crate::error::{Result, XenStoreError};
use crate::operation::Operation;
use crate::session::{Event, Session};
use crate::wire::{Decoder, HEADER};

/// How long a read that waits does so at most, in milliseconds.
const PATIENCE: i32 = 4;

/// The writing half of a descriptor, for whoever has to write where waiting does no harm.
#[derive(Clone, Debug)]
pub struct Writer {
    descriptor: Arc<OwnedFd>,
    kind: Kind,
}

impl Writer {
    /// Writes one message, whole, in one call: the kernel's device throws away what follows the first message of a
    /// write. Returns how much was taken, which is less than all only on a socket.
    ///
    /// # Errors
    /// The system's error. On the device it is the store's answer to a WATCH or UNWATCH.
    pub fn write(&self, message: &[u8]) -> io::Result<usize> {
        let fd = self.descriptor.as_raw_fd();
        loop {
            // SAFETY: the pointer and the length are those of one live slice, and the descriptor is open.
            let written = unsafe {
                match self.kind {
                    Kind::Device => libc::write(fd, message.as_ptr().cast(), message.len()),
                    Kind::Socket => libc::send(
                        fd,
                        message.as_ptr().cast(),
                        message.len(),
                        libc::MSG_NOSIGNAL,
                    ),
                }
            };
            match usize::try_from(written) {
                Ok(written) => return Ok(written),
                Err(_) => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => {}
                    error => return Err(error),
                },
            }
        }
    }

    /// Tells the store at once: who owns the descriptor last may be collected as garbage much later.
    fn hang_up(&self) {
        if self.kind == Kind::Socket {
            // SAFETY: the descriptor is open. One that the store has left already is no error that matters.
            unsafe { libc::shutdown(self.descriptor.as_raw_fd(), libc::SHUT_RDWR) };
        }
    }
}

/// One descriptor and what is under way on it. Never waits, except in [`Connection::await_readable`], and inside a write
/// of WATCH or UNWATCH on the kernel's device; [`Connection::book`] lets that be done elsewhere.
///
/// Use one connection for watches alone and another for the rest: on the device, a WATCH that is written while an
/// earlier request on the same descriptor is unanswered hangs the kernel's XenStore for good.
#[derive(Debug)]
pub struct Connection<P> {
    writer: Writer,
    session: Session<P>,
    decoder: Decoder,
    scratch: Vec<u8>,
    /// Whole messages, or the rest of one, that could not be written yet.
    outgoing: VecDeque<Vec<u8>>,
    lost: Option<String>,
}

impl<P> Connection<P> {
    /// Opens a descriptor of its own.
    ///
    /// # Errors
    /// [`XenStoreError::Io`] when there is nobody at the endpoint.
    pub fn open(endpoint: &Endpoint) -> Result<Self> {
        let at = endpoint.path().display();
        let descriptor = match endpoint {
            Endpoint::Device(path) => OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
                .open(path)
                .map(OwnedFd::from)
                .map_err(|error| XenStoreError::io(format!("opening {at}"), error))?,
            Endpoint::Socket(path) => UnixStream::connect(path)
                .and_then(|stream| {
                    check_server(&stream)?;
                    stream.set_nonblocking(true)?;
                    Ok(OwnedFd::from(stream))
                })
                .map_err(|error| XenStoreError::io(format!("connecting to {at}"), error))?,
        };
        Ok(Self::over(descriptor, endpoint.kind()))
    }

    /// Takes over an open, non-blocking descriptor.
    #[must_use]
    pub fn over(descriptor: OwnedFd, kind: Kind) -> Self {
        Self {
            writer: Writer {
                descriptor: Arc::new(descriptor),
                kind,
            },
            session: Session::default(),
            decoder: Decoder::new(kind.reply_limit()),
            scratch: Vec::new(),
            outgoing: VecDeque::new(),
            lost: None,
        }
    }

    /// The descriptor, to wait on: always for reading, and for writing while [`Connection::wants_write`].
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.writer.descriptor.as_raw_fd()
    }

    /// Its writing half.
    #[must_use]
    pub fn writer(&self) -> Writer {
        self.writer.clone()
    }

    /// Who waits for what on it.
    #[must_use]
    pub fn session(&self) -> &Session<P> {
        &self.session
    }

    /// Books a watch; its number goes into [`Operation::Watch`].
    pub fn add_watch(&mut self) -> u32 {
        self.session.add_watch()
    }

    /// Forgets a watch: what still comes for it is dropped.
    pub fn remove_watch(&mut self, watch: u32) {
        self.session.remove_watch(watch);
    }

    /// Whether something waits until a socket can be written to. Never on the device, which never says that it can.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.writer.kind == Kind::Socket && !self.outgoing.is_empty()
    }

    /// Sends a request, or queues it when no more can be under way. Returns its number.
    ///
    /// # Errors
    /// When it was not sent: a bad path, too large, refused by the device, or [`XenStoreError::Closed`] when the
    /// connection turned out to be lost.
    pub fn send(
        &mut self,
        operation: &Operation<'_>,
        transaction: u32,
        path: &str,
        owner: P,
    ) -> Result<u32> {
        let mut message = std::mem::take(&mut self.scratch);
        message.clear();
        let sent = self
            .encode(&mut message, operation, transaction, path, owner)
            .and_then(|request| {
                // What is queued is booked already, and goes first.
                if !self.outgoing.is_empty()
                    || self.session.outstanding() > self.writer.kind.outstanding_limit()
                {
                    self.outgoing.push_back(message.clone());
                    return Ok(request);
                }
                match self.write(&message) {
                    Ok(()) => Ok(request),
                    Err(error) => {
                        self.session.cancel(request);
                        Err(self.write_failed(path, error))
                    }
                }
            });
        self.scratch = message;
        sent
    }

    /// Gives a request that is under way another owner. One that is not has none.
    pub fn hand_over(&mut self, request: u32, owner: P) {
        self.session.hand_over(request, owner);
    }

    /// Books a request without writing it. Returns its number and its message, for [`Writer::write`]; whoever fails
    /// to write it has to call [`Connection::refuse`].
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub fn book(
        &mut self,
        operation: &Operation<'_>,
        path: &str,
        owner: P,
    ) -> Result<(u32, Vec<u8>)> {
        let mut message = Vec::new();
        let request = self.encode(&mut message, operation, 0, path, owner)?;
        Ok((request, message))
    }

    /// Takes back a booked request that could not be written. Returns its owner, unless it was answered, and why.
    pub fn refuse(
        &mut self,
        request: u32,
        path: &str,
        error: io::Error,
    ) -> (Option<P>, XenStoreError) {
        let owner = self.session.cancel(request);
        (owner, self.write_failed(path, error))
    }

    /// Reads what is there and appends it to `events`; then writes what may go out after it.
    ///
    /// # Errors
    /// [`XenStoreError::Closed`], [`XenStoreError::Protocol`] or [`XenStoreError::Io`]: the connection is lost.
    pub fn on_readable(&mut self, events: &mut VecDeque<Event<P>>) -> Result<()> {
        self.take_in(events, false)
    }

    /// As [`Connection::on_readable`], but waits a few milliseconds at most for something to come: for whoever just sent
    /// a request, a reply takes a fraction of that and is had sooner than through an event loop.
    ///
    /// # Errors
    /// As [`Connection::on_readable`].
    pub fn await_readable(&mut self, events: &mut VecDeque<Event<P>>) -> Result<()> {
        self.take_in(events, true)
    }

    fn take_in(&mut self, events: &mut VecDeque<Event<P>>, wait: bool) -> Result<()> {
        self.read(events, wait)?;
        // xenstored writes header and body of a socket's message in two rounds of its own loop, some microseconds
        // apart: waiting here is cheaper than going back to an event loop in between.
        if events.is_empty() && self.decoder.holds_part() {
            self.read(events, true)?;
        }
        self.flush(events)
    }

    fn read(&mut self, events: &mut VecDeque<Event<P>>, wait: bool) -> Result<()> {
        if let Some(reason) = &self.lost {
            return Err(XenStoreError::closed(reason.as_str()));
        }
        let fd = self.descriptor();
        let space = self.decoder.space();
        let (into, length) = (space.as_mut_ptr().cast(), space.len());
        // SAFETY: pointers and lengths are those of one live value and one live slice, and the descriptor is open.
        let count = unsafe {
            if wait {
                // Not a read that waits: on a unix socket that is woken, for nothing, when the store takes our request.
                let mut entry = libc::pollfd {
                    fd,
                    events: libc::POLLIN,
                    revents: 0,
                };
                libc::poll(&raw mut entry, 1, PATIENCE);
            }
            libc::read(fd, into, length)
        };
        match usize::try_from(count) {
            Ok(0) => return Err(self.lose("the store hung up".to_owned())),
            Ok(count) => self.decoder.filled(count),
            Err(_) => {
                let error = io::Error::last_os_error();
                return match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(()),
                    _ => Err(self.lose(format!("reading failed: {error}"))),
                };
            }
        }
        self.session
            .receive(&mut self.decoder, events)
            .map_err(|reason| {
                self.lost = Some(format!("the store broke the protocol: {reason}"));
                XenStoreError::Protocol { reason }
            })
    }

    /// Writes what waited for the socket to take more.
    ///
    /// # Errors
    /// [`XenStoreError::Closed`] when the connection is lost.
    pub fn on_writable(&mut self, events: &mut VecDeque<Event<P>>) -> Result<()> {
        self.flush(events)
    }

    /// Takes everything back, because the connection is closed or lost. Returns the owners of what was under way.
    pub fn fail(&mut self, reason: &str) -> Vec<P> {
        self.writer.hang_up();
        self.lost.get_or_insert_with(|| reason.to_owned());
        self.outgoing.clear();
        self.session.cancel_all()
    }

    fn encode(
        &mut self,
        message: &mut Vec<u8>,
        operation: &Operation<'_>,
        transaction: u32,
        path: &str,
        owner: P,
    ) -> Result<u32> {
        if let Some(reason) = &self.lost {
            return Err(XenStoreError::closed(reason.as_str()));
        }
        operation.check(path)?;
        operation.with_parts(path, |parts| {
            let bytes = parts.iter().map(|part| part.len()).sum();
            let limit = self.writer.kind.payload_limit();
            if bytes > limit {
                return Err(XenStoreError::TooLarge {
                    path: path.to_owned(),
                    bytes,
                    limit,
                });
            }
            Ok(self
                .session
                .request(message, operation.op(), transaction, path, parts, owner))
        })
    }

    /// Writes one message; what a socket does not take is queued.
    fn write(&mut self, message: &[u8]) -> io::Result<()> {
        let written = match self.writer.write(message) {
            Ok(written) => written,
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock
                    && self.writer.kind == Kind::Socket =>
            {
                0
            }
            Err(error) => return Err(error),
        };
        if let Some(rest) = message.get(written..).filter(|rest| !rest.is_empty()) {
            self.outgoing.push_front(rest.to_vec());
        }
        Ok(())
    }

    fn flush(&mut self, events: &mut VecDeque<Event<P>>) -> Result<()> {
        loop {
            let under_way = self
                .session
                .outstanding()
                .saturating_sub(self.outgoing.len());
            if under_way >= self.writer.kind.outstanding_limit() {
                return Ok(());
            }
            let Some(message) = self.outgoing.pop_front() else {
                return Ok(());
            };
            let queued = self.outgoing.len();
            match self.write(&message) {
                // The socket took no more: the rest was put back.
                Ok(()) if self.outgoing.len() > queued => return Ok(()),
                Ok(()) => {}
                Err(error) => self.refuse_queued(&message, error, events)?,
            }
        }
    }

    /// The device refused a message that had been queued: only that request fails.
    fn refuse_queued(
        &mut self,
        message: &[u8],
        error: io::Error,
        events: &mut VecDeque<Event<P>>,
    ) -> Result<()> {
        if self.writer.kind == Kind::Socket {
            return Err(self.lose(format!("writing failed: {error}")));
        }
        let request = message
            .get(4..8)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u32::from_ne_bytes);
        debug_assert!(message.len() >= HEADER);
        if let Some(event) =
            request.and_then(|request| self.session.refuse(request, errno_name(&error)))
        {
            events.push_back(event);
        }
        Ok(())
    }

    fn write_failed(&mut self, path: &str, error: io::Error) -> XenStoreError {
        match self.writer.kind {
            Kind::Device => XenStoreError::named(path, &errno_name(&error)),
            Kind::Socket => self.lose(format!("writing failed: {error}")),
        }
    }

    fn lose(&mut self, reason: String) -> XenStoreError {
        let reason = self.lost.get_or_insert(reason);
        XenStoreError::closed(reason.as_str())
    }
}

impl<P> AsFd for Connection<P> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.writer.descriptor.as_fd()
    }
}

/// The name that the store itself would send; the number for what no store sends.
fn errno_name(error: &io::Error) -> String {
    let name = match error.raw_os_error() {
        Some(libc::EINVAL) => "EINVAL",
        Some(libc::EACCES) => "EACCES",
        Some(libc::EEXIST) => "EEXIST",
        Some(libc::EISDIR) => "EISDIR",
        Some(libc::ENOENT) => "ENOENT",
        Some(libc::ENOMEM) => "ENOMEM",
        Some(libc::ENOSPC) => "ENOSPC",
        Some(libc::EIO) => "EIO",
        Some(libc::ENOTEMPTY) => "ENOTEMPTY",
        Some(libc::ENOSYS) => "ENOSYS",
        Some(libc::EROFS) => "EROFS",
        Some(libc::EBUSY) => "EBUSY",
        Some(libc::EAGAIN) => "EAGAIN",
        Some(libc::EISCONN) => "EISCONN",
        Some(libc::E2BIG) => "E2BIG",
        Some(libc::EPERM) => "EPERM",
        Some(number) => return format!("errno {number}"),
        None => return error.to_string(),
    };
    name.to_owned()
}

/// Refuses a store that another user runs, who got to the path of the socket first and would be obeyed as the host.
fn check_server(stream: &UnixStream) -> io::Result<()> {
    // SAFETY: ucred is plain integers, for which zeros are valid.
    let mut peer: libc::ucred = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as `stream` lives; the kernel writes at most `length` bytes to `peer`.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: takes nothing and gives an integer.
    let own = unsafe { libc::geteuid() };
    if peer.uid == 0 || peer.uid == own {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!(
            "uid {} runs the store there: expected root or uid {own}",
            peer.uid
        ),
    ))
}
