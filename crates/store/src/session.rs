//! Operations: what each client holds, and what each message does.

use std::collections::{BTreeMap, BTreeSet};

use xenstore::check_path;
use xenstore::wire::{self, Op, Packet};

use crate::tree::{Access, Change, Effect, Node, Permission, Refusal, Tree, parent};

/// Longest payload of a message, in bytes.
pub const PAYLOAD: usize = 4096;
/// Longest path, in bytes, below a domain's home or, elsewhere, below the root.
const PATH: usize = 2048;
const DOMAINS: &str = "/local/domain/";
/// A guest that has more gets no further one, so it may have one more: both real stores count so.
const WATCHES: usize = 128;
const TRANSACTIONS: usize = 10;
const OK: &[u8] = b"OK\0";

const IS_DOMAIN_INTRODUCED: Op = Op(17);
/// What dom0 alone may ask: also CONTROL, INTRODUCE, RELEASE, RESUME and SET_TARGET.
const PRIVILEGED: [Op; 6] = [Op(0), Op(8), Op(9), IS_DOMAIN_INTRODUCED, Op(18), Op(19)];
/// Types that no request has; the last was RESTRICT once.
const NO_REQUESTS: [Op; 3] = [Op::WATCH_EVENT, Op::ERROR, Op(20)];

/// One message for one client, in the order of sending.
pub struct Outgoing {
    pub client: u64,
    pub bytes: Vec<u8>,
    /// Equal events that are still to be sent are sent once.
    pub is_event: bool,
}

struct Watch {
    /// Absolute, or a special node such as `@releaseDomain`.
    path: String,
    /// The path as it was given; events are told in its terms.
    given: String,
    token: Vec<u8>,
}

struct Transaction {
    /// The store with the transaction's changes. What was not touched may be out of date.
    tree: Tree,
    changes: Vec<Change>,
    /// What was looked at or changed, and the generation that it had then (none: it was missing).
    touched: BTreeMap<String, Option<u64>>,
}

struct Client {
    domid: u32,
    watches: Vec<Watch>,
    transactions: BTreeMap<u32, Transaction>,
}

/// The whole store, without its sockets.
pub struct Store {
    tree: Tree,
    clients: BTreeMap<u64, Client>,
    domains: BTreeSet<u32>,
    next_transaction: u32,
}

enum Reply {
    Body(Vec<u8>),
    /// The reply, then a watch's first event.
    Watching {
        path: String,
        token: Vec<u8>,
    },
}

impl Store {
    pub fn new() -> Self {
        Self {
            tree: Tree::new(),
            clients: BTreeMap::new(),
            domains: BTreeSet::from([0]),
            next_transaction: 1,
        }
    }

    pub fn connect(&mut self, client: u64, domid: u32) {
        self.clients.insert(
            client,
            Client {
                domid,
                watches: Vec::new(),
                transactions: BTreeMap::new(),
            },
        );
    }

    /// Its watches and transactions go with it.
    pub fn disconnect(&mut self, client: u64) {
        self.clients.remove(&client);
    }

    /// Makes what a toolstack makes for a guest: its home, read-only, with the subtrees that are the guest's own.
    pub fn introduce(&mut self, domid: u32, out: &mut Vec<Outgoing>) {
        let home = format!("/local/domain/{domid}");
        let permissions = |entries: &[(u8, u32)]| -> Vec<Permission> {
            entries
                .iter()
                .map(|&(letter, domid)| Permission { letter, domid })
                .collect()
        };
        let read_only = permissions(&[(b'n', 0), (b'r', domid)]);
        let own = permissions(&[(b'n', domid)]);
        let mut changes = vec![
            Change::MakeDirectory { path: home.clone() },
            Change::SetPermissions {
                path: home.clone(),
                permissions: read_only.clone(),
            },
            Change::Write {
                path: format!("{home}/domid"),
                value: domid.to_string().into_bytes(),
            },
        ];
        for (name, permissions) in [
            ("vm-data", &own),
            ("data", &own),
            ("attr", &own),
            ("control", &own),
            ("feature", &own),
        ] {
            let path = format!("{home}/{name}");
            changes.push(Change::MakeDirectory { path: path.clone() });
            changes.push(Change::SetPermissions {
                path,
                permissions: permissions.clone(),
            });
        }
        for change in &changes {
            // dom0 is refused nothing here.
            if let Ok(Some(effect)) = self.tree.apply(0, change) {
                self.tell(&effect, out);
            }
        }
        self.domains.insert(domid);
        self.tell(
            &Effect {
                path: "@introduceDomain".to_owned(),
                removed: Vec::new(),
            },
            out,
        );
    }

    /// Carries one message out and appends what is to be sent.
    pub fn handle(&mut self, client: u64, packet: &Packet<'_>, out: &mut Vec<Outgoing>) {
        let header = packet.header;
        let result = self.dispatch(client, header.op, header.transaction, packet.body, out);
        let mut send = |op: Op, parts: &[&[u8]]| {
            let mut bytes = Vec::new();
            wire::encode(&mut bytes, op, header.request, header.transaction, parts);
            out.push(Outgoing {
                client,
                bytes,
                is_event: false,
            });
        };
        match result {
            Ok(Reply::Body(body)) => send(header.op, &[&body]),
            Ok(Reply::Watching { path, token }) => {
                send(header.op, &[OK]);
                out.push(event(client, &path, &token));
            }
            Err(refusal) => send(Op::ERROR, &[refusal.as_bytes(), b"\0"]),
        }
    }

    fn dispatch(
        &mut self,
        client: u64,
        op: Op,
        transaction: u32,
        body: &[u8],
        out: &mut Vec<Outgoing>,
    ) -> Result<Reply, Refusal> {
        let domid = self.client(client)?.domid;
        if domid != 0 && PRIVILEGED.contains(&op) {
            return Err("EACCES");
        }
        if op > Op::DIRECTORY_PART || NO_REQUESTS.contains(&op) {
            return Err("ENOSYS");
        }
        // Only watches stand outside of transactions.
        if transaction != 0 && op != Op::WATCH && op != Op::UNWATCH {
            self.transaction(client, transaction)?;
        }
        let done = |()| Reply::Body(OK.to_vec());
        match op {
            Op::READ => self.look(client, transaction, one(body)?, |node| {
                Ok(node.value.clone())
            }),
            Op::GET_PERMS => self.look(client, transaction, one(body)?, |node| {
                let texts = node
                    .permissions
                    .iter()
                    .map(|entry| format!("{}{}\0", char::from(entry.letter), entry.domid));
                Ok(texts.collect::<String>().into_bytes())
            }),
            Op::DIRECTORY => self.look(client, transaction, one(body)?, |node| {
                let names = names(node.children.iter());
                if names.len() > PAYLOAD {
                    Err("E2BIG")
                } else {
                    Ok(names)
                }
            }),
            Op::DIRECTORY_PART => {
                let (path, offset) = two(body)?;
                let offset = usize::try_from(number(offset)).unwrap_or(usize::MAX);
                self.look(client, transaction, path, |node| {
                    Ok(part(node.generation, &node.children, offset))
                })
            }
            Op::WRITE => {
                let at = body.iter().position(|&byte| byte == 0).ok_or("EINVAL")?;
                let (path, value) = body.split_at(at);
                let path = absolute(domid, path)?;
                let value = value.get(1..).unwrap_or_default().to_vec();
                self.change(client, transaction, Change::Write { path, value }, out)
                    .map(done)
            }
            Op::MKDIR => {
                let path = absolute(domid, one(body)?)?;
                self.change(client, transaction, Change::MakeDirectory { path }, out)
                    .map(done)
            }
            Op::RM => {
                let path = absolute(domid, one(body)?)?;
                self.change(client, transaction, Change::Remove { path }, out)
                    .map(done)
            }
            Op::SET_PERMS => {
                // What does not end in NUL does not count.
                let end = body.iter().rposition(|&byte| byte == 0).ok_or("EINVAL")?;
                let mut fields = body[..end].split(|&byte| byte == 0);
                let path = absolute(domid, fields.next().unwrap_or_default())?;
                let permissions: Vec<Permission> =
                    fields.map(Permission::parse).collect::<Result<_, _>>()?;
                if permissions.is_empty() {
                    return Err("EINVAL");
                }
                self.change(
                    client,
                    transaction,
                    Change::SetPermissions { path, permissions },
                    out,
                )
                .map(done)
            }
            Op::WATCH => self.watch(client, body),
            Op::UNWATCH => self.unwatch(client, body).map(done),
            Op::TRANSACTION_START => self.start(client, transaction),
            Op::TRANSACTION_END => self.end(client, transaction, body, out).map(done),
            Op::GET_DOMAIN_PATH => {
                let domid = number(one(body)?);
                Ok(Reply::Body(format!("/local/domain/{domid}\0").into_bytes()))
            }
            Op::RESET_WATCHES => {
                let client = self.client_mut(client)?;
                client.watches.clear();
                client.transactions.clear();
                Ok(done(()))
            }
            IS_DOMAIN_INTRODUCED => {
                let known = self.domains.contains(&number(one(body)?));
                Ok(Reply::Body(if known {
                    b"T\0".to_vec()
                } else {
                    b"F\0".to_vec()
                }))
            }
            // What only a toolstack asks.
            _ => Err("ENOSYS"),
        }
    }

    fn client(&self, client: u64) -> Result<&Client, Refusal> {
        self.clients.get(&client).ok_or("EIO")
    }

    fn client_mut(&mut self, client: u64) -> Result<&mut Client, Refusal> {
        self.clients.get_mut(&client).ok_or("EIO")
    }

    /// What all connections of one guest hold together: quotas are the guest's, not a connection's.
    fn held(&self, domid: u32, count: impl Fn(&Client) -> usize) -> usize {
        let own = self.clients.values().filter(|client| client.domid == domid);
        own.map(count).sum()
    }

    /// Hands the node at `path` to `answer`, if the client may read it.
    fn look(
        &mut self,
        client: u64,
        transaction: u32,
        path: &[u8],
        answer: impl FnOnce(&Node) -> Result<Vec<u8>, Refusal>,
    ) -> Result<Reply, Refusal> {
        let domid = self.client(client)?.domid;
        let path = absolute(domid, path)?;
        let tree = if transaction == 0 {
            &self.tree
        } else {
            let (store, transaction) = self.transaction(client, transaction)?;
            transaction.touch_way(store, &path);
            &transaction.tree
        };
        answer(tree.open(domid, &path, Access::Read)?).map(Reply::Body)
    }

    fn change(
        &mut self,
        client: u64,
        transaction: u32,
        change: Change,
        out: &mut Vec<Outgoing>,
    ) -> Result<(), Refusal> {
        let domid = self.client(client)?.domid;
        if transaction == 0 {
            if let Some(effect) = self.tree.apply(domid, &change)? {
                self.tell(&effect, out);
            }
            return Ok(());
        }
        let (store, transaction) = self.transaction(client, transaction)?;
        // Whoever changes a node has looked at it.
        transaction.touch_way(store, change.path());
        if matches!(change, Change::Remove { .. }) {
            transaction.touch_tree(store, change.path());
        }
        transaction.tree.apply(domid, &change)?;
        transaction.changes.push(change);
        Ok(())
    }

    /// The transaction, and the store that it is open on.
    fn transaction(&mut self, client: u64, id: u32) -> Result<(&Tree, &mut Transaction), Refusal> {
        let client = self.clients.get_mut(&client).ok_or("EIO")?;
        let transaction = client.transactions.get_mut(&id).ok_or("ENOENT")?;
        Ok((&self.tree, transaction))
    }

    fn start(&mut self, client: u64, transaction: u32) -> Result<Reply, Refusal> {
        if transaction != 0 {
            return Err("EBUSY");
        }
        let fresh = Transaction {
            tree: self.tree.clone(),
            changes: Vec::new(),
            touched: BTreeMap::new(),
        };
        let id = self.next_transaction;
        let domid = self.client(client)?.domid;
        if domid != 0 && self.held(domid, |client| client.transactions.len()) > TRANSACTIONS {
            return Err("ENOSPC");
        }
        let client = self.client_mut(client)?;
        client.transactions.insert(id, fresh);
        self.next_transaction = id.checked_add(1).unwrap_or(1);
        Ok(Reply::Body(format!("{id}\0").into_bytes()))
    }

    fn end(
        &mut self,
        client: u64,
        id: u32,
        body: &[u8],
        out: &mut Vec<Outgoing>,
    ) -> Result<(), Refusal> {
        let commit = match one(body)? {
            b"T" => true,
            b"F" => false,
            _ => return Err("EINVAL"),
        };
        let ended = self
            .client_mut(client)?
            .transactions
            .remove(&id)
            .ok_or("ENOENT")?;
        if !commit {
            return Ok(());
        }
        let unchanged = |(path, generation): (&String, &Option<u64>)| {
            self.tree.get(path).map(|node| node.generation) == *generation
        };
        if !ended.touched.iter().all(unchanged) {
            return Err("EAGAIN");
        }
        let domid = self.client(client)?.domid;
        let mut effects = Vec::new();
        for change in &ended.changes {
            effects.extend(self.tree.apply(domid, change).ok().flatten());
        }
        for effect in &effects {
            // What came and went within the transaction never was there.
            let was_there = ended.touched.get(&effect.path) != Some(&None);
            if was_there || self.tree.get(&effect.path).is_some() {
                self.tell(effect, out);
            }
        }
        Ok(())
    }

    fn watch(&mut self, client: u64, body: &[u8]) -> Result<Reply, Refusal> {
        let (given, token) = two(body)?;
        let domid = self.client(client)?.domid;
        let path = watched(domid, given)?;
        let given = String::from_utf8_lossy(given).into_owned();
        let full = domid != 0 && self.held(domid, |client| client.watches.len()) > WATCHES;
        let client = self.client_mut(client)?;
        if client
            .watches
            .iter()
            .any(|watch| watch.path == path && watch.token == token)
        {
            return Err("EEXIST");
        }
        if full {
            return Err("E2BIG");
        }
        client.watches.push(Watch {
            path,
            given: given.clone(),
            token: token.to_vec(),
        });
        Ok(Reply::Watching {
            path: given,
            token: token.to_vec(),
        })
    }

    fn unwatch(&mut self, client: u64, body: &[u8]) -> Result<(), Refusal> {
        let (given, token) = two(body)?;
        let client = self.client_mut(client)?;
        // A path that is not legal is watched by nobody.
        let path = watched(client.domid, given).map_err(|_| "ENOENT")?;
        let at = client
            .watches
            .iter()
            .position(|watch| watch.path == path && watch.token == token);
        client.watches.remove(at.ok_or("ENOENT")?);
        Ok(())
    }

    /// Tells every watcher that may know.
    fn tell(&self, effect: &Effect, out: &mut Vec<Outgoing>) {
        // A watch below what was removed hears of its own node.
        for (path, _) in &effect.removed {
            if *path != effect.path {
                self.tell_of(effect, path, |watch| watch.path == *path, out);
            }
        }
        let path = &effect.path;
        self.tell_of(effect, path, |watch| covers(&watch.path, path), out);
    }

    fn tell_of(
        &self,
        effect: &Effect,
        path: &str,
        concerns: impl Fn(&Watch) -> bool,
        out: &mut Vec<Outgoing>,
    ) {
        for (&id, client) in &self.clients {
            for watch in client.watches.iter().filter(|watch| concerns(watch)) {
                if self.may_know(client.domid, effect, path) {
                    out.push(event(id, &watch.told(path), &watch.token));
                }
            }
        }
    }

    /// Whether a client may read the node, or the one above it; of what was removed, as it was.
    fn may_know(&self, domid: u32, effect: &Effect, path: &str) -> bool {
        if path.starts_with('@') {
            return domid == 0;
        }
        [path, parent(path)].into_iter().any(|path| {
            let removed = effect.removed.iter().find(|(removed, _)| removed == path);
            let node = removed.map(|(_, node)| node);
            node.or_else(|| self.tree.get(path))
                .is_some_and(|node| node.allows(domid, Access::Read))
        })
    }
}

impl Transaction {
    /// Takes the node at `path` over from the store as it is now, when the transaction comes upon it for the first time.
    /// What others do to it from then on is not seen, and is a conflict.
    fn touch(&mut self, store: &Tree, path: &str) {
        if self.touched.contains_key(path) {
            return;
        }
        let node = store.get(path).cloned();
        self.touched
            .insert(path.to_owned(), node.as_ref().map(|node| node.generation));
        self.tree.put(path, node);
    }

    /// Touches the node at `path` and, where it is missing, those above it up to one that is there: it says what the
    /// client may know, and would get the node.
    fn touch_way(&mut self, store: &Tree, path: &str) {
        self.touch(store, path);
        let mut path = path;
        while self.tree.get(path).is_none() {
            path = parent(path);
            self.touch(store, path);
        }
    }

    /// Touches all that goes when `path` is removed, and the node above, in whose list it stands.
    fn touch_tree(&mut self, store: &Tree, path: &str) {
        self.touch(store, parent(path));
        for path in [self.tree.tree_at(path), store.tree_at(path)].concat() {
            self.touch(store, &path);
        }
    }
}

impl Watch {
    /// `path` in the terms in which the watch was set.
    fn told(&self, path: &str) -> String {
        match path.strip_prefix(&self.path) {
            Some(rest) if self.path != self.given => format!("{}{rest}", self.given),
            _ => path.to_owned(),
        }
    }
}

fn covers(watched: &str, path: &str) -> bool {
    match path.strip_prefix(watched) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || watched == "/",
        None => false,
    }
}

fn event(client: u64, path: &str, token: &[u8]) -> Outgoing {
    let mut bytes = Vec::new();
    wire::encode(
        &mut bytes,
        Op::WATCH_EVENT,
        0,
        0,
        &[path.as_bytes(), b"\0", token, b"\0"],
    );
    Outgoing {
        client,
        bytes,
        is_event: true,
    }
}

fn absolute(domid: u32, path: &[u8]) -> Result<String, Refusal> {
    let path = std::str::from_utf8(path).map_err(|_| "EINVAL")?;
    if path.starts_with('@') || check_path(path).is_err() {
        return Err("EINVAL");
    }
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{DOMAINS}{domid}/{path}")
    };
    if path.len() - home_length(&path) > PATH {
        return Err("EINVAL");
    }
    Ok(path)
}

/// Bytes of `/local/domain/N/` at the beginning of an absolute path: they do not count.
fn home_length(path: &str) -> usize {
    let inside = path
        .strip_prefix(DOMAINS)
        .and_then(|rest| rest.split_once('/'));
    match inside {
        Some((domid, rest))
            if (1..=5).contains(&domid.len())
                && domid.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            path.len() - rest.len()
        }
        _ => 0,
    }
}

fn watched(domid: u32, path: &[u8]) -> Result<String, Refusal> {
    // Whatever begins so is taken for a special node.
    if path.starts_with(b"@") {
        let path = std::str::from_utf8(path).map_err(|_| "EINVAL")?;
        return (path.len() <= PATH)
            .then(|| path.to_owned())
            .ok_or("EINVAL");
    }
    absolute(domid, path)
}

/// The one field of a payload, which ends in NUL.
fn one(body: &[u8]) -> Result<&[u8], Refusal> {
    let field = body.strip_suffix(b"\0").ok_or("EINVAL")?;
    if field.contains(&0) {
        Err("EINVAL")
    } else {
        Ok(field)
    }
}

fn two(body: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let mut fields = body
        .strip_suffix(b"\0")
        .ok_or("EINVAL")?
        .split(|&byte| byte == 0);
    match (fields.next(), fields.next(), fields.next()) {
        (Some(first), Some(second), None) => Ok((first, second)),
        _ => Err("EINVAL"),
    }
}

/// The number at the beginning, as C's `atoi` has it, by which both real stores read the number of a domain: what is none
/// is 0, and what is too large wraps.
fn number(text: &[u8]) -> u32 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let size = digits.fold(0_i64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(i64::from(digit - b'0'))
    });
    let value = if negative { -size } else { size };
    value as u32
}

fn names<'a>(children: impl Iterator<Item = &'a String>) -> Vec<u8> {
    children.flat_map(|name| name.bytes().chain([0])).collect()
}

/// A piece of a list of names: the generation, whole names from `offset` on, and an empty name at the very end.
fn part(generation: u64, children: &[String], offset: usize) -> Vec<u8> {
    let mut body = format!("{generation}\0").into_bytes();
    let list = names(children.iter());
    let rest = list.get(offset..).unwrap_or_default();
    let room = PAYLOAD - body.len();
    if rest.len() < room {
        body.extend_from_slice(rest);
        body.push(0);
    } else {
        let fits = rest.get(..room).unwrap_or(rest);
        let whole = fits
            .iter()
            .rposition(|&byte| byte == 0)
            .map_or(0, |at| at + 1);
        body.extend_from_slice(fits.get(..whole).unwrap_or_default());
    }
    body
}
