//! One suite for every store: `conformance SOCKET-OR-DEVICE BASE [CASE]`.
//!
//! Works below the node BASE and removes it again, so that it can be run as dom0 and, with a relative BASE, as a guest,
//! on the embedded store, on xenstored and oxenstored, and on the kernel's device. Prints a line of TAP for each case.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use xenstore::{Client, Watch, XenStoreError};

type Outcome = Result<(), Box<dyn Error>>;

/// Long, because an emulated machine is slow.
const PATIENCE: Duration = Duration::from_secs(20);
/// By then an event that should not come would have come.
const QUIET: Duration = Duration::from_millis(100);

type Case = (&'static str, fn(&Place) -> Outcome);

const CASES: [Case; 17] = [
    (
        "values come back as they were written, whatever their bytes",
        values,
    ),
    ("what is missing is told apart from what is empty", missing),
    (
        "a path that is not legal is refused, and the next request is answered",
        bad_paths,
    ),
    (
        "a value that does not fit is refused before it is sent",
        too_large,
    ),
    (
        "nodes are made with their parents and removed with their children",
        tree,
    ),
    (
        "a node keeps the permissions that it was given",
        permissions,
    ),
    (
        "a watch fires at once, also where there is no node",
        first_event,
    ),
    (
        "a watch tells of writes, permissions and removals below it, in order",
        events,
    ),
    (
        "a node that is there already, or elsewhere, makes no event",
        no_event,
    ),
    (
        "two watches on one path are two, and a closed one is silent",
        two_watches,
    ),
    (
        "a path that is not legal cannot be watched, and the next watch can",
        bad_watch,
    ),
    ("a transaction is seen whole or not at all", transactions),
    (
        "a transaction that met another change is run again",
        conflicts,
    ),
    (
        "twenty threads take turns at transactions: none is refused",
        turns,
    ),
    (
        "watches come and go while requests are under way",
        watches_among_requests,
    ),
    (
        "requests that are under way together do not meddle with each other",
        together,
    ),
    ("the last of many writes is seen", flood),
];

struct Place {
    endpoint: PathBuf,
    base: String,
}

impl Place {
    fn client(&self) -> Result<Client, XenStoreError> {
        Client::open(Some(&self.endpoint))
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }
}

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let (Some(endpoint), Some(base)) = (arguments.next(), arguments.next()) else {
        return Err("wanted: conformance SOCKET-OR-DEVICE BASE [CASE]".into());
    };
    let place = Place {
        endpoint: endpoint.into(),
        base,
    };
    let wanted = arguments.next();
    let chosen = |name: &str| wanted.as_deref().is_none_or(|wanted| name.contains(wanted));
    let mut out = io::stdout();
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in CASES.into_iter().filter(|(name, _)| chosen(name)) {
        remove_base(&place)?;
        match case(&place) {
            Ok(()) => {
                passed += 1;
                writeln!(out, "ok {passed} - {name}")?;
            }
            Err(error) => {
                failed += 1;
                writeln!(out, "not ok - {name}: {error}")?;
            }
        }
    }
    remove_base(&place)?;
    writeln!(out, "{passed} passed, {failed} failed")?;
    if failed > 0 || passed == 0 {
        return Err("not every case passed".into());
    }
    Ok(())
}

fn remove_base(place: &Place) -> Outcome {
    match place.client()?.remove(&place.base) {
        Ok(()) | Err(XenStoreError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn same<T: PartialEq + std::fmt::Debug>(got: &T, wanted: &T) -> Outcome {
    if got == wanted {
        return Ok(());
    }
    Err(format!("wanted {wanted:?}, got {got:?}").into())
}

fn refused(result: Result<impl std::fmt::Debug, XenStoreError>, wanted: &[&str]) -> Outcome {
    match result {
        Err(XenStoreError::NotFound { .. }) if wanted.contains(&"ENOENT") => Ok(()),
        Err(XenStoreError::Refused { name, .. }) if wanted.contains(&name.as_str()) => Ok(()),
        other => Err(format!("wanted {wanted:?}, got {other:?}").into()),
    }
}

/// Sets a watch and takes its first event.
fn watch(client: &Client, path: &str) -> Result<(Watch, Receiver<String>), Box<dyn Error>> {
    let (sender, events) = channel();
    let watch = client.watch(path, move |path| {
        // Whoever listened has heard enough.
        drop(sender.send(path.to_owned()));
    })?;
    same(&events.recv_timeout(PATIENCE)?, &path.to_owned())?;
    Ok((watch, events))
}

fn quiet(events: &Receiver<String>) -> Outcome {
    match events.recv_timeout(QUIET) {
        Err(RecvTimeoutError::Timeout) => Ok(()),
        other => Err(format!("wanted no event, got {other:?}").into()),
    }
}

fn values(place: &Place) -> Outcome {
    let client = place.client()?;
    let path = place.at("value");
    let all: Vec<u8> = (0..=255).collect();
    for value in [
        &[][..],
        &[0],
        b"text",
        &[0xff, 0, 0x80],
        &all,
        &[b'x'; 1900],
    ] {
        client.write(&path, value)?;
        same(&client.read(&path)?, &value.to_vec())?;
    }
    Ok(())
}

fn missing(place: &Place) -> Outcome {
    let client = place.client()?;
    client.write(&place.at("empty"), b"")?;
    same(&client.read(&place.at("empty"))?, &Vec::new())?;
    same(&client.list(&place.at("empty"))?, &Vec::new())?;
    refused(client.read(&place.at("none")), &["ENOENT"])?;
    refused(client.list(&place.at("none")), &["ENOENT"])?;
    refused(client.get_permissions(&place.at("none")), &["ENOENT"])
}

fn bad_paths(place: &Place) -> Outcome {
    let client = place.client()?;
    client.write(&place.at("here"), b"1")?;
    for bad in ["//x", "a//b", "a/", "a b", "", "a\0b", "\u{e9}"] {
        match client.read(bad) {
            Err(XenStoreError::InvalidPath { .. }) => {}
            other => return Err(format!("{bad:?}: {other:?}").into()),
        }
    }
    same(&client.read(&place.at("here"))?, &b"1".to_vec())
}

fn too_large(place: &Place) -> Outcome {
    let client = place.client()?;
    let path = place.at("large");
    let limit = client.endpoint().kind().payload_limit();
    match client.write(&path, &vec![b'x'; limit - path.len()]) {
        Err(XenStoreError::TooLarge { .. }) => {}
        other => return Err(format!("wanted TooLarge, got {other:?}").into()),
    }
    // The largest message that fits is answered, be it with the store's own refusal of so large a node.
    match client.write(&path, &vec![b'x'; limit - path.len() - 1]) {
        Ok(()) => same(&client.read(&path)?.len(), &(limit - path.len() - 1)),
        refusal => refused(refusal, &["ENOSPC", "E2BIG", "EQUOTA"]),
    }
}

fn tree(place: &Place) -> Outcome {
    let client = place.client()?;
    client.make_directory(&place.at("a/b/c"))?;
    client.make_directory(&place.at("a/b"))?;
    client.write(&place.at("a/x"), b"1")?;
    let mut names = client.list(&place.at("a"))?;
    names.sort();
    same(&names, &vec!["b".to_owned(), "x".to_owned()])?;
    client.remove(&place.at("a/b"))?;
    refused(client.read(&place.at("a/b/c")), &["ENOENT"])?;
    // What is gone already is quiet while its parent is there.
    client.remove(&place.at("a/b"))?;
    // As many names as a guest's quota of bytes a node lets it have.
    for number in 0..100 {
        client.write(&place.at(&format!("many/{number}")), b"")?;
    }
    same(&client.list(&place.at("many"))?.len(), &100)
}

fn permissions(place: &Place) -> Outcome {
    let client = place.client()?;
    let path = place.at("shared");
    client.write(&path, b"")?;
    let owner = client.get_permissions(&path)?.first().cloned();
    let owner = owner.ok_or("a node without permissions")?;
    let given = vec![owner, "r3".to_owned(), "b4".to_owned()];
    client.set_permissions(&path, &given)?;
    same(&client.get_permissions(&path)?, &given)?;
    refused(
        client.set_permissions(&path, &["x".to_owned()]),
        &["EINVAL"],
    )
}

fn first_event(place: &Place) -> Outcome {
    let client = place.client()?;
    client.make_directory(&place.base)?;
    for _ in 0..20 {
        let (none, _events) = watch(&client, &place.at("none"))?;
        let (base, _events) = watch(&client, &place.base)?;
        none.close()?;
        base.close()?;
    }
    Ok(())
}

fn events(place: &Place) -> Outcome {
    let client = place.client()?;
    client.make_directory(&place.base)?;
    let (_watch, seen) = watch(&client, &place.base)?;
    let [one, deep, deeper] = ["one", "two", "two/three"].map(|name| place.at(name));
    client.write(&one, b"1")?;
    client.write(&one, b"1")?;
    client.write(&deeper, b"2")?;
    client.set_permissions(&one, &client.get_permissions(&one)?)?;
    client.remove(&deep)?;
    for wanted in [&one, &one, &deeper, &one, &deep] {
        same(&&seen.recv_timeout(PATIENCE)?, &wanted)?;
    }
    quiet(&seen)
}

fn no_event(place: &Place) -> Outcome {
    let client = place.client()?;
    client.write(&place.at("inside/x"), b"1")?;
    let (_watch, seen) = watch(&client, &place.at("inside"))?;
    client.make_directory(&place.at("inside/x"))?;
    client.write(&place.at("outside"), b"1")?;
    client.write(&place.at("insidelike"), b"1")?;
    quiet(&seen)
}

fn two_watches(place: &Place) -> Outcome {
    let client = place.client()?;
    client.make_directory(&place.base)?;
    let (first, to_first) = watch(&client, &place.base)?;
    let (_second, to_second) = watch(&client, &place.base)?;
    client.write(&place.at("x"), b"1")?;
    same(&to_first.recv_timeout(PATIENCE)?, &place.at("x"))?;
    same(&to_second.recv_timeout(PATIENCE)?, &place.at("x"))?;
    first.close()?;
    client.write(&place.at("y"), b"1")?;
    same(&to_second.recv_timeout(PATIENCE)?, &place.at("y"))?;
    match to_first.recv_timeout(QUIET) {
        Err(_) => Ok(()),
        Ok(path) => Err(format!("a closed watch told of {path}").into()),
    }
}

fn bad_watch(place: &Place) -> Outcome {
    let client = place.client()?;
    client.make_directory(&place.base)?;
    for bad in ["a//b", "a/", "a b", ""] {
        if client.watch(bad, |_| {}).is_ok() {
            return Err(format!("{bad:?} could be watched").into());
        }
    }
    let (_watch, seen) = watch(&client, &place.base)?;
    client.write(&place.at("x"), b"1")?;
    same(&seen.recv_timeout(PATIENCE)?, &place.at("x"))
}

fn transactions(place: &Place) -> Outcome {
    let (client, other) = (place.client()?, place.client()?);
    client.make_directory(&place.base)?;
    let (_watch, seen) = watch(&other, &place.base)?;
    let [x, y] = ["x", "y"].map(|name| place.at(name));
    client.transaction(5, |transaction| {
        transaction.write(&x, b"1")?;
        transaction.write(&y, b"2")?;
        match other.read(&x) {
            Err(XenStoreError::NotFound { .. }) => {}
            early => {
                return Err(XenStoreError::named(
                    "seen before the end",
                    &format!("{early:?}"),
                ));
            }
        }
        transaction.read(&y).map(drop)
    })?;
    same(&other.read(&y)?, &b"2".to_vec())?;
    let mut told = [seen.recv_timeout(PATIENCE)?, seen.recv_timeout(PATIENCE)?];
    told.sort();
    same(&told, &[x.clone(), y])?;
    let given_up = client.transaction(5, |transaction| {
        transaction.write(&x, b"3")?;
        Err::<(), _>(XenStoreError::named("given up", "EIO"))
    });
    if given_up.is_ok() {
        return Err("a body that failed was committed".into());
    }
    quiet(&seen)?;
    same(&other.read(&x)?, &b"1".to_vec())
}

fn conflicts(place: &Place) -> Outcome {
    let (client, other) = (place.client()?, place.client()?);
    let path = place.at("counter");
    client.write(&path, b"1")?;
    let mut runs = 0;
    client.transaction(5, |transaction| {
        runs += 1;
        let value = transaction.read(&path)?;
        if runs == 1 {
            other.write(&path, b"10")?;
        }
        transaction.write(&path, &[value, b"+1".to_vec()].concat())
    })?;
    same(&runs, &2)?;
    same(&client.read(&path)?, &b"10+1".to_vec())
}

fn turns(place: &Place) -> Outcome {
    let client = place.client()?;
    let path = place.at("sum");
    client.write(&path, b"0")?;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| {
                    client.transaction(20, |transaction| {
                        let sum: u32 = String::from_utf8_lossy(&transaction.read(&path)?)
                            .parse()
                            .unwrap_or_default();
                        transaction.write(&path, (sum + 1).to_string().as_bytes())
                    })
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().map_err(|_| "a thread panicked")??;
            Ok::<(), Box<dyn Error>>(())
        })
    })?;
    same(&client.read(&path)?, &b"20".to_vec())
}

/// What hangs a guest's XenStore for good when both use one descriptor of the kernel's device.
fn watches_among_requests(place: &Place) -> Outcome {
    let client = place.client()?;
    client.write(&place.at("x"), b"1")?;
    let path = place.at("x");
    thread::scope(|scope| {
        let readers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..100).try_for_each(|_| client.read(&path).map(drop))))
            .collect();
        for _ in 0..50 {
            let (watch, _seen) = watch(&client, &path)?;
            watch.close()?;
        }
        readers.into_iter().try_for_each(|reader| {
            reader.join().map_err(|_| "a thread panicked")??;
            Ok(())
        })
    })
}

/// The kernel's device keeps the body of a request in a buffer of the descriptor until the store has room for it: the
/// next one written to that descriptor overwrites it.
fn together(place: &Place) -> Outcome {
    let client = place.client()?;
    thread::scope(|scope| {
        let threads: Vec<_> = (10..26)
            .map(|thread| {
                let (client, path) = (&client, place.at(&thread.to_string()));
                scope.spawn(move || {
                    for round in 100..150 {
                        let value = format!("{thread} {round}");
                        client.write(&path, value.as_bytes())?;
                        let got = client.read(&path)?;
                        if got != value.as_bytes() {
                            return Err(XenStoreError::named(&path, &format!("{got:?}")));
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().map_err(|_| "a thread panicked")??;
            Ok(())
        })
    })
}

fn flood(place: &Place) -> Outcome {
    let (client, writer) = (place.client()?, place.client()?);
    let path = place.at("flood");
    writer.write(&path, b"0")?;
    let (_watch, seen) = watch(&client, &path)?;
    for number in 1..=500 {
        writer.write(&path, number.to_string().as_bytes())?;
    }
    // Equal events may be merged: what counts is what is read after the last one.
    loop {
        seen.recv_timeout(PATIENCE)?;
        if client.read(&path)? == b"500" {
            return Ok(());
        }
    }
}
