//! Watches that are told with the value of the node that they are about. No descriptors, no clock of its own.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use crate::{connection::Connection, operation::Operation, session::Event};

/// How many removals are remembered until their events come, and how long. An event that is not known costs a READ.
const REMOVALS: usize = 64;
const REMOVAL_EVENT: Duration = Duration::from_secs(5);

/// What there is to do about an event, before anybody is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// Pass it on as it is.
    Pass,
    /// Ask for the node's value, and pass both on.
    Read,
    /// Drop it: the node was removed over this connection, and nobody needs to be told.
    Drop,
}

/// What is known of a node's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing: it was not asked for, or the store does not give it.
    Unknown,
    /// There is no such node.
    Gone,
    /// Its bytes.
    Is(Vec<u8>),
}

/// What a watch is told of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// The node's path; for a watch with values from below the watched node on, and empty for the node itself and above:
    /// there is nothing to tell of those but that something may have happened.
    pub path: &'a str,
    /// Its value after the event, if it is a child of the watched node.
    pub value: Value,
}

/// The watches with values, and the removals whose events are still to come.
#[derive(Debug, Default)]
pub struct Values {
    /// The watched node of each, with a slash at its end.
    below: BTreeMap<u32, String>,
    /// Nodes that were removed, and until when their event counts as that of the removal. The oldest comes first.
    removed: VecDeque<(String, Instant)>,
}

impl Values {
    /// The watch with this number, on `path`, is told with values.
    pub fn add(&mut self, watch: u32, path: &str) {
        self.below.insert(watch, format!("{path}/"));
    }

    /// Forgets a watch.
    pub fn remove(&mut self, watch: u32) {
        self.below.remove(&watch);
    }

    /// Remembers that `path` is removed over this connection, if a watch will see that.
    pub fn note_removal(&mut self, path: &str, now: impl FnOnce() -> Instant) {
        if !self.below.values().any(|below| path.starts_with(below)) {
            return;
        }
        self.take_removal(path);
        self.removed
            .push_back((path.to_owned(), now() + REMOVAL_EVENT));
        if self.removed.len() > REMOVALS {
            self.removed.pop_front();
        }
    }

    /// What to do about an event of a watch.
    pub fn on_event(&mut self, watch: u32, path: &str, now: impl FnOnce() -> Instant) -> Ahead {
        if self.below(watch, path).is_none() {
            return Ahead::Pass;
        }
        match self.take_removal(path) {
            Some(until) if now() < until => Ahead::Drop,
            _ => Ahead::Read,
        }
    }

    /// As [`Values::on_event`], and sends the READ, whose reply `owner` waits for. False when the event is to be passed
    /// on as it is. However many there are: one that went unread would overtake those before it.
    #[cfg(target_os = "linux")]
    pub fn read_ahead<P>(
        &mut self,
        requests: &mut Connection<P>,
        event: &Event<P>,
        owner: impl FnOnce(u32) -> P,
    ) -> bool {
        let Event::Watch { watch, path } = event else {
            return false;
        };
        match self.on_event(*watch, path, Instant::now) {
            Ahead::Pass => false,
            Ahead::Drop => true,
            Ahead::Read => requests
                .send(&Operation::Read, 0, path, owner(*watch))
                .is_ok(),
        }
    }

    /// What a watch is told of an event; `reply` is the reply to the READ, if there was one. The value of a node further
    /// down than the watched one's children was read only to keep the order.
    #[must_use]
    pub fn tell<'a>(
        &self,
        watch: u32,
        path: &'a str,
        reply: Option<Result<Vec<u8>, String>>,
    ) -> Told<'a> {
        let path = match self.below.get(&watch) {
            Some(below) => path.strip_prefix(below.as_str()).unwrap_or_default(),
            None => path,
        };
        let value = match reply.filter(|_| !path.contains('/')) {
            Some(Ok(body)) => Value::Is(body),
            Some(Err(name)) if name == "ENOENT" => Value::Gone,
            Some(Err(_)) | None => Value::Unknown,
        };
        Told { path, value }
    }

    /// What stands below the watched node, of a path whose value is wanted.
    fn below<'a>(&self, watch: u32, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.below.get(&watch)?.as_str())
    }

    fn take_removal(&mut self, path: &str) -> Option<Instant> {
        let at = self.removed.iter().position(|(removed, _)| removed == path);
        at.and_then(|at| self.removed.remove(at))
            .map(|(_, until)| until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATCH: u32 = 1;

    fn values() -> Values {
        let mut values = Values::default();
        values.add(WATCH, "data");
        values
    }

    fn at(seconds: u64) -> impl Fn() -> Instant {
        let start = Instant::now();
        move || start + Duration::from_secs(seconds)
    }

    #[test]
    fn reads_what_is_below_a_watch_with_values_and_passes_the_rest_on() {
        let mut values = values();
        for (watch, path, wanted) in [
            (WATCH, "data/x", Ahead::Read),
            (WATCH, "data/x/y", Ahead::Read),
            (WATCH, "data", Ahead::Pass),
            (WATCH, "database/x", Ahead::Pass),
            (2, "data/x", Ahead::Pass),
        ] {
            assert_eq!(values.on_event(watch, path, Instant::now), wanted, "{path}");
        }
        values.remove(WATCH);
        assert_eq!(values.on_event(WATCH, "data/x", Instant::now), Ahead::Pass);
    }

    #[test]
    fn drops_the_event_of_a_removal_once_and_only_for_a_while() {
        let mut values = values();
        values.note_removal("data/x", at(0));
        assert_eq!(values.on_event(WATCH, "data/x", at(4)), Ahead::Drop);
        assert_eq!(values.on_event(WATCH, "data/x", at(4)), Ahead::Read);
        values.note_removal("data/x", at(0));
        assert_eq!(values.on_event(WATCH, "data/x", at(6)), Ahead::Read);
    }

    #[test]
    fn remembers_no_removal_that_no_watch_with_values_sees() {
        let mut values = values();
        values.note_removal("elsewhere/x", at(0));
        values.note_removal("data", at(0));
        assert!(values.removed.is_empty());
    }

    #[test]
    fn forgets_the_oldest_of_too_many_removals() {
        let mut values = values();
        // By name the first is the last.
        let names: Vec<String> = (0..=REMOVALS)
            .rev()
            .map(|n| format!("data/{n:03}"))
            .collect();
        for name in &names {
            values.note_removal(name, at(0));
        }
        let outcomes: Vec<Ahead> = names
            .iter()
            .map(|name| values.on_event(WATCH, name, at(0)))
            .collect();
        assert_eq!(outcomes[0], Ahead::Read);
        assert_eq!(outcomes[1..], [Ahead::Drop; REMOVALS]);
    }

    #[test]
    fn remembers_a_node_that_is_removed_again_as_the_newest() {
        let mut values = values();
        values.note_removal("data/again", at(0));
        for n in 1..REMOVALS {
            values.note_removal(&format!("data/{n}"), at(0));
        }
        values.note_removal("data/again", at(0));
        values.note_removal("data/one-more", at(0));
        assert_eq!(values.on_event(WATCH, "data/again", at(0)), Ahead::Drop);
        assert_eq!(values.on_event(WATCH, "data/1", at(0)), Ahead::Read);
    }

    #[test]
    fn tells_names_below_and_values_of_children_alone() {
        let values = values();
        let told = |path, reply| {
            let Told { path, value } = values.tell(WATCH, path, reply);
            (path, value)
        };
        let body = || Some(Ok(b"v".to_vec()));
        assert_eq!(told("data/x", body()), ("x", Value::Is(b"v".to_vec())));
        assert_eq!(told("data/x/y", body()), ("x/y", Value::Unknown));
        assert_eq!(
            told("data/x", Some(Err("ENOENT".to_owned()))),
            ("x", Value::Gone)
        );
        assert_eq!(
            told("data/x", Some(Err("EACCES".to_owned()))),
            ("x", Value::Unknown)
        );
        assert_eq!(told("data", None), ("", Value::Unknown));
        let other = values.tell(2, "data/x", None);
        assert_eq!((other.path, other.value), ("data/x", Value::Unknown));
    }
}
