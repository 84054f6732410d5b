//! The system calls that the standard library has no form of.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The result of a system call, or its error.
pub fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// Takes a descriptor that a system call has just made.
pub fn own(result: libc::c_int) -> io::Result<OwnedFd> {
    let descriptor = check(result)?;
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// How reading or writing went.
#[derive(Debug)]
pub enum Moved {
    /// So many bytes; none when the other side has no more.
    Bytes(usize),
    /// Nothing for now.
    Later,
}

/// # Errors
/// The system's, but for those that only mean to try again.
pub fn read(descriptor: RawFd, buffer: &mut [u8]) -> io::Result<Moved> {
    moved(|| {
        // SAFETY: pointer and length are those of one live slice.
        unsafe { libc::read(descriptor, buffer.as_mut_ptr().cast(), buffer.len()) }
    })
}

/// # Errors
/// As with `read`.
pub fn write(descriptor: RawFd, bytes: &[u8]) -> io::Result<Moved> {
    moved(|| {
        // SAFETY: pointer and length are those of one live slice.
        unsafe { libc::write(descriptor, bytes.as_ptr().cast(), bytes.len()) }
    })
}

fn moved(mut call: impl FnMut() -> isize) -> io::Result<Moved> {
    loop {
        if let Ok(count) = usize::try_from(call()) {
            return Ok(Moved::Bytes(count));
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock => return Ok(Moved::Later),
            _ => return Err(error),
        }
    }
}

/// Two connected sockets; neither ever blocks.
pub fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut pair = [0; 2];
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: there is room for two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) })?;
    let [ours, theirs] = pair;
    Ok((own(ours)?, own(theirs)?))
}

/// Tells the other end of a socket that there is no more to come.
pub fn shut_for_writing(socket: &OwnedFd) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_WR) }).map(drop)
}

/// Changes of descriptors: each is told once, with what had changed.
pub struct Changes(OwnedFd);

impl Changes {
    pub fn of(descriptors: &[&OwnedFd]) -> io::Result<Self> {
        // SAFETY: takes no pointers; the result is checked.
        let epoll = own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        for descriptor in descriptors {
            let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
            let mut event = libc::epoll_event {
                events: events.cast_unsigned(),
                u64: 0,
            };
            let fd = descriptor.as_raw_fd();
            // SAFETY: both descriptors are open, and the event is read before the call returns.
            check(unsafe {
                libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event)
            })?;
        }
        Ok(Self(epoll))
    }

    /// Waits for the next one, without an end.
    pub fn wait(&self) -> io::Result<()> {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        loop {
            // SAFETY: there is room for one event.
            match check(unsafe { libc::epoll_wait(self.0.as_raw_fd(), &mut event, 1, -1) }) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                waited => return waited.map(drop),
            }
        }
    }
}
