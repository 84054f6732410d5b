//! A client that waits. It serves tests, examples and the benchmark, and whoever has threads; the addon drives
//! [`Connection`] from Node's event loop instead.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, SystemTime};

use crate::channel::{Channel, lock};
use crate::connection::Connection;
use crate::endpoint::{Endpoint, Kind};
use crate::error::{Result, XenStoreError};
use crate::operation::{Listing, Operation, Step, split_names};
use crate::session::until_nul;
use crate::watch::{Watch, Watcher};

/// Longest pause between two attempts at a transaction.
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

/// A client that waits. It may be shared between threads: each waits for its own reply, several at once.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    requests: Arc<Channel>,
    watches: Arc<Watcher>,
    watch_thread: Mutex<Option<JoinHandle<()>>>,
    /// The thread that has the one transaction open that there may be: a refused TRANSACTION_START breaks a guest's
    /// later suspend, so the quota must never be met.
    transaction: Mutex<Option<ThreadId>>,
    transaction_ended: Condvar,
}

impl Client {
    /// Connects to the named device or socket, or to the machine's own when there is no name.
    ///
    /// # Errors
    /// [`XenStoreError::NoEndpoint`] or [`XenStoreError::Io`].
    pub fn open(path: Option<&Path>) -> Result<Self> {
        let endpoint = path.map_or_else(Endpoint::detect, Endpoint::named)?;
        let requests = Connection::open(&endpoint)?;
        let watches = Connection::open(&endpoint)?;
        Self::over(endpoint, requests, watches)
    }

    /// Takes over two connections: one for requests, one for watches.
    ///
    /// # Errors
    /// [`XenStoreError::Io`] when the system has no descriptors or threads left.
    pub fn over(
        endpoint: Endpoint,
        requests: Connection<()>,
        watches: Connection<()>,
    ) -> Result<Self> {
        let watches = Arc::new(Watcher::new(Channel::new(watches)?));
        Ok(Self {
            endpoint,
            requests: Arc::new(Channel::new(requests)?),
            watches,
            watch_thread: Mutex::new(None),
            transaction: Mutex::new(None),
            transaction_ended: Condvar::new(),
        })
    }

    /// Where it is connected to.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A node's value.
    ///
    /// # Errors
    /// [`XenStoreError::NotFound`], [`XenStoreError::Refused`] and, as everywhere, what a lost connection brings.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.call(&Operation::Read, 0, path)
    }

    /// Sets a node's value; makes it, and its parents, if need be.
    ///
    /// # Errors
    /// [`XenStoreError::TooLarge`], [`XenStoreError::Refused`].
    pub fn write(&self, path: &str, value: &[u8]) -> Result<()> {
        self.call(&Operation::Write(value), 0, path).map(drop)
    }

    /// Names of a node's children, however many.
    ///
    /// # Errors
    /// [`XenStoreError::NotFound`]; [`XenStoreError::Conflict`] when a long list kept changing.
    pub fn list(&self, path: &str) -> Result<Vec<String>> {
        self.list_in(0, path)
    }

    /// Makes a node and its parents; one that is there stays as it is.
    ///
    /// # Errors
    /// [`XenStoreError::Refused`].
    pub fn make_directory(&self, path: &str) -> Result<()> {
        self.call(&Operation::MakeDirectory, 0, path).map(drop)
    }

    /// Removes a node and all below it.
    ///
    /// # Errors
    /// [`XenStoreError::NotFound`] when not even its parent is there.
    pub fn remove(&self, path: &str) -> Result<()> {
        self.call(&Operation::Remove, 0, path).map(drop)
    }

    /// A node's permissions, such as `n0`: the owner with everybody's, then those of single domains.
    ///
    /// # Errors
    /// [`XenStoreError::NotFound`].
    pub fn get_permissions(&self, path: &str) -> Result<Vec<String>> {
        Ok(split_names(&self.call(
            &Operation::GetPermissions,
            0,
            path,
        )?))
    }

    /// Sets a node's permissions, in the form of [`Client::get_permissions`].
    ///
    /// # Errors
    /// [`XenStoreError::Refused`].
    pub fn set_permissions(&self, path: &str, permissions: &[String]) -> Result<()> {
        self.call(&Operation::SetPermissions(permissions), 0, path)
            .map(drop)
    }

    /// The home of a domain, whether or not there is such a domain.
    ///
    /// # Errors
    /// What a lost connection brings.
    pub fn domain_path(&self, domid: u32) -> Result<String> {
        let body = self.call(&Operation::DomainPath(domid), 0, "")?;
        Ok(String::from_utf8_lossy(until_nul(&body)).into_owned())
    }

    /// Drops every watch of this client, at the store too.
    ///
    /// # Errors
    /// [`XenStoreError::NotOnDevice`]: there it would drop the kernel's own.
    pub fn reset_watches(&self) -> Result<()> {
        if self.endpoint.kind() == Kind::Device {
            return Err(XenStoreError::NotOnDevice {
                operation: "RESET_WATCHES",
            });
        }
        self.watches.reset()
    }

    /// Calls `on_event` with the path of every change at or below `path`, and once at the beginning, from a thread of
    /// the client's. Events say that something may have changed: read again, count nothing.
    ///
    /// # Errors
    /// [`XenStoreError::Refused`], as when the quota is used up.
    pub fn watch(&self, path: &str, on_event: impl FnMut(&str) + Send + 'static) -> Result<Watch> {
        self.start_watch_thread()?;
        self.watches.set(path, Box::new(on_event))
    }

    /// Runs `body` in a transaction, and again when somebody else's change came between, `attempts` times in all.
    /// What `body` writes is seen by all or nobody. When it fails, nothing of it stays.
    ///
    /// # Errors
    /// Those of `body`; [`XenStoreError::Conflict`] after the last attempt; `EBUSY` inside another transaction.
    pub fn transaction<T>(
        &self,
        attempts: u32,
        mut body: impl FnMut(&Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        let _turn = self.take_turn()?;
        for attempt in 0..attempts {
            if attempt > 0 {
                thread::sleep(pause(attempt));
            }
            let mut transaction = Transaction::start(self)?;
            let value = body(&transaction)?;
            match transaction.end(true) {
                // The store forgot it, as after a migration: its number may already be somebody else's.
                Err(XenStoreError::NotFound { .. }) => {}
                Err(XenStoreError::Refused { name, .. }) if name == "EAGAIN" || name == "EIO" => {}
                ended => return ended.map(|()| value),
            }
        }
        Err(XenStoreError::Conflict { attempts })
    }

    /// Closes it: whatever waits fails, every watch ends.
    pub fn close(&self) {
        const REASON: &str = "it was closed";
        self.requests.lose(REASON);
        self.watches.channel.lose(REASON);
        let thread = lock(&self.watch_thread).take();
        // A callback that closes the client must not wait for itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id())
        {
            // A callback's panic was already reported by its own thread.
            drop(thread.join());
        }
    }

    fn call(&self, operation: &Operation<'_>, transaction: u32, path: &str) -> Result<Vec<u8>> {
        self.requests
            .call(operation, transaction, path)?
            .map_err(|name| XenStoreError::named(path, &name))
    }

    fn list_in(&self, transaction: u32, path: &str) -> Result<Vec<String>> {
        let mut listing = Listing::default();
        let mut operation = Operation::Directory;
        loop {
            let reply = self.requests.call(&operation, transaction, path)?;
            match listing.advance(path, reply)? {
                Step::Ask(next) => operation = next,
                Step::Done(names) => return Ok(names),
            }
        }
    }

    fn start_watch_thread(&self) -> Result<()> {
        let mut thread = lock(&self.watch_thread);
        if thread.is_none() {
            let watches = Arc::clone(&self.watches);
            let spawned = thread::Builder::new()
                .name("xenstore-watch".to_owned())
                .spawn(move || watches.run());
            *thread = Some(
                spawned
                    .map_err(|error| XenStoreError::io("starting a thread for watches", error))?,
            );
        }
        Ok(())
    }

    fn take_turn(&self) -> Result<Turn<'_>> {
        let me = thread::current().id();
        let mut holder = lock(&self.transaction);
        while let Some(other) = *holder {
            if other == me {
                return Err(XenStoreError::named(
                    "a transaction inside another",
                    "EBUSY",
                ));
            }
            holder = self
                .transaction_ended
                .wait(holder)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *holder = Some(me);
        Ok(Turn(self))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.close();
    }
}

/// The right to have a transaction open.
struct Turn<'a>(&'a Client);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *lock(&self.0.transaction) = None;
        self.0.transaction_ended.notify_one();
    }
}

/// A view of the store in which nobody else changes anything. Dropped without a commit, nothing of it stays.
#[derive(Debug)]
pub struct Transaction<'a> {
    client: &'a Client,
    /// 0 once it has ended: END with 0 is never answered by the kernel's device.
    id: u32,
}

impl<'a> Transaction<'a> {
    fn start(client: &'a Client) -> Result<Self> {
        let body = client.call(
            &Operation::TransactionStart,
            0,
            "the start of a transaction",
        )?;
        let id = std::str::from_utf8(until_nul(&body))
            .ok()
            .and_then(|id| id.parse().ok());
        match id {
            Some(id) if id != 0 => Ok(Self { client, id }),
            _ => Err(XenStoreError::Protocol {
                reason: "a transaction without a number".to_owned(),
            }),
        }
    }

    /// As [`Client::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.client.call(&Operation::Read, self.id, path)
    }

    /// As [`Client::write`].
    ///
    /// # Errors
    /// As there.
    pub fn write(&self, path: &str, value: &[u8]) -> Result<()> {
        self.client
            .call(&Operation::Write(value), self.id, path)
            .map(drop)
    }

    /// As [`Client::list`].
    ///
    /// # Errors
    /// As there.
    pub fn list(&self, path: &str) -> Result<Vec<String>> {
        self.client.list_in(self.id, path)
    }

    /// As [`Client::make_directory`].
    ///
    /// # Errors
    /// As there.
    pub fn make_directory(&self, path: &str) -> Result<()> {
        self.client
            .call(&Operation::MakeDirectory, self.id, path)
            .map(drop)
    }

    /// As [`Client::remove`].
    ///
    /// # Errors
    /// As there.
    pub fn remove(&self, path: &str) -> Result<()> {
        self.client
            .call(&Operation::Remove, self.id, path)
            .map(drop)
    }

    fn end(&mut self, commit: bool) -> Result<()> {
        match std::mem::take(&mut self.id) {
            0 => Ok(()),
            id => self
                .client
                .call(
                    &Operation::TransactionEnd(commit),
                    id,
                    "the end of a transaction",
                )
                .map(drop),
        }
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // There is nobody left to tell; a store that lost it has dropped it too.
        drop(self.end(false));
    }
}

fn pause(attempt: u32) -> Duration {
    let longest = Duration::from_millis(1 << attempt.min(6)).min(LONGEST_PAUSE);
    let jitter = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |now| now.subsec_nanos());
    longest.mul_f64(0.5 + f64::from(jitter % 1000) / 2000.0)
}
