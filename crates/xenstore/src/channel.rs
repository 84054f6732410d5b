//! What [`crate::Client`] and its watches share: one connection that several threads wait on.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::connection::Connection;
use crate::error::{Result, XenStoreError};
use crate::operation::Operation;
use crate::session::Event;

/// The payload of a reply, or the store's name for the error.
pub(crate) type Answer = std::result::Result<Vec<u8>, String>;

/// One connection that several threads wait on: whoever waits first reads, and hands the others what is theirs.
#[derive(Debug)]
pub(crate) struct Channel {
    state: Mutex<State>,
    changed: Condvar,
    /// Readable from [`Channel::lose`] on, to wake whoever waits for the store.
    stop: OwnedFd,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) connection: Connection<()>,
    incoming: VecDeque<Event<()>>,
    answers: BTreeMap<u32, Answer>,
    pub(crate) events: VecDeque<(u32, String)>,
    reading: bool,
    lost: Option<String>,
}

impl Channel {
    pub(crate) fn new(connection: Connection<()>) -> Result<Self> {
        // SAFETY: takes no pointers; the result is checked before it is used.
        let stop = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if stop < 0 {
            return Err(XenStoreError::io(
                "making an eventfd",
                io::Error::last_os_error(),
            ));
        }
        Ok(Self {
            state: Mutex::new(State {
                connection,
                incoming: VecDeque::new(),
                answers: BTreeMap::new(),
                events: VecDeque::new(),
                reading: false,
                lost: None,
            }),
            changed: Condvar::new(),
            // SAFETY: a fresh descriptor that nobody else owns.
            stop: unsafe { OwnedFd::from_raw_fd(stop) },
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Sends and waits for the reply.
    pub(crate) fn call(
        &self,
        operation: &Operation<'_>,
        transaction: u32,
        path: &str,
    ) -> Result<Answer> {
        let mut state = self.lock();
        state.check()?;
        let request = state.connection.send(operation, transaction, path, ())?;
        loop {
            if let Some(answer) = state.answers.remove(&request) {
                return Ok(answer);
            }
            state.check()?;
            state = self.advance(state);
        }
    }

    /// Waits until something has changed: by reading, unless another thread already does.
    pub(crate) fn advance<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        if state.reading {
            return self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.reading = true;
        let fd = state.connection.descriptor();
        let writing = state.connection.wants_write();
        drop(state);
        let ready = wait(fd, writing, self.stop.as_raw_fd());
        let mut state = self.lock();
        state.reading = false;
        if let Err(error) = ready
            .map_err(|error| XenStoreError::io("waiting for the store", error))
            .and_then(|()| state.take_in())
        {
            state.lose(&error.to_string());
        }
        self.changed.notify_all();
        state
    }

    pub(crate) fn lose(&self, reason: &str) {
        self.lock().lose(reason);
        let one = 1_u64.to_ne_bytes();
        // SAFETY: eight bytes are what an eventfd takes; it cannot be full after one of them.
        unsafe { libc::write(self.stop.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        self.changed.notify_all();
    }
}

impl State {
    pub(crate) fn check(&self) -> Result<()> {
        match &self.lost {
            None => Ok(()),
            Some(reason) => Err(XenStoreError::closed(reason.as_str())),
        }
    }

    fn take_in(&mut self) -> Result<()> {
        if self.lost.is_some() {
            return Ok(());
        }
        let mut incoming = std::mem::take(&mut self.incoming);
        let wrote = match self.connection.wants_write() {
            true => self.connection.on_writable(&mut incoming),
            false => Ok(()),
        };
        let read = wrote.and_then(|()| self.connection.on_readable(&mut incoming));
        for event in incoming.drain(..) {
            match event {
                Event::Reply {
                    request, result, ..
                } => {
                    self.answers.insert(request, result);
                }
                Event::Watch { watch, path } => self.events.push_back((watch, path)),
            }
        }
        self.incoming = incoming;
        read
    }

    fn lose(&mut self, reason: &str) {
        self.lost.get_or_insert_with(|| reason.to_owned());
        self.connection.fail(reason);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here is left half changed by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait(fd: i32, writing: bool, stop: i32) -> io::Result<()> {
    let events = if writing {
        libc::POLLIN | libc::POLLOUT
    } else {
        libc::POLLIN
    };
    let mut fds = [
        libc::pollfd {
            fd,
            events,
            revents: 0,
        },
        libc::pollfd {
            fd: stop,
            events: libc::POLLIN,
            revents: 0,
        },
    ];
    // SAFETY: the pointer and the count are those of one live array.
    if unsafe { libc::poll(fds.as_mut_ptr(), 2, -1) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(())
}
