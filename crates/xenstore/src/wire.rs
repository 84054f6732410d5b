//! Bytes on the wire: four native-endian words and a payload.

use std::fmt;

/// Bytes of a header.
pub const HEADER: usize = 16;
/// How much one read may bring, in bytes.
pub const READ: usize = 64 * 1024;

/// The type of a message. Any number can be on the wire, so it is one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Op(pub u32);

macro_rules! ops {
    ($($name:ident = $number:literal, $doc:literal;)*) => {
        impl Op {
            $(#[doc = $doc] pub const $name: Self = Self($number);)*
        }

        impl fmt::Debug for Op {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    $($number => f.write_str(stringify!($name)),)*
                    other => write!(f, "operation {other}"),
                }
            }
        }
    };
}

ops! {
    DIRECTORY = 1, "Names of a node's children.";
    READ = 2, "A node's value.";
    GET_PERMS = 3, "A node's permissions.";
    WATCH = 4, "Sets a watch.";
    UNWATCH = 5, "Takes a watch away.";
    TRANSACTION_START = 6, "Opens a transaction.";
    TRANSACTION_END = 7, "Commits or drops a transaction.";
    GET_DOMAIN_PATH = 10, "The home of a domain.";
    WRITE = 11, "Sets a node's value, and makes it and its parents.";
    MKDIR = 12, "Makes a node and its parents.";
    RM = 13, "Removes a node and all below it.";
    SET_PERMS = 14, "Sets a node's permissions.";
    WATCH_EVENT = 15, "What a watch saw; never a reply.";
    ERROR = 16, "The reply to whatever failed.";
    RESET_WATCHES = 21, "Drops every watch and transaction of the connection.";
    DIRECTORY_PART = 22, "Names of a node's children, a piece at a time.";
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The type.
    pub op: Op,
    /// Chosen by the client; a reply repeats it. Garbage in a watch event.
    pub request: u32,
    /// 0 outside of a transaction.
    pub transaction: u32,
    /// Bytes of payload.
    pub length: u32,
}

impl Header {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let words = [self.op.0, self.request, self.transaction, self.length];
        for (slot, word) in bytes.chunks_exact_mut(4).zip(words) {
            slot.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8; HEADER]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *bytes;
        Self {
            op: Op(u32::from_ne_bytes([a, b, c, d])),
            request: u32::from_ne_bytes([e, f, g, h]),
            transaction: u32::from_ne_bytes([i, j, k, l]),
            length: u32::from_ne_bytes([m, n, o, p]),
        }
    }
}

/// One whole message, as it lies in the decoder's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The header.
    pub header: Header,
    /// The payload.
    pub body: &'a [u8],
}

/// Appends one message to `out`: a header and the parts of its payload, in a row.
pub fn encode(out: &mut Vec<u8>, op: Op, request: u32, transaction: u32, parts: &[&[u8]]) {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    out.reserve(HEADER + length as usize);
    out.extend_from_slice(
        &Header {
            op,
            request,
            transaction,
            length,
        }
        .encode(),
    );
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// A header that announces more than the connection may send: nothing after it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oversized {
    /// The bytes that were announced.
    pub announced: u32,
    /// The bytes that are allowed.
    pub limit: usize,
}

impl fmt::Display for Oversized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a message announced {} bytes, {} are allowed",
            self.announced, self.limit
        )
    }
}

/// Cuts a byte stream into packets, wherever the stream was split. It owns the read buffer, so a packet is parsed
/// where it was read.
#[derive(Debug)]
pub struct Decoder {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    limit: usize,
}

impl Decoder {
    /// A decoder for messages of at most `limit` bytes of payload.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        // One whole read fits behind the longest message of which a byte is missing.
        let size = HEADER + limit + READ;
        Self {
            buffer: vec![0; size].into_boxed_slice(),
            start: 0,
            end: 0,
            limit,
        }
    }

    /// Where the next bytes are to be read to: at least [`READ`] bytes, once every packet was taken.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        &mut self.buffer[self.end..]
    }

    /// Says that `count` bytes were put at the beginning of [`Decoder::space`].
    pub fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.buffer.len());
    }

    /// Whether there are bytes that are not yet a whole packet, once every packet was taken.
    #[must_use]
    pub fn holds_part(&self) -> bool {
        self.start < self.end
    }

    /// The next whole packet, if there is one.
    ///
    /// # Errors
    /// [`Oversized`], for good.
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>, Oversized> {
        let held = &self.buffer[self.start..self.end];
        let Some((header, rest)) = held.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let header = Header::decode(header);
        let length = header.length as usize;
        if length > self.limit {
            return Err(Oversized {
                announced: header.length,
                limit: self.limit,
            });
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        self.start += HEADER + length;
        if self.start == self.end {
            // Nothing is left, so the next read needs no copying.
            self.start = 0;
            self.end = 0;
        }
        Ok(Some(Packet { header, body }))
    }
}
