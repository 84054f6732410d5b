//! Brings a guest into the situations that its agent has to live through:
//!
//! - `drill straggler DEVICE NODE FILE` appends a letter to NODE in a transaction and leaves that open until FILE is
//!   there. A guest that is restored in between has another store, where the transaction's number is nobody's, or
//!   already somebody else's: the letter must come out once all the same. Prints how often the transaction was run.
//! - `drill nodes DEVICE NODE` makes nodes below NODE until the store has no room for more.
//! - `drill watches DEVICE NODE` watches NODE until the store takes no more watches, and holds them until it is killed.

use std::error::Error;
use std::io::{Write, stdout};
use std::path::Path;
use std::thread;
use std::time::Duration;

use xenstore::{Client, XenStoreError};

type Outcome = Result<(), Box<dyn Error>>;

/// A directory's own size is limited too: not too many names in one.
const NAMES: usize = 50;
/// More than any store's quota.
const PLENTY: usize = 100_000;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["straggler", device, node, file] => straggler(&open(device)?, node, Path::new(file)),
        ["nodes", device, node] => nodes(&open(device)?, node),
        ["watches", device, node] => watches(&open(device)?, node),
        _ => Err(
            "wanted: straggler DEVICE NODE FILE, nodes DEVICE NODE, or watches DEVICE NODE".into(),
        ),
    }
}

fn open(device: &str) -> Result<Client, XenStoreError> {
    Client::open(Some(Path::new(device)))
}

fn straggler(client: &Client, node: &str, file: &Path) -> Outcome {
    let mut runs = 0;
    client.transaction(5, |transaction| {
        runs += 1;
        let mut value = match transaction.read(node) {
            Ok(value) => value,
            Err(XenStoreError::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        value.push(b'x');
        transaction.write(node, &value)?;
        if runs == 1 {
            say("open");
            while !file.exists() {
                thread::sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    })?;
    say(&format!("ended after {runs}"));
    Ok(())
}

fn nodes(client: &Client, node: &str) -> Outcome {
    for number in 0..PLENTY {
        match client.write(&format!("{node}/{}/{number}", number / NAMES), b"") {
            Ok(()) => {}
            Err(XenStoreError::Refused { name, .. }) => {
                say(&format!("full after {number}: {name}"));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err("the store has no quota of nodes".into())
}

fn watches(client: &Client, node: &str) -> Outcome {
    let mut held = Vec::new();
    for number in 0..PLENTY {
        match client.watch(node, |_| {}) {
            Ok(watch) => held.push(watch),
            Err(XenStoreError::Refused { name, .. }) => {
                say(&format!("full after {number}: {name}"));
                loop {
                    thread::park();
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err("the store has no quota of watches".into())
}

fn say(line: &str) {
    // Whoever started it looks for the line; without anybody there is nobody to tell.
    drop(writeln!(stdout(), "{line}"));
}
