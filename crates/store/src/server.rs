//! Sockets: one thread that polls them all, and never waits for a client that does not read.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use stream::SocketName;
use xenstore::wire::Decoder;

use crate::session::{Outgoing, PAYLOAD, Store};

/// Bytes that may wait for a client that does not read; then it is dropped, so that it cannot fill the memory.
const BACKLOG: usize = 4 << 20;

struct Order {
    domid: u32,
    listener: UnixListener,
    done: Sender<()>,
}

/// A running XenStore. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    orders: Option<Sender<Order>>,
    /// A byte here wakes the thread; its end of file stops it.
    wake: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
    sockets: std::sync::Mutex<Vec<SocketName>>,
}

impl Server {
    /// Serves at `path`, mode 0600; whoever connects there acts as dom0.
    ///
    /// # Errors
    /// As [`stream::listen`]: only a socket of ours that nobody serves is replaced.
    pub fn listen(path: &Path) -> io::Result<Self> {
        let (listener, socket) = stream::listen(path)?;
        let (wake, woken) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let (orders, taken) = channel();
        let thread = std::thread::Builder::new()
            .name("xenstore".to_owned())
            .spawn(move || Loop::new(listener, woken, taken).run())?;
        Ok(Self {
            orders: Some(orders),
            wake: Some(wake),
            thread: Some(thread),
            sockets: std::sync::Mutex::new(vec![socket]),
        })
    }

    /// Introduces guest `domid`, makes its home in the tree as a toolstack does, and serves at `path`: whoever connects
    /// there acts as that guest, with its permissions, quotas and relative paths.
    ///
    /// # Errors
    /// As [`Server::listen`]; `NotConnected` after [`Server::close`].
    pub fn add_domain(&self, domid: u32, path: &Path) -> io::Result<()> {
        let (Some(orders), Some(mut wake)) = (self.orders.as_ref(), self.wake.as_ref()) else {
            return Err(io::Error::new(
                ErrorKind::NotConnected,
                "the store is closed",
            ));
        };
        let (listener, socket) = stream::listen(path)?;
        if let Ok(mut sockets) = self.sockets.lock() {
            sockets.push(socket);
        }
        let gone = || io::Error::new(ErrorKind::NotConnected, "the store has ended");
        let (done, introduced) = channel();
        let order = Order {
            domid,
            listener,
            done,
        };
        orders.send(order).map_err(|_| gone())?;
        wake.write_all(&[1])?;
        // Only then is the guest's home there for whoever looks next.
        introduced.recv().map_err(|_| gone())
    }

    /// Ends it and removes its sockets. Closing twice is quiet.
    pub fn close(&mut self) {
        self.orders = None;
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended as well.
            drop(thread.join());
        }
        if let Ok(mut sockets) = self.sockets.lock() {
            sockets.drain(..).for_each(SocketName::remove);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}

struct Connection {
    stream: UnixStream,
    decoder: Decoder,
    /// Messages to send, and whether each is an event; `sent` bytes of the first have gone.
    queue: VecDeque<(Vec<u8>, bool)>,
    sent: usize,
    queued: usize,
}

impl Connection {
    fn push(&mut self, bytes: Vec<u8>, is_event: bool) {
        // An equal event that is still to be sent, and is not half sent, says all there is to say.
        if is_event
            && self
                .queue
                .iter()
                .skip(usize::from(self.sent > 0))
                .any(|(queued, _)| *queued == bytes)
        {
            return;
        }
        self.queued += bytes.len();
        self.queue.push_back((bytes, is_event));
    }

    fn flush(&mut self) -> io::Result<()> {
        while let Some((bytes, _)) = self.queue.front() {
            match self
                .stream
                .write(bytes.get(self.sent..).unwrap_or_default())
            {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.sent >= bytes.len() {
                self.queued -= bytes.len();
                self.sent = 0;
                self.queue.pop_front();
            }
        }
        if self.queued > BACKLOG {
            Err(ErrorKind::OutOfMemory.into())
        } else {
            Ok(())
        }
    }
}

struct Loop {
    store: Store,
    listeners: Vec<(UnixListener, u32)>,
    connections: BTreeMap<u64, Connection>,
    next: u64,
    woken: UnixStream,
    orders: Receiver<Order>,
}

impl Loop {
    fn new(listener: UnixListener, woken: UnixStream, orders: Receiver<Order>) -> Self {
        Self {
            store: Store::new(),
            listeners: vec![(listener, 0)],
            connections: BTreeMap::new(),
            next: 0,
            woken,
            orders,
        }
    }

    fn run(mut self) {
        loop {
            let ready = self.wait();
            let mut slots = ready.into_iter();
            if slots.next().unwrap_or(false) && !self.obey() {
                return;
            }
            let listening: Vec<bool> = slots.by_ref().take(self.listeners.len()).collect();
            let ids: Vec<u64> = self.connections.keys().copied().collect();
            for (id, _) in ids.into_iter().zip(slots).filter(|(_, ready)| *ready) {
                self.serve(id);
            }
            for (index, _) in listening
                .into_iter()
                .enumerate()
                .filter(|(_, ready)| *ready)
            {
                self.accept(index);
            }
        }
    }

    /// Which of the wake stream, the listeners and the connections, in that order, have something to do.
    fn wait(&self) -> Vec<bool> {
        let mut polled = vec![PollFd::new(&self.woken, PollFlags::IN)];
        polled.extend(
            self.listeners
                .iter()
                .map(|(listener, _)| PollFd::new(listener, PollFlags::IN)),
        );
        polled.extend(self.connections.values().map(|connection| {
            let writing = if connection.queue.is_empty() {
                PollFlags::empty()
            } else {
                PollFlags::OUT
            };
            PollFd::from_borrowed_fd(connection.stream.as_fd(), PollFlags::IN | writing)
        }));
        // An interrupted wait finds nothing ready, and is entered again.
        match poll(&mut polled, None) {
            Ok(_) => polled
                .iter()
                .map(|slot| !slot.revents().is_empty())
                .collect(),
            Err(_) => vec![false; polled.len()],
        }
    }

    /// Takes new domains; false when the server was closed.
    fn obey(&mut self) -> bool {
        let mut bytes = [0; 64];
        if matches!(self.woken.read(&mut bytes), Ok(0)) {
            return false;
        }
        while let Ok(Order {
            domid,
            listener,
            done,
        }) = self.orders.try_recv()
        {
            let mut out = Vec::new();
            self.store.introduce(domid, &mut out);
            self.listeners.push((listener, domid));
            self.send(out);
            // Whoever ordered it may have gone meanwhile.
            done.send(()).unwrap_or_default();
        }
        true
    }

    fn accept(&mut self, index: usize) {
        let Some((listener, domid)) = self.listeners.get(index) else {
            return;
        };
        if let Ok((stream, _)) = listener.accept()
            && stream.set_nonblocking(true).is_ok()
        {
            let id = self.next;
            self.next += 1;
            self.store.connect(id, *domid);
            let decoder = Decoder::new(PAYLOAD);
            let connection = Connection {
                stream,
                decoder,
                queue: VecDeque::new(),
                sent: 0,
                queued: 0,
            };
            self.connections.insert(id, connection);
        }
    }

    fn serve(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let mut out = Vec::new();
        let mut alive = connection.flush().is_ok();
        match connection.stream.read(connection.decoder.space()) {
            Ok(0) => alive = false,
            Ok(count) => connection.decoder.filled(count),
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => alive = false,
        }
        while alive {
            match connection.decoder.next_packet() {
                Ok(Some(packet)) => self.store.handle(id, &packet, &mut out),
                Ok(None) => break,
                // The framing is lost, as for the real one: it hangs up too.
                Err(_) => alive = false,
            }
        }
        if !alive {
            self.drop_connection(id);
        }
        self.send(out);
    }

    fn send(&mut self, out: Vec<Outgoing>) {
        let mut touched: Vec<u64> = out.iter().map(|message| message.client).collect();
        for Outgoing {
            client,
            bytes,
            is_event,
        } in out
        {
            if let Some(connection) = self.connections.get_mut(&client) {
                connection.push(bytes, is_event);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for id in touched {
            if self
                .connections
                .get_mut(&id)
                .is_some_and(|connection| connection.flush().is_err())
            {
                self.drop_connection(id);
            }
        }
    }

    fn drop_connection(&mut self, id: u64) {
        self.connections.remove(&id);
        self.store.disconnect(id);
    }
}
