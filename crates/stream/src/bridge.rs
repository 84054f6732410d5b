//! The thread between a device and a socket.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;

use crate::sys::{Changes, Moved, read, shut_for_writing, socket_pair, write};

/// What Linux takes from a port at a time.
const CHUNK: usize = 32 * 1024;
const STACK: usize = 128 * 1024;
/// Never part of UTF-8: tells the reader to forget the beginning of a line.
const SENTINEL: u8 = 0xff;

/// What it means that a device has no more to read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// There is no host for now, and another may come.
    Pause,
    /// There will be no more; the other way may still be open.
    Close,
}

/// Joins a descriptor that does not block to a new socket.
pub fn bridge(device: OwnedFd, end: End) -> io::Result<OwnedFd> {
    let (ours, theirs) = socket_pair()?;
    let changes = Changes::of(&[&device, &ours])?;
    let copier = Copier {
        device,
        socket: ours,
        end,
        connected: end == End::Close,
        ended: false,
        incoming: Queue::new(),
        outgoing: Queue::new(),
    };
    thread::Builder::new()
        .name("stream".to_owned())
        .stack_size(STACK)
        .spawn(move || copier.run(&changes))?;
    Ok(theirs)
}

/// Bytes that were read and are to be written.
struct Queue {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
}

impl Queue {
    fn new() -> Self {
        Self {
            buffer: vec![0; CHUNK].into_boxed_slice(),
            from: 0,
            to: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.from == self.to
    }

    fn clear(&mut self) {
        self.from = self.to;
    }

    fn bytes(&self) -> &[u8] {
        self.buffer.get(self.from..self.to).unwrap_or_default()
    }

    /// Only when it is empty.
    fn fill(&mut self, descriptor: &OwnedFd) -> io::Result<Moved> {
        self.from = 0;
        self.to = 0;
        let moved = read(descriptor.as_raw_fd(), &mut self.buffer)?;
        if let Moved::Bytes(count) = moved {
            self.to = count;
        }
        Ok(moved)
    }

    fn fill_with(&mut self, byte: u8) {
        self.buffer[0] = byte;
        self.from = 0;
        self.to = 1;
    }

    /// False when the other side takes no more for now.
    fn drain(&mut self, descriptor: &OwnedFd) -> io::Result<bool> {
        while !self.is_empty() {
            match write(descriptor.as_raw_fd(), self.bytes())? {
                Moved::Bytes(count) => self.from += count,
                Moved::Later => return Ok(false),
            }
        }
        Ok(true)
    }
}

struct Copier {
    device: OwnedFd,
    socket: OwnedFd,
    end: End,
    /// Whether there is a host at the other end of the device.
    connected: bool,
    /// Whether the device has no more, for ever.
    ended: bool,
    incoming: Queue,
    outgoing: Queue,
}

impl Copier {
    /// Ends with either side; what it ends with is of no use to anybody.
    fn run(mut self, changes: &Changes) {
        while matches!(self.copy(), Ok(true)) && changes.wait().is_ok() {}
    }

    /// Everything that can be copied without waiting. False when the socket has no more. A change is told only once, so
    /// each side is read until it has nothing, or until the other takes nothing.
    fn copy(&mut self) -> io::Result<bool> {
        self.copy_in()?;
        self.copy_out()
    }

    fn copy_in(&mut self) -> io::Result<()> {
        while !self.ended && self.incoming.drain(&self.socket)? {
            match self.incoming.fill(&self.device)? {
                Moved::Later => {
                    self.connected = true;
                    break;
                }
                Moved::Bytes(0) => {
                    if self.end == End::Close {
                        // Whoever said all that it wanted may still wait for an answer.
                        self.ended = true;
                        shut_for_writing(&self.socket)?;
                    } else if self.connected {
                        self.connected = false;
                        self.incoming.fill_with(SENTINEL);
                    } else {
                        break;
                    }
                }
                Moved::Bytes(_) => self.connected = true,
            }
        }
        Ok(())
    }

    fn copy_out(&mut self) -> io::Result<bool> {
        loop {
            if !self.connected {
                self.outgoing.clear();
            } else if !self.outgoing.drain(&self.device)? {
                return Ok(true);
            }
            match self.outgoing.fill(&self.socket)? {
                Moved::Later => return Ok(true),
                Moved::Bytes(0) => return Ok(false),
                Moved::Bytes(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::testing::Outcome;

    /// The agent's end, which waits, but not for ever.
    fn waiting(socket: OwnedFd) -> io::Result<UnixStream> {
        let stream = UnixStream::from(socket);
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(stream)
    }

    /// The two ends of a stream to a host that may hang up for good, and the host.
    fn closing() -> io::Result<(UnixStream, UnixStream)> {
        let (device, host) = socket_pair()?;
        Ok((waiting(bridge(device, End::Close)?)?, waiting(host)?))
    }

    #[test]
    fn much_more_than_any_buffer_holds_is_copied_both_ways_at_once() -> Outcome {
        let (mut agent, mut host) = closing()?;
        let bytes: Vec<u8> = (0_u32..3_000_000).map(|n| (n * 31 % 251) as u8).collect();
        let mut writers = Vec::new();
        for stream in [&agent, &host] {
            let (mut writer, sent) = (stream.try_clone()?, bytes.clone());
            writers.push(thread::spawn(move || writer.write_all(&sent)));
        }
        for stream in [&mut agent, &mut host] {
            let mut received = vec![0; bytes.len()];
            stream.read_exact(&mut received)?;
            assert!(received == bytes);
        }
        for writer in writers {
            writer.join().map_err(|_| "a writer panicked")??;
        }
        Ok(())
    }

    #[test]
    fn a_host_that_has_said_all_still_gets_its_answer() -> Outcome {
        let (mut agent, mut host) = closing()?;
        host.write_all(b"request")?;
        host.shutdown(std::net::Shutdown::Write)?;
        let mut request = Vec::new();
        agent.read_to_end(&mut request)?;
        assert_eq!(request, b"request");
        agent.write_all(b"answer")?;
        drop(agent);
        let mut answer = Vec::new();
        host.read_to_end(&mut answer)?;
        assert_eq!(answer, b"answer");
        Ok(())
    }
}
