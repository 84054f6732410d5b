//! A connection to XenStore as JavaScript has it: its life, its watches and its replies. Requests are written on
//! JavaScript's thread straight away, replies settle raw promises in the callback that read them, and a watch's events
//! reach its function with one call per wake-up.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::c_void;
use std::io;
use std::os::fd::AsFd;
use std::ptr::null;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use napi::{Env, Task, sys};
use xenstore::session::{Event, until_nul};
use xenstore::values::{Value, Values};
use xenstore::{
    Connection, Endpoint, Listing, Operation, Step, Writer, XenStoreError, split_names,
};

use crate::js::{Js, Promise};
use crate::poll::{Line, LoopPoller, Poller, Ready, ThreadPoller};

/// What a reply is turned into.
pub enum Wanted {
    Nothing,
    Value,
    Names,
    Text,
    List(Listing),
    Watch(u32, MakeWatch),
}

/// Makes JavaScript's watch of a connection, a number and a path.
pub type MakeWatch = fn(&Js, &Rc<Core>, u32, &str) -> sys::napi_value;

/// What waits for a reply.
enum Waiting {
    /// Nothing yet: the request is being sent.
    Nobody,
    Promise {
        deferred: sys::napi_deferred,
        wanted: Wanted,
    },
    /// An event of the watch of this number, which is passed on with the node's value.
    Event(u32),
}

/// How long JavaScript that was woken is kept waiting for replies, rather than the event loop for JavaScript.
const LINGER: Duration = Duration::from_millis(1);

struct State {
    requests: Connection<Waiting>,
    watches: Connection<Waiting>,
    /// The function of each watch.
    listeners: BTreeMap<u32, sys::napi_ref>,
    values: Values,
    on_close: sys::napi_ref,
    poller: Option<Poller>,
    holding: bool,
    closed: Option<String>,
    /// It stays until it is shut, whether or not JavaScript still knows of it.
    kept: Option<Rc<Core>>,
}

impl State {
    fn line(&mut self, line: Line) -> &mut Connection<Waiting> {
        match line {
            Line::Requests => &mut self.requests,
            Line::Watches => &mut self.watches,
        }
    }

    /// Tells the poller what there is to wait for now.
    fn update_poller(&mut self) {
        let Some(poller) = &mut self.poller else {
            return;
        };
        poller.want_write(Line::Requests, self.requests.wants_write());
        poller.want_write(Line::Watches, self.watches.wants_write());
        let outstanding =
            self.requests.session().outstanding() + self.watches.session().outstanding();
        let hold = outstanding > 0 || !self.listeners.is_empty();
        if hold != self.holding {
            self.holding = hold;
            poller.hold_loop(hold);
        }
    }
}

/// What the handles, the methods and the poller share. It lives on the environment's thread.
pub struct Core {
    js: Js,
    context: sys::napi_async_context,
    endpoint: Endpoint,
    state: RefCell<State>,
    /// Kept between wake-ups, so that they need not grow each time.
    events: Cell<VecDeque<Event<Waiting>>>,
    /// The environment is going: no JavaScript any more.
    ended: Cell<bool>,
    /// What the hook that tells of the environment's end was given: a weak count, for as long as there is a core. Null
    /// before.
    hook: Cell<*const Core>,
}

impl Core {
    pub fn open(
        env: Env,
        endpoint: Option<&str>,
        thread: bool,
        on_close: sys::napi_value,
    ) -> Result<Rc<Self>, XenStoreError> {
        let endpoint = endpoint.map_or_else(Endpoint::detect, Endpoint::named)?;
        let requests = Connection::open(&endpoint)?;
        let watches = Connection::open(&endpoint)?;
        let js = Js(env.raw());
        let core = Rc::new(Self {
            js,
            context: js.async_context(c"guestwire.XenStore"),
            endpoint,
            state: RefCell::new(State {
                requests,
                watches,
                listeners: BTreeMap::new(),
                values: Values::default(),
                on_close: js.keep(on_close),
                poller: None,
                holding: false,
                closed: None,
                kept: None,
            }),
            events: Cell::default(),
            ended: Cell::new(false),
            hook: Cell::new(null()),
        });
        let poller = core.start_poller(thread).map_err(|source| {
            js.forget(core.state.borrow().on_close);
            XenStoreError::Io {
                doing: "starting to wait for the store".to_owned(),
                source,
            }
        })?;
        {
            let state = &mut *core.state.borrow_mut();
            state.poller = Some(poller);
            state.kept = Some(Rc::clone(&core));
        }
        let hook = Weak::into_raw(Rc::downgrade(&core));
        core.hook.set(hook);
        // SAFETY: the environment is live; the pointer is taken back by `drop` or by the hook itself.
        unsafe {
            sys::napi_add_env_cleanup_hook(
                js.0,
                Some(on_environment_end),
                hook.cast_mut().cast::<c_void>(),
            )
        };
        Ok(core)
    }

    fn start_poller(self: &Rc<Self>, thread: bool) -> io::Result<Poller> {
        let state = self.state.borrow();
        if !thread {
            let descriptors = [state.requests.descriptor(), state.watches.descriptor()];
            if let Some(poller) = LoopPoller::start(self.js.0, descriptors, self) {
                return Ok(Poller::Loop(poller));
            }
        }
        // Of its own, so that no number is reused under the thread's feet.
        let descriptors = [
            state.requests.as_fd().try_clone_to_owned()?,
            state.watches.as_fd().try_clone_to_owned()?,
        ];
        let name = self.js.string("guestwire.XenStore");
        ThreadPoller::start(self.js.0, name, descriptors, self).map(Poller::Thread)
    }

    pub fn request(
        self: &Rc<Self>,
        operation: &Operation<'_>,
        path: &str,
        wanted: Wanted,
    ) -> Promise {
        let sent = self
            .state
            .borrow_mut()
            .requests
            .send(operation, 0, path, Waiting::Nobody);
        // The store is at work by now, and its reply is read by nobody before this returns.
        let (deferred, promise) = self.js.promise();
        let sent = sent.map(|request| {
            let waiting = Waiting::Promise { deferred, wanted };
            self.state.borrow_mut().requests.hand_over(request, waiting);
        });
        self.sent(deferred, sent);
        promise
    }

    /// What follows sending. When a write found the connection gone, reading finds it too, and that is where it is
    /// reported: `onClose` is never called from inside of a method.
    fn sent(&self, deferred: sys::napi_deferred, sent: Result<(), XenStoreError>) {
        if let Err(error) = sent {
            self.js.reject(deferred, &error);
        }
        self.state.borrow_mut().update_poller();
    }

    pub fn remove(self: &Rc<Self>, path: &str) -> Promise {
        self.state
            .borrow_mut()
            .values
            .note_removal(path, Instant::now);
        self.request(&Operation::Remove, path, Wanted::Nothing)
    }

    pub fn set_watch(
        self: &Rc<Self>,
        path: &str,
        on_event: sys::napi_value,
        values: bool,
        make: MakeWatch,
    ) -> Promise {
        let (deferred, promise) = self.js.promise();
        // The function is known before the WATCH is written: on the device the first event may come before its reply.
        let number = {
            let state = &mut *self.state.borrow_mut();
            let number = state.watches.add_watch();
            if state.closed.is_none() {
                state.listeners.insert(number, self.js.keep(on_event));
                if values {
                    state.values.add(number, path);
                }
            }
            number
        };
        let waiting = Waiting::Promise {
            deferred,
            wanted: Wanted::Watch(number, make),
        };
        if let Err(error) = self.send_watch(&Operation::Watch(number), path, waiting) {
            self.forget_watch(number);
            self.sent(deferred, Err(error));
        } else {
            self.sent(deferred, Ok(()));
        }
        promise
    }

    pub fn unset_watch(self: &Rc<Self>, number: u32, path: &str) -> Promise {
        let (deferred, promise) = self.js.promise();
        self.forget_watch(number);
        let waiting = Waiting::Promise {
            deferred,
            wanted: Wanted::Nothing,
        };
        if self.state.borrow().closed.is_some() {
            // The store drops the watches of a connection that is gone.
            self.js.resolve(deferred, self.js.undefined());
        } else {
            let sent = self.send_watch(&Operation::Unwatch(number), path, waiting);
            self.sent(deferred, sent);
        }
        promise
    }

    /// On the kernel's device writing a WATCH waits for the store, so there a worker thread does it.
    fn send_watch(
        self: &Rc<Self>,
        operation: &Operation<'_>,
        path: &str,
        waiting: Waiting,
    ) -> Result<(), XenStoreError> {
        let connection = &mut self.state.borrow_mut().watches;
        if !self.endpoint.kind().watch_blocks() {
            return connection.send(operation, 0, path, waiting).map(drop);
        }
        let (request, message) = connection.book(operation, path, waiting)?;
        let owner = OnJsThread(Rc::clone(self));
        let task = BlockingWrite {
            writer: connection.writer(),
            message,
            request,
            path: path.to_owned(),
            owner,
        };
        Env::from_raw(self.js.0)
            .spawn(task)
            .map(drop)
            .map_err(|error| {
                // What stayed booked would be settled a second time when the connection ends.
                connection.refuse(request, path, io::ErrorKind::Other.into());
                XenStoreError::Io {
                    doing: "handing a watch to a worker thread".to_owned(),
                    source: io::Error::other(error.to_string()),
                }
            })
    }

    fn forget_watch(&self, number: u32) {
        let function = {
            let state = &mut *self.state.borrow_mut();
            state.watches.remove_watch(number);
            state.values.remove(number);
            state.listeners.remove(&number)
        };
        if let Some(function) = function {
            self.js.forget(function);
        }
    }

    fn take_in(self: &Rc<Self>, line: Line, writable: bool) {
        self.exchange(|state, events| {
            let connection = state.line(line);
            let written = if writable {
                connection.on_writable(events)
            } else {
                Ok(())
            };
            let outcome = written.and_then(|()| connection.on_readable(events));
            if writable {
                state.update_poller();
            }
            outcome
        });
    }

    /// Waits for replies to what JavaScript asked for when it was woken just now, instead of going back to the event
    /// loop and to sleep in between: that takes longer than the store.
    ///
    /// The clock is read only after the first of them: where the kernel has to be asked for it, as in a guest whose
    /// clock is Xen's, that costs as much as another system call, and a node that was read ahead is waited for here.
    fn linger(self: &Rc<Self>) {
        let mut until = None;
        while self.state.borrow().requests.session().outstanding() > 0
            && self.exchange(|state, events| state.requests.await_readable(events))
        {
            let now = Instant::now();
            if now >= *until.get_or_insert(now + LINGER) {
                return;
            }
        }
    }

    /// Gives JavaScript what `work` reads; returns whether there was something. Only then is JavaScript entered, which
    /// costs more than the reading.
    fn exchange(
        self: &Rc<Self>,
        work: impl FnOnce(&mut State, &mut VecDeque<Event<Waiting>>) -> Result<(), XenStoreError>,
    ) -> bool {
        if self.state.borrow().closed.is_some() {
            return false;
        }
        let mut events = self.events.take();
        let outcome = {
            let state = &mut *self.state.borrow_mut();
            let outcome = work(state, &mut events);
            let came = events.len();
            events.retain(|event| {
                let State {
                    values, requests, ..
                } = state;
                !values.read_ahead(requests, event, Waiting::Event)
            });
            if events.len() < came {
                state.update_poller();
            }
            outcome
        };
        if events.is_empty() && outcome.is_ok() {
            self.events.set(events);
            return false;
        }
        self.js
            .in_callback(self.context, || self.dispatch(events, outcome));
        true
    }

    fn dispatch(
        self: &Rc<Self>,
        mut events: VecDeque<Event<Waiting>>,
        outcome: Result<(), XenStoreError>,
    ) {
        for event in events.drain(..) {
            match event {
                Event::Reply {
                    path,
                    owner,
                    result,
                    ..
                } => self.settle(&path, owner, result),
                Event::Watch { watch, path } => self.tell(watch, &path, None),
            }
        }
        self.events.set(events);
        match outcome {
            Ok(()) => self.state.borrow_mut().update_poller(),
            Err(error) => self.shut(&error.to_string(), Some(&error)),
        }
    }

    /// Calls the function of a watch; `reply` is what came of reading ahead for it.
    fn tell(&self, watch: u32, path: &str, reply: Option<Result<Vec<u8>, String>>) {
        let js = self.js;
        let (function, told) = {
            let state = self.state.borrow();
            // Looked up only now: an earlier function may have closed this watch.
            let Some(&function) = state.listeners.get(&watch) else {
                return;
            };
            (function, state.values.tell(watch, path, reply))
        };
        let value = match told.value {
            Value::Is(body) => js.body(&body),
            Value::Gone => js.null(),
            Value::Unknown => js.undefined(),
        };
        js.call(function, &[js.string(told.path), value]);
    }

    fn settle(self: &Rc<Self>, path: &str, waiting: Waiting, result: Result<Vec<u8>, String>) {
        let (deferred, wanted) = match waiting {
            Waiting::Promise { deferred, wanted } => (deferred, wanted),
            Waiting::Event(watch) => return self.tell(watch, path, Some(result)),
            Waiting::Nobody => return,
        };
        let js = self.js;
        if let Wanted::List(mut listing) = wanted {
            match listing.advance(path, result) {
                Ok(Step::Done(names)) => js.resolve(deferred, js.strings(&names)),
                Ok(Step::Ask(operation)) => {
                    let waiting = Waiting::Promise {
                        deferred,
                        wanted: Wanted::List(listing),
                    };
                    let sent = self
                        .state
                        .borrow_mut()
                        .requests
                        .send(&operation, 0, path, waiting);
                    self.sent(deferred, sent.map(drop));
                }
                Err(error) => js.reject(deferred, &error),
            }
            return;
        }
        match result {
            Ok(body) => js.resolve(deferred, self.value(path, &wanted, &body)),
            Err(name) => {
                if let Wanted::Watch(number, _) = wanted {
                    self.forget_watch(number);
                }
                js.reject(deferred, &XenStoreError::named(path, &name));
            }
        }
    }

    fn value(self: &Rc<Self>, path: &str, wanted: &Wanted, body: &[u8]) -> sys::napi_value {
        let js = self.js;
        match *wanted {
            Wanted::Value => js.buffer(body),
            Wanted::Names => js.strings(&split_names(body)),
            Wanted::Text => js.string(&String::from_utf8_lossy(until_nul(body))),
            Wanted::Watch(number, make) => make(&js, self, number, path),
            Wanted::Nothing | Wanted::List(_) => js.undefined(),
        }
    }

    /// A promise of nothing that is kept already.
    pub fn nothing(&self) -> Promise {
        let (deferred, promise) = self.js.promise();
        self.js.resolve(deferred, self.js.undefined());
        promise
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Ends it at JavaScript's wish.
    pub fn close(self: &Rc<Self>) {
        self.shut("it was closed", None);
    }

    /// Ends the connection: what is under way fails, and whoever opened it is told why, unless it was they who
    /// closed it (`lost` is none). Does nothing the second time.
    fn shut(self: &Rc<Self>, reason: &str, lost: Option<&XenStoreError>) {
        // What was kept goes last: it may be all that there is.
        let (_kept, poller, waiting, listeners, on_close) = {
            let state = &mut *self.state.borrow_mut();
            if state.closed.is_some() {
                return;
            }
            state.closed = Some(reason.to_owned());
            let mut waiting = state.requests.fail(reason);
            waiting.extend(state.watches.fail(reason));
            (
                state.kept.take(),
                state.poller.take(),
                waiting,
                std::mem::take(&mut state.listeners),
                state.on_close,
            )
        };
        drop(poller);
        if self.ended.get() {
            return;
        }
        let error = XenStoreError::Closed {
            reason: reason.to_owned(),
        };
        for waiting in waiting {
            if let Waiting::Promise { deferred, .. } = waiting {
                self.js.reject(deferred, &error);
            }
        }
        for function in listeners.into_values() {
            self.js.forget(function);
        }
        if lost.is_some() {
            self.js.call(on_close, &[self.js.string(reason)]);
        }
        self.js.forget(on_close);
    }
}

impl Ready for Core {
    fn ready(self: Rc<Self>, line: Line, writable: bool) {
        self.take_in(line, writable);
        self.linger();
    }

    fn failed(self: Rc<Self>, reason: &str) {
        let error = XenStoreError::Closed {
            reason: reason.to_owned(),
        };
        self.js
            .in_callback(self.context, || self.shut(reason, Some(&error)));
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.ended.get() {
            return;
        }
        // The hook is there until now, closed or not: without it nothing would tell that the environment, in which the
        // context was made, is no more.
        let hook = self.hook.get();
        // SAFETY: the environment is still there, or the hook would have said so. The hook was added with this pointer,
        // which stands for one weak count; both are taken back once. The context was made by `open`.
        unsafe {
            if !hook.is_null() {
                sys::napi_remove_env_cleanup_hook(
                    self.js.0,
                    Some(on_environment_end),
                    hook.cast_mut().cast::<c_void>(),
                );
                drop(Weak::from_raw(hook));
            }
            sys::napi_async_destroy(self.js.0, self.context);
        }
    }
}

/// A worker that exits, or is terminated, must leave no open handle behind: libuv would abort the whole process.
unsafe extern "C" fn on_environment_end(core: *mut c_void) {
    // SAFETY: the weak count that `open` gave away.
    let core = unsafe { Weak::from_raw(core.cast_const().cast::<Core>()) };
    drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(
        || {
            if let Some(core) = core.upgrade() {
                core.ended.set(true);
                core.shut("the environment ended", None);
            }
        },
    )));
}

/// Something that is only touched, and dropped, on the environment's thread, although a task carries it past others.
struct OnJsThread<T>(T);
// SAFETY: `BlockingWrite::compute`, the only part that runs elsewhere, does not touch it.
unsafe impl<T> Send for OnJsThread<T> {}

struct BlockingWrite {
    writer: Writer,
    message: Vec<u8>,
    request: u32,
    path: String,
    owner: OnJsThread<Rc<Core>>,
}

impl Task for BlockingWrite {
    type Output = io::Result<()>;
    type JsValue = ();

    fn compute(&mut self) -> napi::Result<Self::Output> {
        Ok(self.writer.write(&self.message).map(drop))
    }

    fn resolve(&mut self, _: Env, written: Self::Output) -> napi::Result<()> {
        let core = &self.owner.0;
        if let Err(error) = written {
            let (waiting, error) =
                core.state
                    .borrow_mut()
                    .watches
                    .refuse(self.request, &self.path, error);
            if let Some(Waiting::Promise { deferred, wanted }) = waiting {
                if let Wanted::Watch(number, _) = wanted {
                    core.forget_watch(number);
                }
                core.js.reject(deferred, &error);
            }
            core.state.borrow_mut().update_poller();
        }
        Ok(())
    }
}
