//! One socket to the kernel: sends a request, waits for its answer, no longer than [`ANSWER_LIMIT`] for each part.

use std::io;
use std::time::Duration;

use netlink_packet_core::{
    DefaultNla, DoneBuffer, Emitable, ErrorBuffer, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED,
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN,
    NetlinkBuffer, NetlinkHeader, NlasIterator, parse_string, parse_u32,
};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkHeader;
use netlink_packet_route::route::RouteMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::error::{NetlinkError, Result};

/// The kernel answers at once; the limit keeps a fault of its own from holding the agent.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const HEADER_LENGTH: usize = 16;
const ALIGNMENT: usize = 4;
const NLMSGERR_ATTR_MSG: u16 = 1;

pub struct Session {
    socket: Socket,
    sequence: u32,
}

/// A change for the kernel to make.
pub struct Request {
    pub message_type: u16,
    /// Those besides the ones that every change has.
    pub flags: u16,
    pub message: Message,
}

/// A message's fixed part and its attributes. The library's own enumeration of all messages would bring the code of
/// all of them into the addon, which is half as much again as everything else there.
pub enum Message {
    Link(LinkHeader, Vec<DefaultNla>),
    Address(AddressMessage),
    Route(RouteMessage),
}

impl Emitable for Message {
    fn buffer_len(&self) -> usize {
        match self {
            Self::Link(header, attributes) => {
                header.buffer_len() + attributes.as_slice().buffer_len()
            }
            Self::Address(message) => message.buffer_len(),
            Self::Route(message) => message.buffer_len(),
        }
    }

    fn emit(&self, buffer: &mut [u8]) {
        match self {
            Self::Link(header, attributes) => {
                let (head, rest) = buffer.split_at_mut(header.buffer_len());
                header.emit(head);
                attributes.as_slice().emit(rest);
            }
            Self::Address(message) => message.emit(buffer),
            Self::Route(message) => message.emit(buffer),
        }
    }
}

/// The kernel's no.
#[derive(Debug, PartialEq)]
pub struct Refusal {
    /// Positive.
    pub errno: i32,
    pub remark: Option<String>,
}

impl Refusal {
    pub fn of(self, doing: String) -> NetlinkError {
        NetlinkError::Refused {
            doing,
            errno: self.errno,
            remark: self.remark,
        }
    }
}

impl Session {
    pub fn open() -> Result<Self> {
        let failed = |source| NetlinkError::Io {
            doing: "opening a netlink socket",
            source,
        };
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_LIMIT))
            .map_err(|error| failed(error.into()))?;
        // Kernels before 4.12 have neither: then errors come without a remark.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Asks for a whole table: the payloads of its messages. None when the table changed while it was read, so that
    /// entries may be missing or twice.
    pub fn dump(
        &mut self,
        doing: &str,
        message_type: u16,
        message: &impl Emitable,
    ) -> Result<Option<Vec<Vec<u8>>>> {
        self.send(message_type, NLM_F_REQUEST | NLM_F_DUMP, message)?;
        let answer = self.answer()?;
        match answer.refusal {
            Some(refusal) => Err(refusal.of(doing.to_owned())),
            None => Ok((!answer.interrupted).then_some(answer.payloads)),
        }
    }

    /// Sends a change and waits until the kernel has made it, or has refused.
    pub fn request(&mut self, request: &Request) -> Result<Option<Refusal>> {
        let flags = NLM_F_REQUEST | NLM_F_ACK | request.flags;
        self.send(request.message_type, flags, &request.message)?;
        Ok(self.answer()?.refusal)
    }

    fn answer(&self) -> Result<Answer> {
        let mut answer = Answer::to(self.sequence);
        while !answer.done {
            answer.take(&self.receive()?)?;
        }
        Ok(answer)
    }

    fn send(&mut self, message_type: u16, flags: u16, message: &impl Emitable) -> Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.length = (HEADER_LENGTH + message.buffer_len()) as u32;
        header.message_type = message_type;
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut bytes = vec![0; HEADER_LENGTH + message.buffer_len()];
        let (head, body) = bytes.split_at_mut(HEADER_LENGTH);
        header.emit(head);
        message.emit(body);
        let kernel = SocketAddr::new(0, 0);
        again(|| self.socket.send_to(&bytes, &kernel, 0)).map_err(|source| NetlinkError::Io {
            doing: "sending to the kernel",
            source,
        })?;
        Ok(())
    }

    /// The kernel's next datagram. Other processes can send here too; theirs are dropped.
    fn receive(&self) -> Result<Vec<u8>> {
        loop {
            match again(|| self.socket.recv_from_full()) {
                Ok((bytes, sender)) if sender.port_number() == 0 => return Ok(bytes),
                Ok(_) => {}
                Err(error) => {
                    let source = match error.kind() {
                        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
                        _ => error,
                    };
                    let doing = "waiting for the kernel's answer";
                    return Err(NetlinkError::Io { doing, source });
                }
            }
        }
    }
}

/// Repeats a call that a signal interrupted.
fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// The answer to one request, as far as it has come.
struct Answer {
    sequence: u32,
    payloads: Vec<Vec<u8>>,
    interrupted: bool,
    refusal: Option<Refusal>,
    done: bool,
}

impl Answer {
    fn to(sequence: u32) -> Self {
        Self {
            sequence,
            payloads: Vec::new(),
            interrupted: false,
            refusal: None,
            done: false,
        }
    }

    /// Takes the messages of one datagram. Those that answer an earlier request, which was given up, are passed over.
    fn take(&mut self, datagram: &[u8]) -> Result<()> {
        let mut rest = datagram;
        while rest.len() >= HEADER_LENGTH && !self.done {
            let message = NetlinkBuffer::new_checked(rest).map_err(malformed)?;
            if message.sequence_number() == self.sequence {
                self.message(message.message_type(), message.flags(), message.payload())?;
            }
            let length = (message.length() as usize).next_multiple_of(ALIGNMENT);
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(())
    }

    fn message(&mut self, message_type: u16, flags: u16, payload: &[u8]) -> Result<()> {
        self.interrupted |= flags & NLM_F_DUMP_INTR != 0;
        match message_type {
            NLMSG_ERROR => {
                let error = ErrorBuffer::new_checked(payload).map_err(malformed)?;
                self.done = true;
                self.refusal = error.code().map(|code| Refusal {
                    errno: code.get().saturating_neg(),
                    remark: remark(error.payload(), flags),
                });
            }
            NLMSG_DONE => {
                self.done = true;
                // Very old kernels end a dump without a code.
                let code = DoneBuffer::new_checked(payload).map_or(0, |done| done.code());
                self.refusal = (code < 0).then(|| Refusal {
                    errno: code.saturating_neg(),
                    remark: None,
                });
            }
            NLMSG_OVERRUN => self.interrupted = true,
            NLMSG_NOOP => {}
            _ => self.payloads.push(payload.to_vec()),
        }
        Ok(())
    }
}

/// What the kernel says about an error, after the request that it answers; of that it repeats all or only the header.
fn remark(answered: &[u8], flags: u16) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let repeated = match flags & NLM_F_CAPPED {
        0 => parse_u32(answered.get(..4)?).ok()? as usize,
        _ => HEADER_LENGTH,
    };
    NlasIterator::new(answered.get(repeated.next_multiple_of(ALIGNMENT)..)?)
        .map_while(std::result::Result::ok)
        .find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)
        .and_then(|attribute| parse_string(attribute.value()).ok())
}

pub fn malformed(error: impl std::fmt::Display) -> NetlinkError {
    NetlinkError::Malformed {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW_LINK: u16 = 16;

    fn message(message_type: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let length = (HEADER_LENGTH + payload.len()) as u32;
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(message_type.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes
    }

    #[test]
    fn a_dump_is_collected_over_datagrams_until_it_is_done() {
        let mut answer = Answer::to(7);
        let first = [
            message(NEW_LINK, 2, 7, b"one"),
            message(NEW_LINK, 2, 6, b"of a request that was given up"),
            message(NEW_LINK, 2, 7, b"other"),
        ];
        answer.take(&first.concat()).expect("well formed");
        assert!(!answer.done);
        answer
            .take(&message(NLMSG_DONE, 2, 7, &0_i32.to_ne_bytes()))
            .expect("well formed");
        assert!(answer.done && !answer.interrupted);
        assert_eq!(answer.payloads, [b"one".as_slice(), b"other"]);
        assert_eq!(answer.refusal, None);
    }

    #[test]
    fn a_table_that_changed_meanwhile_is_noticed_at_any_message() {
        for position in 0..2 {
            let mut answer = Answer::to(1);
            let flags = |index| {
                2 | if index == position {
                    NLM_F_DUMP_INTR
                } else {
                    0
                }
            };
            answer
                .take(&message(NEW_LINK, flags(0), 1, b"one!"))
                .expect("well formed");
            answer
                .take(&message(NLMSG_DONE, flags(1), 1, &[0; 4]))
                .expect("well formed");
            assert!(answer.done && answer.interrupted);
        }
    }

    #[test]
    fn refusals_carry_the_kernels_remark_behind_either_form_of_the_request() {
        let request = message(24, 5, 3, b"a request's payload");
        let text = b"Nexthop has invalid gateway\0";
        let mut attribute = ((text.len() + 4) as u16).to_ne_bytes().to_vec();
        attribute.extend(NLMSGERR_ATTR_MSG.to_ne_bytes());
        attribute.extend(text);
        for (flags, repeated) in [(0, request.as_slice()), (NLM_F_CAPPED, &request[..16])] {
            let payload = [
                (-libc::ENETUNREACH).to_ne_bytes().as_slice(),
                repeated,
                &attribute,
            ]
            .concat();
            let mut answer = Answer::to(3);
            answer
                .take(&message(NLMSG_ERROR, flags | NLM_F_ACK_TLVS, 3, &payload))
                .expect("well formed");
            let remark = Some("Nexthop has invalid gateway".to_owned());
            let refusal = Refusal {
                errno: libc::ENETUNREACH,
                remark,
            };
            assert_eq!(answer.refusal, Some(refusal));
        }
    }

    #[test]
    fn an_acknowledgement_is_no_refusal() {
        let mut answer = Answer::to(3);
        answer
            .take(&message(NLMSG_ERROR, NLM_F_CAPPED, 3, &[0; 20]))
            .expect("well formed");
        assert!(answer.done);
        assert_eq!(answer.refusal, None);
    }

    #[test]
    fn a_message_that_is_cut_off_is_an_error() {
        let whole = message(NEW_LINK, 2, 1, b"12345678");
        assert!(Answer::to(1).take(&whole[..20]).is_err());
    }
}
