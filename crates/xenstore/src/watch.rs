//! Watches of a [`crate::Client`], which serves tests, examples and the benchmark; the addon's are in its own hands.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use crate::channel::{Channel, lock};
use crate::error::{Result, XenStoreError};
use crate::operation::Operation;

type Callback = Arc<Mutex<Box<dyn FnMut(&str) + Send>>>;

/// A watch that is set until it is closed or dropped.
#[derive(Debug)]
pub struct Watch {
    watcher: Arc<Watcher>,
    number: u32,
    path: String,
    open: bool,
}

impl Watch {
    /// Takes the watch away. Nothing is called for it after this returns, unless it is being called right now.
    ///
    /// # Errors
    /// What the store refused; [`XenStoreError::Closed`] when the connection is gone, and with it the watch.
    pub fn close(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.open) {
            return Ok(());
        }
        self.watcher.forget(self.number);
        match self
            .watcher
            .channel
            .call(&Operation::Unwatch(self.number), 0, &self.path)?
        {
            Ok(_) => Ok(()),
            // A socket's store says so when RESET_WATCHES came before; the device never does.
            Err(name) if name == "ENOENT" => Ok(()),
            Err(name) => Err(XenStoreError::named(&self.path, &name)),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // There is nobody left to tell; a lost connection has no watches.
        drop(self.end());
    }
}

/// The watches of a client, on a connection of their own.
pub(crate) struct Watcher {
    pub(crate) channel: Channel,
    callbacks: Mutex<BTreeMap<u32, Callback>>,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

impl Watcher {
    pub(crate) fn new(channel: Channel) -> Self {
        Self {
            channel,
            callbacks: Mutex::new(BTreeMap::new()),
        }
    }

    pub(crate) fn set(
        self: &Arc<Self>,
        path: &str,
        on_event: Box<dyn FnMut(&str) + Send>,
    ) -> Result<Watch> {
        // Both are known before the WATCH is written: on the device the first event may come before the reply.
        let number = self.channel.lock().connection.add_watch();
        lock(&self.callbacks).insert(number, Arc::new(Mutex::new(on_event)));
        let answer = self.channel.call(&Operation::Watch(number), 0, path);
        match answer.and_then(|answer| answer.map_err(|name| XenStoreError::named(path, &name))) {
            Ok(_) => Ok(Watch {
                watcher: Arc::clone(self),
                number,
                path: path.to_owned(),
                open: true,
            }),
            Err(error) => {
                self.forget(number);
                Err(error)
            }
        }
    }

    pub(crate) fn reset(&self) -> Result<()> {
        lock(&self.callbacks).clear();
        let answer = self.channel.call(&Operation::ResetWatches, 0, "")?;
        answer
            .map(drop)
            .map_err(|name| XenStoreError::named("every watch", &name))
    }

    /// Calls whom it concerns, until the connection is gone.
    pub(crate) fn run(&self) {
        let _lose = LoseOnPanic(self);
        let mut state = self.channel.lock();
        loop {
            if let Some((number, path)) = state.events.pop_front() {
                drop(state);
                let callback = lock(&self.callbacks).get(&number).cloned();
                if let Some(callback) = callback {
                    lock(&callback)(&path);
                }
                state = self.channel.lock();
            } else if state.check().is_err() {
                return;
            } else {
                state = self.channel.advance(state);
            }
        }
    }

    fn forget(&self, number: u32) {
        self.channel.lock().connection.remove_watch(number);
        lock(&self.callbacks).remove(&number);
    }
}

/// When a callback panics nobody calls the others any more: better that every use says so.
struct LoseOnPanic<'a>(&'a Watcher);

impl Drop for LoseOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.channel.lose("a watch's callback panicked");
        }
    }
}
