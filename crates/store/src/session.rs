//! Operations: what each client holds, and what each message does.

use std::collections::{BTreeMap, BTreeSet};

use xenstore::wire::{self, Op, Packet};
use xenstore::{check_path, check_watch_path};

use crate::tree::{Access, Change, Effect, Permission, Refusal, Tree, parent};

/// Longest payload of a message, in bytes.
pub const PAYLOAD: usize = 4096;
const WATCHES: usize = 128;
const TRANSACTIONS: usize = 10;
const OK: &[u8] = b"OK\0";

const CONTROL: Op = Op(0);
const INTRODUCE: Op = Op(8);
const RELEASE: Op = Op(9);
const IS_DOMAIN_INTRODUCED: Op = Op(17);
const RESUME: Op = Op(18);
const SET_TARGET: Op = Op(19);

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
    tree: Tree,
    /// The newest change that the transaction started from.
    base: u64,
    changes: Vec<Change>,
    /// What was looked at, and the generation that it had (none: it was missing).
    seen: BTreeMap<String, Option<u64>>,
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
        let done = |()| Reply::Body(OK.to_vec());
        match op {
            Op::READ => self.look(client, transaction, body, Access::Read, |node| {
                Ok(node.value.clone())
            }),
            Op::GET_PERMS => self.look(client, transaction, body, Access::Read, |node| {
                let texts = node
                    .permissions
                    .iter()
                    .map(|entry| format!("{}{}\0", char::from(entry.letter), entry.domid));
                Ok(texts.collect::<String>().into_bytes())
            }),
            Op::DIRECTORY => self.look(client, transaction, body, Access::Read, |node| {
                let names = names(node.children.iter());
                if names.len() > PAYLOAD {
                    Err("E2BIG")
                } else {
                    Ok(names)
                }
            }),
            Op::DIRECTORY_PART => {
                let (path, offset) = two(body)?;
                let offset: usize = decimal(offset)?;
                self.look(client, transaction, path, Access::Read, |node| {
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
                let mut fields = body
                    .strip_suffix(b"\0")
                    .ok_or("EINVAL")?
                    .split(|&byte| byte == 0);
                let path = absolute(domid, fields.next().unwrap_or_default())?;
                let permissions: Option<Vec<Permission>> = fields.map(Permission::parse).collect();
                let permissions = permissions
                    .filter(|list| !list.is_empty())
                    .ok_or("EINVAL")?;
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
            Op::TRANSACTION_START => self.start(client, transaction, body),
            Op::TRANSACTION_END => self.end(client, transaction, body, out).map(done),
            Op::GET_DOMAIN_PATH => {
                let domid: u32 = decimal(one(body)?)?;
                Ok(Reply::Body(format!("/local/domain/{domid}\0").into_bytes()))
            }
            Op::RESET_WATCHES => {
                let client = self.client_mut(client)?;
                client.watches.clear();
                client.transactions.clear();
                Ok(done(()))
            }
            IS_DOMAIN_INTRODUCED if domid == 0 => {
                let known = self.domains.contains(&decimal(one(body)?)?);
                Ok(Reply::Body(if known {
                    b"T\0".to_vec()
                } else {
                    b"F\0".to_vec()
                }))
            }
            CONTROL | INTRODUCE | RELEASE | RESUME | SET_TARGET | IS_DOMAIN_INTRODUCED
                if domid != 0 =>
            {
                Err("EACCES")
            }
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

    /// Hands the node at the path in `body` to `answer`.
    fn look(
        &mut self,
        client: u64,
        transaction: u32,
        body: &[u8],
        wanted: Access,
        answer: impl FnOnce(&crate::tree::Node) -> Result<Vec<u8>, Refusal>,
    ) -> Result<Reply, Refusal> {
        let domid = self.client(client)?.domid;
        let path = absolute(domid, body.strip_suffix(b"\0").unwrap_or(body))?;
        if transaction == 0 {
            return answer(self.tree.open(domid, &path, wanted)?).map(Reply::Body);
        }
        let transaction = self.transaction(client, transaction)?;
        transaction.see(&path);
        answer(transaction.tree.open(domid, &path, wanted)?).map(Reply::Body)
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
        let transaction = self.transaction(client, transaction)?;
        // Whoever writes a node has looked at it; making or removing one reads the list that its name stands in.
        transaction.see(change.path());
        if transaction.tree.get(change.path()).is_none() || matches!(change, Change::Remove { .. })
        {
            transaction.see(parent(change.path()));
        }
        transaction.tree.apply(domid, &change)?;
        transaction.changes.push(change);
        Ok(())
    }

    fn transaction(&mut self, client: u64, id: u32) -> Result<&mut Transaction, Refusal> {
        self.client_mut(client)?
            .transactions
            .get_mut(&id)
            .ok_or("ENOENT")
    }

    fn start(&mut self, client: u64, transaction: u32, body: &[u8]) -> Result<Reply, Refusal> {
        one(body)?;
        if transaction != 0 {
            return Err("EBUSY");
        }
        let fresh = Transaction {
            tree: self.tree.clone(),
            base: self.tree.generation(),
            changes: Vec::new(),
            seen: BTreeMap::new(),
        };
        let id = self.next_transaction;
        let domid = self.client(client)?.domid;
        if domid != 0 && self.held(domid, |client| client.transactions.len()) >= TRANSACTIONS {
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
        if !ended.seen.iter().all(unchanged) {
            return Err("EAGAIN");
        }
        let domid = self.client(client)?.domid;
        for change in &ended.changes {
            if let Ok(Some(effect)) = self.tree.apply(domid, change) {
                self.tell(&effect, out);
            }
        }
        Ok(())
    }

    fn watch(&mut self, client: u64, body: &[u8]) -> Result<Reply, Refusal> {
        let (given, token) = two(body)?;
        let domid = self.client(client)?.domid;
        let path = watched(domid, given)?;
        let given = String::from_utf8_lossy(given).into_owned();
        let full = domid != 0 && self.held(domid, |client| client.watches.len()) >= WATCHES;
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
        let path = watched(client.domid, given)?;
        let at = client
            .watches
            .iter()
            .position(|watch| watch.path == path && watch.token == token);
        client.watches.remove(at.ok_or("ENOENT")?);
        Ok(())
    }

    /// Tells every watcher that may know.
    fn tell(&self, effect: &Effect, out: &mut Vec<Outgoing>) {
        for (&id, client) in &self.clients {
            for watch in &client.watches {
                if covers(&watch.path, &effect.path) {
                    if self.may_know(client.domid, &effect.path) {
                        out.push(event(id, &watch.told(&effect.path), &watch.token));
                    }
                } else if effect.removed.contains(&watch.path)
                    && self.may_know(client.domid, &effect.path)
                {
                    // A watch below what was removed hears of its own node.
                    out.push(event(id, &watch.given, &watch.token));
                }
            }
        }
    }

    fn may_know(&self, domid: u32, path: &str) -> bool {
        if path.starts_with('@') {
            return domid == 0;
        }
        self.tree.nearest(path).allows(domid, Access::Read)
            || self.tree.nearest(parent(path)).allows(domid, Access::Read)
    }
}

impl Transaction {
    fn see(&mut self, path: &str) {
        let generation = self.tree.get(path).map(|node| node.generation);
        // What the transaction made or changed itself is nobody else's to change.
        if generation <= Some(self.base) {
            self.seen.entry(path.to_owned()).or_insert(generation);
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
    check_path(path).map_err(|_| "EINVAL")?;
    Ok(if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/local/domain/{domid}/{path}")
    })
}

fn watched(domid: u32, path: &[u8]) -> Result<String, Refusal> {
    if path.starts_with(b"@") {
        let path = std::str::from_utf8(path).map_err(|_| "EINVAL")?;
        return check_watch_path(path)
            .map(|()| path.to_owned())
            .map_err(|_| "EINVAL");
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

fn decimal<Number: std::str::FromStr>(text: &[u8]) -> Result<Number, Refusal> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or("EINVAL")
}

fn names<'a>(children: impl Iterator<Item = &'a String>) -> Vec<u8> {
    children.flat_map(|name| name.bytes().chain([0])).collect()
}

/// A piece of a list of names: the generation, whole names from `offset` on, and an empty name at the very end.
fn part(generation: u64, children: &[String], offset: usize) -> Vec<u8> {
    let mut body = format!("{generation}\0").into_bytes();
    let list = names(children.iter());
    let Some(rest) = list
        .get(offset..)
        .filter(|rest| !rest.is_empty() || list.is_empty())
    else {
        return body;
    };
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
