//! The client against a store that misbehaves in every way that a real one was seen to.

#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use xenstore::session::{Event, Session};
use xenstore::wire::{self, Decoder, Op};
use xenstore::{Client, Connection, Endpoint, Kind, Operation, XenStoreError};

const PATIENCE: Duration = Duration::from_secs(10);

/// The store's end of one connection.
struct Fake(UnixStream);

struct Request {
    op: Op,
    id: u32,
    transaction: u32,
    body: Vec<u8>,
}

impl Fake {
    fn receive(&mut self) -> Request {
        let mut header = [0_u8; 16];
        self.0
            .read_exact(&mut header)
            .expect("the client sends a header");
        let word =
            |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let mut body = vec![0; word(12) as usize];
        self.0
            .read_exact(&mut body)
            .expect("the client sends a payload");
        Request {
            op: Op(word(0)),
            id: word(4),
            transaction: word(8),
            body,
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the client reads");
    }

    fn reply(&mut self, request: &Request, body: &[u8]) {
        self.send(&message(request.op, request.id, request.transaction, body));
    }

    fn refuse(&mut self, request: &Request, name: &str) {
        self.send(&message(
            Op::ERROR,
            request.id,
            request.transaction,
            format!("{name}\0").as_bytes(),
        ));
    }
}

fn message(op: Op, request: u32, transaction: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    wire::encode(&mut out, op, request, transaction, &[body]);
    out
}

fn event(path: &str, token: &str) -> Vec<u8> {
    // The kernel leaves garbage in both numbers.
    message(
        Op::WATCH_EVENT,
        1,
        0xdead_beef,
        format!("{path}\0{token}\0").as_bytes(),
    )
}

fn pair(kind: Kind) -> (Connection<()>, Fake) {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    ours.set_nonblocking(true).expect("non-blocking");
    theirs.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    (Connection::over(OwnedFd::from(ours), kind), Fake(theirs))
}

/// A client, and the store's ends for requests and for watches.
fn client(kind: Kind) -> (Arc<Client>, Fake, Fake) {
    let (requests, requests_end) = pair(kind);
    let (watches, watches_end) = pair(kind);
    let endpoint = match kind {
        Kind::Device => Endpoint::Device(PathBuf::from("/fake")),
        Kind::Socket => Endpoint::Socket(PathBuf::from("/fake")),
    };
    let client = Client::over(endpoint, requests, watches).expect("a client");
    (Arc::new(client), requests_end, watches_end)
}

fn receive_in_pieces(stream: &[u8], cuts: &[usize]) -> Vec<String> {
    let mut session = Session::default();
    let mut sent = Vec::new();
    session.request(&mut sent, Op::READ, 0, "a", &[b"a\0"], ());
    session.request(&mut sent, Op::READ, 0, "b", &[b"b\0"], ());
    session.add_watch();
    let mut decoder = Decoder::new(4096);
    let mut events = std::collections::VecDeque::new();
    let mut start = 0;
    for &end in cuts.iter().chain([&stream.len()]) {
        let piece = &stream[start..end];
        decoder.space()[..piece.len()].copy_from_slice(piece);
        decoder.filled(piece.len());
        session
            .receive(&mut decoder, &mut events)
            .expect("a sane stream");
        start = end;
    }
    events
        .into_iter()
        .map(|event| match event {
            Event::Reply { path, result, .. } => format!(
                "{path}={}",
                String::from_utf8_lossy(&result.expect("no error"))
            ),
            Event::Watch { watch, path } => format!("watch {watch}: {path}"),
        })
        .collect()
}

#[test]
fn takes_any_split_of_the_byte_stream_and_replies_in_any_order() {
    let stream = [
        message(Op::READ, 2, 0, b"second"),
        event("w/x", "1"),
        message(Op::READ, 1, 0, b""),
        event("w", "1"),
    ]
    .concat();
    let expected = ["b=second", "watch 1: w/x", "a=", "watch 1: w"];
    assert_eq!(receive_in_pieces(&stream, &[]), expected);
    for first in 0..=stream.len() {
        for second in first..=stream.len() {
            assert_eq!(
                receive_in_pieces(&stream, &[first, second]),
                expected,
                "cut at {first} and {second}"
            );
        }
    }
    let every_byte: Vec<usize> = (0..stream.len()).collect();
    assert_eq!(receive_in_pieces(&stream, &every_byte), expected);
}

#[test]
fn nothing_from_the_store_makes_it_panic() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut understood = 0_u32;
    let mut refused = 0_u32;
    for _ in 0..20_000 {
        let mut session = Session::default();
        let mut out = Vec::new();
        for op in [Op::READ, Op::WATCH, Op::DIRECTORY, Op::UNWATCH] {
            session.request(&mut out, op, 0, "p", &[b"p\0"], ());
        }
        session.add_watch();
        let mut decoder = Decoder::new(4096);
        let mut events = std::collections::VecDeque::new();
        for _ in 0..8 {
            let body: Vec<u8> = (0..random() % 40)
                .map(|_| [0, b'1', b'E', (random() & 0xff) as u8][(random() % 4) as usize])
                .collect();
            let mut bytes = message(Op((random() % 26) as u32), (random() % 6) as u32, 0, &body);
            if random() % 4 == 0 {
                let at = (random() as usize) % bytes.len();
                bytes[at] ^= (random() & 0xff) as u8;
            }
            decoder.space()[..bytes.len()].copy_from_slice(&bytes);
            decoder.filled(bytes.len());
            if session.receive(&mut decoder, &mut events).is_err() {
                refused += 1;
                break;
            }
        }
        understood += events.len() as u32;
    }
    assert!(
        understood > 1000 && refused > 1000,
        "the bytes reach both ends: {understood}, {refused}"
    );
}

#[test]
fn a_header_may_come_long_before_its_body_and_an_event_between_request_and_reply() {
    let (client, mut fake, _watches) = client(Kind::Socket);
    let store = thread::spawn(move || {
        let request = fake.receive();
        assert_eq!(
            (request.op, request.body.as_slice()),
            (Op::READ, b"data/x\0".as_slice())
        );
        fake.send(&event("elsewhere", "77"));
        let reply = message(request.op, request.id, 0, b"late");
        fake.send(&reply[..16]);
        thread::sleep(Duration::from_millis(20));
        fake.send(&reply[16..]);
    });
    assert_eq!(client.read("data/x").expect("a value"), b"late");
    store.join().expect("the store is content");
}

#[test]
fn the_first_event_may_come_before_the_watch_is_acknowledged() {
    let (client, _requests, mut fake) = client(Kind::Device);
    let store = thread::spawn(move || {
        let watch = fake.receive();
        assert_eq!(
            (watch.op, watch.body.as_slice()),
            (Op::WATCH, b"data\x001\0".as_slice())
        );
        fake.send(&event("data", "1"));
        fake.reply(&watch, b"OK\0");
        let unwatch = fake.receive();
        assert_eq!(
            (unwatch.op, unwatch.body.as_slice()),
            (Op::UNWATCH, b"data\x001\0".as_slice())
        );
        fake.send(&event("data/late", "1"));
        // As kernels before 4.11: without the request's number.
        fake.send(&message(Op::UNWATCH, 0, 0, b"OK\0"));
    });
    let (tell, told) = mpsc::channel();
    let watch = client
        .watch("data", move |path| {
            tell.send(path.to_owned()).expect("the test listens")
        })
        .expect("a watch");
    assert_eq!(
        told.recv_timeout(PATIENCE).expect("the first event"),
        "data"
    );
    watch.close().expect("is taken away");
    store.join().expect("the store is content");
    assert!(
        told.recv_timeout(PATIENCE).is_err(),
        "an event after the end of the watch is dropped"
    );
}

#[test]
fn several_threads_have_requests_under_way_and_replies_come_out_of_order() {
    let (client, mut fake, _watches) = client(Kind::Socket);
    let readers: Vec<_> = (0..8)
        .map(|number| {
            let client = Arc::clone(&client);
            thread::spawn(move || client.read(&format!("n/{number}")).expect("a value"))
        })
        .collect();
    let mut requests: Vec<Request> = (0..8).map(|_| fake.receive()).collect();
    requests.reverse();
    for request in &requests {
        fake.reply(request, request.body.strip_suffix(b"\0").expect("a NUL"));
    }
    for (number, reader) in readers.into_iter().enumerate() {
        assert_eq!(
            reader.join().expect("no panic"),
            format!("n/{number}").as_bytes()
        );
    }
}

#[test]
fn a_long_list_is_read_in_pieces_and_begun_anew_when_the_node_changes() {
    let (client, mut fake, _watches) = client(Kind::Socket);
    let store = thread::spawn(move || {
        let request = fake.receive();
        assert_eq!(request.op, Op::DIRECTORY);
        fake.refuse(&request, "E2BIG");
        let answers: [(&[u8], &[u8]); 4] = [
            (b"d\x000\0", b"7\0one\0"),
            (b"d\x004\0", b"8\0two\0\0"),
            (b"d\x000\0", b"8\0one\0"),
            (b"d\x004\0", b"8\0three\0\0"),
        ];
        for (asked, answer) in answers {
            let request = fake.receive();
            assert_eq!(
                (request.op, request.body.as_slice()),
                (Op::DIRECTORY_PART, asked)
            );
            fake.reply(&request, answer);
        }
        let request = fake.receive();
        fake.refuse(&request, "E2BIG");
        let request = fake.receive();
        fake.refuse(&request, "ENOSYS");
        let request = fake.receive();
        fake.reply(&request, &b"x\0".repeat(5400 / 2));
    });
    assert_eq!(client.list("d").expect("names"), ["one", "three"]);
    let error = client.list("d").expect_err("this store has no pieces");
    assert!(
        matches!(&error, XenStoreError::Refused { path, name } if path == "d" && name == "E2BIG"),
        "{error}"
    );
    assert_eq!(
        client.list("d").expect("oxenstored's long reply").len(),
        2700
    );
    store.join().expect("the store is content");
}

#[test]
fn errors_keep_the_stores_own_name() {
    let (client, mut fake, _watches) = client(Kind::Socket);
    let store = thread::spawn(move || {
        for name in ["EQUOTA", "ENOENT"] {
            let request = fake.receive();
            fake.refuse(&request, name);
        }
    });
    let error = client.write("a", b"b").expect_err("refused");
    assert_eq!(error.to_string(), "the store refused a: EQUOTA");
    assert!(matches!(client.read("a/b"), Err(XenStoreError::NotFound { path }) if path == "a/b"));
    store.join().expect("the store is content");
}

#[test]
fn a_transaction_is_tried_again_on_conflict_a_bounded_number_of_times() {
    let (client, mut fake, _watches) = client(Kind::Socket);
    let store = thread::spawn(move || {
        for id in 1..=3_u32 {
            let start = fake.receive();
            assert_eq!((start.op, start.transaction), (Op::TRANSACTION_START, 0));
            fake.reply(&start, format!("{id}\0").as_bytes());
            let read = fake.receive();
            assert_eq!((read.op, read.transaction), (Op::READ, id));
            fake.reply(&read, b"1");
            let end = fake.receive();
            assert_eq!(
                (end.op, end.transaction, end.body.as_slice()),
                (Op::TRANSACTION_END, id, b"T\0".as_slice())
            );
            fake.refuse(&end, "EAGAIN");
        }
        let start = fake.receive();
        fake.reply(&start, b"4\0");
        let end = fake.receive();
        assert_eq!(
            (end.op, end.transaction, end.body.as_slice()),
            (Op::TRANSACTION_END, 4, b"F\0".as_slice())
        );
        fake.reply(&end, b"OK\0");
        let start = fake.receive();
        fake.refuse(&start, "ENOSPC");
        fake.0
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a timeout");
        assert!(
            fake.0.read(&mut [0]).is_err(),
            "nothing is sent after a refused start"
        );
    });
    let runs = AtomicU32::new(0);
    let conflict = client.transaction(3, |transaction| {
        runs.fetch_add(1, Ordering::SeqCst);
        transaction.read("counter")
    });
    assert!(matches!(
        conflict,
        Err(XenStoreError::Conflict { attempts: 3 })
    ));
    assert_eq!(runs.load(Ordering::SeqCst), 3);
    let nested = client.transaction(3, |_| client.transaction(1, |_| Ok(())));
    assert!(matches!(nested, Err(XenStoreError::Refused { name, .. }) if name == "EBUSY"));
    assert!(client.transaction(3, |_| Ok(())).is_err());
    store.join().expect("the store is content");
}

#[test]
fn losing_the_connection_fails_everything_under_way() {
    let (client, mut fake, watches) = client(Kind::Socket);
    let reader = thread::spawn({
        let client = Arc::clone(&client);
        move || client.read("a")
    });
    fake.receive();
    drop(fake);
    drop(watches);
    let error = reader
        .join()
        .expect("no panic")
        .expect_err("the store is gone");
    assert!(
        matches!(&error, XenStoreError::Closed { reason } if reason.contains("hung up")),
        "{error}"
    );
    assert!(matches!(
        client.read("b"),
        Err(XenStoreError::Closed { .. })
    ));
    assert!(matches!(
        client.watch("b", |_| ()),
        Err(XenStoreError::Closed { .. })
    ));
}

#[test]
fn closing_with_things_outstanding_fails_them_and_closing_twice_is_quiet() {
    let (client, mut fake, mut watches) = client(Kind::Socket);
    let reader = thread::spawn({
        let client = Arc::clone(&client);
        move || client.read("a")
    });
    let watcher = thread::spawn({
        let client = Arc::clone(&client);
        move || client.watch("a", |_| ()).map(drop)
    });
    fake.receive();
    watches.receive();
    client.close();
    client.close();
    assert!(matches!(
        reader.join().expect("no panic"),
        Err(XenStoreError::Closed { .. })
    ));
    assert!(matches!(
        watcher.join().expect("no panic"),
        Err(XenStoreError::Closed { .. })
    ));
}

#[test]
fn what_the_store_would_choke_on_is_never_sent() {
    for (kind, limit) in [(Kind::Device, 4080), (Kind::Socket, 4096)] {
        let (mut connection, mut fake) = pair(kind);
        let value = vec![b'v'; limit - 2];
        let error = connection
            .send(&Operation::Write(&vec![b'v'; limit - 1]), 0, "p", ())
            .expect_err("too large");
        assert!(
            matches!(error, XenStoreError::TooLarge { bytes, limit: most, .. } if bytes == limit + 1 && most == limit)
        );
        connection
            .send(&Operation::Read, 0, "a//b", ())
            .expect_err("a bad path");
        connection
            .send(&Operation::Remove, 0, "/", ())
            .expect_err("the root");
        connection
            .send(&Operation::Write(&value), 0, "p", ())
            .expect("fits");
        assert_eq!(
            fake.receive().body.len(),
            limit,
            "the first thing that arrives is the one that fits"
        );
    }
}

#[test]
fn on_the_device_one_request_is_under_way_at_a_time() {
    let (mut connection, mut fake) = pair(Kind::Device);
    for number in 0..40 {
        connection
            .send(&Operation::Read, 0, &format!("n/{number}"), ())
            .expect("is sent or queued");
    }
    let mut events = std::collections::VecDeque::new();
    for _ in 0..40 {
        let request = fake.receive();
        fake.0.set_nonblocking(true).expect("non-blocking");
        assert!(fake.0.read(&mut [0]).is_err(), "nothing more is under way");
        fake.0.set_nonblocking(false).expect("blocking");
        fake.reply(&request, b"v");
        connection.on_readable(&mut events).expect("a reply");
    }
    assert_eq!(events.len(), 40);
}

#[test]
fn what_a_full_socket_does_not_take_is_written_later_and_whole() {
    let (mut connection, mut fake) = pair(Kind::Socket);
    let value = vec![b'v'; 4000];
    for _ in 0..500 {
        connection
            .send(&Operation::Write(&value), 0, "p", ())
            .expect("is sent or queued");
    }
    assert!(connection.wants_write(), "the socket is full");
    let mut events = std::collections::VecDeque::new();
    for number in 1..=500 {
        while connection.wants_write() {
            let left = connection.session().outstanding();
            connection.on_writable(&mut events).expect("writes");
            if left == connection.session().outstanding() {
                break;
            }
        }
        let request = fake.receive();
        assert_eq!(
            (request.op, request.id, request.body.len()),
            (Op::WRITE, number, 4002)
        );
    }
}
