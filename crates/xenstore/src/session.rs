//! Who waits for what: request numbers and watch tokens. No descriptors, no threads, no clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::wire::{self, Decoder, Op, Packet};

/// A request under way: what it was, and whatever its owner `P` hung on it.
#[derive(Debug)]
struct Pending<P> {
    op: Op,
    path: String,
    owner: P,
}

/// What came in.
#[derive(Debug)]
pub enum Event<P> {
    /// The answer to a request.
    Reply {
        /// The number that [`Session::request`] gave.
        request: u32,
        /// What was asked.
        op: Op,
        /// The path that was asked about.
        path: String,
        /// What its owner hung on it.
        owner: P,
        /// The payload, or the store's name for the error, such as `EACCES`.
        result: Result<Vec<u8>, String>,
    },
    /// Something changed, or may have.
    Watch {
        /// The number that [`Session::add_watch`] gave.
        watch: u32,
        /// The node that changed, or the watched node itself.
        path: String,
    },
}

/// The books of one connection. `P` is what the owner of a request wants back with the reply.
///
/// Ordered maps, not hashed ones: they need no randomness, which a guest may lack early in its boot.
#[derive(Debug)]
pub struct Session<P> {
    next_request: u32,
    next_watch: u32,
    pending: BTreeMap<u32, Pending<P>>,
    /// Booked before the WATCH is sent: events may come before its reply.
    watches: BTreeSet<u32>,
}

impl<P> Default for Session<P> {
    fn default() -> Self {
        Self {
            next_request: 1,
            next_watch: 1,
            pending: BTreeMap::new(),
            watches: BTreeSet::new(),
        }
    }
}

impl<P> Session<P> {
    /// Books a request and appends its message to `out`. Returns the request's number.
    pub fn request(
        &mut self,
        out: &mut Vec<u8>,
        op: Op,
        transaction: u32,
        path: &str,
        parts: &[&[u8]],
        owner: P,
    ) -> u32 {
        let id = free(&mut self.next_request, |id| self.pending.contains_key(&id));
        wire::encode(out, op, id, transaction, parts);
        self.pending.insert(
            id,
            Pending {
                op,
                path: path.to_owned(),
                owner,
            },
        );
        id
    }

    /// Books a watch. Its number, in decimal, is the token to send; from now on its events are passed on.
    pub fn add_watch(&mut self) -> u32 {
        let id = free(&mut self.next_watch, |id| self.watches.contains(&id));
        self.watches.insert(id);
        id
    }

    /// Forgets a watch: what still comes for it is dropped.
    pub fn remove_watch(&mut self, watch: u32) {
        self.watches.remove(&watch);
    }

    /// Gives a request that is under way another owner. One that is not has none.
    pub fn hand_over(&mut self, request: u32, owner: P) {
        if let Some(pending) = self.pending.get_mut(&request) {
            pending.owner = owner;
        }
    }

    /// Takes a request back, as when it could not be written.
    pub fn cancel(&mut self, request: u32) -> Option<P> {
        self.pending.remove(&request).map(|pending| pending.owner)
    }

    /// Answers a request in the store's stead, as when the device refused to take it.
    pub fn refuse(&mut self, request: u32, name: String) -> Option<Event<P>> {
        let Pending { op, path, owner } = self.pending.remove(&request)?;
        Some(Event::Reply {
            request,
            op,
            path,
            owner,
            result: Err(name),
        })
    }

    /// Takes everything back: the connection is gone.
    pub fn cancel_all(&mut self) -> Vec<P> {
        self.watches.clear();
        std::mem::take(&mut self.pending)
            .into_values()
            .map(|pending| pending.owner)
            .collect()
    }

    /// How many requests are unanswered.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.pending.len()
    }

    /// How many watches are set.
    #[must_use]
    pub fn watching(&self) -> usize {
        self.watches.len()
    }

    /// Takes every packet that `decoder` holds and appends what it means to `events`.
    ///
    /// # Errors
    /// Says how the store broke the protocol; the connection is of no use any more.
    pub fn receive(
        &mut self,
        decoder: &mut Decoder,
        events: &mut VecDeque<Event<P>>,
    ) -> Result<(), String> {
        while let Some(packet) = decoder
            .next_packet()
            .map_err(|oversized| oversized.to_string())?
        {
            // By type first: the kernel leaves garbage in the request number of an event.
            if packet.header.op == Op::WATCH_EVENT {
                if let Some(event) = self.watch_event(packet.body)? {
                    events.push_back(event);
                }
            } else if let Some(event) = self.reply(&packet)? {
                events.push_back(event);
            }
        }
        Ok(())
    }

    fn watch_event(&self, body: &[u8]) -> Result<Option<Event<P>>, String> {
        let mut fields = body.split(|&byte| byte == 0);
        let (Some(path), Some(token)) = (fields.next(), fields.next()) else {
            return Err("a watch event without a token".to_owned());
        };
        let watch = std::str::from_utf8(token)
            .ok()
            .and_then(|token| token.parse().ok());
        // A token that is unknown belongs to a watch that was just taken away.
        Ok(watch
            .filter(|watch| self.watches.contains(watch))
            .map(|watch| Event::Watch {
                watch,
                path: String::from_utf8_lossy(path).into_owned(),
            }))
    }

    fn reply(&mut self, packet: &Packet<'_>) -> Result<Option<Event<P>>, String> {
        let header = packet.header;
        let known = self.pending.get(&header.request).map(|pending| pending.op);
        let request = match known {
            Some(op) if op == header.op || header.op == Op::ERROR => header.request,
            Some(op) => return Err(format!("the reply to {op:?} has the type {:?}", header.op)),
            None => match self.unnumbered(header.op) {
                Some(request) => request,
                // The late answer to something that was taken back.
                None => return Ok(None),
            },
        };
        let Some(Pending { op, path, owner }) = self.pending.remove(&request) else {
            return Ok(None);
        };
        let result = if header.op == Op::ERROR {
            Err(String::from_utf8_lossy(until_nul(packet.body)).into_owned())
        } else {
            Ok(packet.body.to_vec())
        };
        Ok(Some(Event::Reply {
            request,
            op,
            path,
            owner,
            result,
        }))
    }

    /// Kernels before 4.11 acknowledged WATCH and UNWATCH with request number 0: that is told by the type, as long as
    /// there is only one that it can be.
    fn unnumbered(&self, op: Op) -> Option<u32> {
        if op != Op::WATCH && op != Op::UNWATCH {
            return None;
        }
        let mut same = self.pending.iter().filter(|(_, pending)| pending.op == op);
        match (same.next(), same.next()) {
            (Some((&request, _)), None) => Some(request),
            _ => None,
        }
    }
}

/// The bytes before the first NUL, or all.
#[must_use]
pub fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn free(next: &mut u32, taken: impl Fn(u32) -> bool) -> u32 {
    // 0 is what watch events and old kernels' acknowledgements carry.
    while *next == 0 || taken(*next) {
        *next = next.wrapping_add(1);
    }
    let id = *next;
    *next = next.wrapping_add(1);
    id
}
