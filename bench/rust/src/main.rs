//! `bench write|loop|client|host|answer|trips|exchange …`: see bench/run.js and bench/xen.js, which start each as a
//! process of its own.

mod exchange;
mod store;

use std::error::Error;
use std::io::{Write, stdout};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use store::{READ, REMOVE, Store, WATCH, WATCH_EVENT, WRITE, packet};

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["prepare", socket, count] => prepare(socket, count.parse()?),
        ["write", socket, count, gap] => write(socket, count.parse()?, gap.parse()?),
        ["loop", socket, count] => read_loop(socket, count.parse()?),
        ["client", socket, count] => client(socket, count.parse()?),
        ["host", socket, domain, rounds] => host(socket, domain, rounds.parse()?),
        ["answer", socket, domain] => answer(socket, domain),
        ["remove", endpoint, node] => remove(endpoint, node),
        ["trips", endpoint, count] => trips(endpoint, count.parse()?),
        ["exchange", seconds] => exchange::measure(Duration::from_secs_f64(seconds.parse()?)),
        _ => Err(
            "wanted: prepare, write, loop, client, host, answer, remove, trips or exchange".into(),
        ),
    }
}

/// What is watched: `BENCH_NODE`, or `/bench`. A guest has room below `data`.
fn node() -> String {
    std::env::var("BENCH_NODE").unwrap_or_else(|_| "/bench".to_owned())
}

/// Nanoseconds of CLOCK_MONOTONIC, which all processes share.
fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec of ours that outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Makes the nodes first: adding a child costs xenstored the rewriting of its parent.
fn prepare(socket: &str, count: usize) -> Outcome {
    let mut store = Store::open(socket)?;
    for number in 0..count {
        store.ask(&packet(WRITE, format!("{}/{number}\0-", node()).as_bytes()))?;
    }
    Ok(())
}

/// Writes every node once, `gap` microseconds apart, and prints when; without a gap it does not wait for replies.
fn write(socket: &str, count: usize, gap: u64) -> Outcome {
    let mut store = Store::open(socket)?;
    let packets: Vec<_> = (0..count)
        .map(|number| packet(WRITE, format!("{}/{number}\0x", node()).as_bytes()))
        .collect();
    let mut times = Vec::with_capacity(count);
    if gap == 0 {
        let mut replies = store.reader()?;
        let reader =
            thread::spawn(move || (0..count).try_for_each(|_| replies.receive().map(drop)));
        for packet in &packets {
            times.push(now());
            store.send(packet)?;
        }
        reader
            .join()
            .map_err(|_| "the reader of replies panicked")??;
    } else {
        let mut due = Instant::now();
        for packet in &packets {
            due += Duration::from_micros(gap);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            times.push(now());
            store.ask(packet)?;
        }
    }
    let mut out = String::new();
    for (number, time) in times.iter().enumerate() {
        out += &format!("{}/{number} {time}\n", node());
    }
    Ok(stdout().write_all(out.as_bytes())?)
}

fn ready() -> Outcome {
    let mut out = stdout();
    out.write_all(b"ready\n")?;
    Ok(out.flush()?)
}

fn report(events: &[(String, u64)]) -> Outcome {
    let lines: String = events
        .iter()
        .map(|(path, time)| format!("{path} {time}\n"))
        .collect();
    Ok(stdout().write_all(lines.as_bytes())?)
}

/// The least there is: one blocking read.
fn read_loop(socket: &str, count: usize) -> Outcome {
    let mut store = Store::open(socket)?;
    store.send(&packet(WATCH, format!("{}\0t\0", node()).as_bytes()))?;
    // The reply and the event that fires at once on registration: on the device either may be first.
    store.receive()?;
    store.receive()?;
    ready()?;
    let mut events = Vec::with_capacity(count);
    while events.len() < count {
        let message = store.receive()?;
        let time = now();
        if message.kind == WATCH_EVENT {
            events.push((message.text(), time));
        }
    }
    report(&events)
}

/// This project's client, with its watch thread.
fn client(socket: &str, count: usize) -> Outcome {
    let client = xenstore::Client::open(Some(Path::new(socket)))?;
    let (sender, receiver) = mpsc::channel();
    let mut events = Vec::with_capacity(count);
    let mut first = true;
    let _watch = client.watch(&node(), move |path| {
        let time = now();
        if first {
            first = false;
            // Nobody listens any more only when the process ends.
            drop(sender.send(None));
            return;
        }
        events.push((path.to_owned(), time));
        if events.len() == count {
            drop(sender.send(Some(std::mem::take(&mut events))));
        }
    })?;
    receiver.recv()?;
    ready()?;
    report(
        &receiver
            .recv()?
            .ok_or("the watch fired twice on registration")?,
    )
}

fn remove(endpoint: &str, node: &str) -> Outcome {
    let mut store = Store::open(endpoint)?;
    store.ask(&packet(REMOVE, format!("{node}\0").as_bytes()))?;
    Ok(())
}

/// Prints how long each of `count` READs took, in microseconds, 3 ms apart.
fn trips(endpoint: &str, count: usize) -> Outcome {
    let mut store = Store::open(endpoint)?;
    let path = format!("{}/probe", node());
    store.ask(&packet(WRITE, format!("{path}\0x").as_bytes()))?;
    let read = packet(READ, format!("{path}\0").as_bytes());
    let mut lines = String::new();
    for _ in 0..count {
        thread::sleep(Duration::from_millis(3));
        let started = now();
        store.ask(&read)?;
        lines += &format!("{}\n", (now() - started) as f64 / 1e3);
    }
    Ok(stdout().write_all(lines.as_bytes())?)
}

/// The least that can answer: one thread that reads what its watch names, writes the same answer to all, and removes
/// it. Until it is killed.
fn answer(socket: &str, domain: &str) -> Outcome {
    let data = format!("/local/domain/{domain}/data");
    let (mut watches, mut store) = (Store::open(socket)?, Store::open(socket)?);
    watches.ask(&packet(WATCH, format!("{data}/host\0t\0").as_bytes()))?;
    ready()?;
    let requests = format!("{data}/host/");
    loop {
        let event = watches.receive()?;
        let path = event.text();
        let Some(id) = path.strip_prefix(&requests) else {
            continue;
        };
        // Gone when the event is for the removal below.
        if store
            .ask(&packet(READ, format!("{path}\0").as_bytes()))
            .is_err()
        {
            continue;
        }
        let reply = format!("{data}/guest/{id}\0{{\"returncode\":\"0\",\"message\":\"0\"}}");
        store.ask(&packet(WRITE, reply.as_bytes()))?;
        store.ask(&packet(REMOVE, format!("{path}\0").as_bytes()))?;
    }
}

/// The host's side of `version`; prints microseconds to the answer and of a plain READ, a pair a line.
fn host(socket: &str, domain: &str, rounds: usize) -> Outcome {
    let mut store = Store::open(socket)?;
    let data = format!("/local/domain/{domain}/data");
    store.ask(&packet(WATCH, format!("{data}/guest\0t\0").as_bytes()))?;
    store.ask(&packet(WRITE, format!("{data}/probe\0x").as_bytes()))?;
    let read = packet(READ, format!("{data}/probe\0").as_bytes());
    let mut lines = String::new();
    for round in 0..rounds {
        let answer = format!("{data}/guest/{round:036}");
        let body = format!("{data}/host/{round:036}\0{{\"name\": \"version\", \"value\": \"\"}}");
        let request = packet(WRITE, body.as_bytes());
        let started = now();
        store.send(&request)?;
        loop {
            let message = store.receive()?;
            if message.kind == WATCH_EVENT && message.text() == answer {
                break;
            }
        }
        let answered = now() - started;
        // The agent's removal of the request is no part of it, and must not meet the READ either.
        thread::sleep(Duration::from_millis(2));
        let started = now();
        store.ask(&read)?;
        lines += &format!(
            "{} {}\n",
            answered as f64 / 1e3,
            (now() - started) as f64 / 1e3
        );
        let text = store.ask(&packet(READ, format!("{answer}\0").as_bytes()))?;
        if !String::from_utf8_lossy(&text.body).contains("\"returncode\":\"0\"") {
            return Err(format!("not an answer: {}", text.text()).into());
        }
        store.ask(&packet(REMOVE, format!("{answer}\0").as_bytes()))?;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(stdout().write_all(lines.as_bytes())?)
}
