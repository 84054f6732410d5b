//! A connection with one blocking read, the least that a client of XenStore can do: what all others are held against.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{Error, Read, Result, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

pub const READ: u32 = 2;
pub const WATCH: u32 = 4;
pub const WRITE: u32 = 11;
pub const REMOVE: u32 = 13;
pub const WATCH_EVENT: u32 = 15;
const ERROR: u32 = 16;
const HEADER: usize = 16;

pub struct Message {
    pub kind: u32,
    pub body: Vec<u8>,
}

impl Message {
    /// What stands before the first NUL: of a watch event, the path.
    pub fn text(&self) -> String {
        let end = self.body.iter().position(|&byte| byte == 0);
        String::from_utf8_lossy(&self.body[..end.unwrap_or(self.body.len())]).into_owned()
    }
}

pub struct Store {
    stream: File,
    buffer: Vec<u8>,
    received: VecDeque<Message>,
    partial: Vec<u8>,
}

impl Store {
    /// Opens a socket, or the kernel's device.
    pub fn open(endpoint: &str) -> Result<Self> {
        match UnixStream::connect(endpoint) {
            Ok(stream) => Ok(Self::over(File::from(OwnedFd::from(stream)))),
            Err(_) => Ok(Self::over(
                OpenOptions::new().read(true).write(true).open(endpoint)?,
            )),
        }
    }

    fn over(stream: File) -> Self {
        Self {
            stream,
            buffer: vec![0; 65536],
            received: VecDeque::new(),
            partial: Vec::new(),
        }
    }

    /// A second handle, for a thread that reads the replies.
    pub fn reader(&self) -> Result<Self> {
        Ok(Self::over(self.stream.try_clone()?))
    }

    pub fn send(&mut self, packet: &[u8]) -> Result<()> {
        self.stream.write_all(packet)
    }

    /// The next message, reply or event.
    pub fn receive(&mut self) -> Result<Message> {
        loop {
            if let Some(message) = self.received.pop_front() {
                return Ok(message);
            }
            let length = self.stream.read(&mut self.buffer)?;
            if length == 0 {
                return Err(Error::other("xenstored closed the connection"));
            }
            self.partial.extend_from_slice(&self.buffer[..length]);
            let mut rest = self.partial.as_slice();
            while rest.len() >= HEADER {
                let size = HEADER + word(rest, 12) as usize;
                if rest.len() < size {
                    break;
                }
                self.received.push_back(Message {
                    kind: word(rest, 0),
                    body: rest[HEADER..size].to_vec(),
                });
                rest = &rest[size..];
            }
            self.partial = rest.to_vec();
        }
    }

    /// Sends a request and waits for its reply; events before it are dropped.
    pub fn ask(&mut self, packet: &[u8]) -> Result<Message> {
        self.send(packet)?;
        loop {
            let message = self.receive()?;
            if message.kind == ERROR {
                return Err(Error::other(format!("xenstored says {}", message.text())));
            }
            if message.kind != WATCH_EVENT {
                return Ok(message);
            }
        }
    }
}

pub fn packet(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(HEADER + body.len());
    for word in [kind, 1, 0, body.len() as u32] {
        packet.extend_from_slice(&word.to_ne_bytes());
    }
    packet.extend_from_slice(body);
    packet
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
