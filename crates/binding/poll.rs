//! Wakes JavaScript when a descriptor is ready: from inside Node's own event loop, which is the fastest way there is,
//! or from a thread, where the loop cannot be had.

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use napi::sys;

/// Which of the two descriptors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Line {
    Requests,
    Watches,
}

pub const LINES: [Line; 2] = [Line::Requests, Line::Watches];

/// Whoever is woken, on the environment's thread. `failed` names a descriptor that can no longer be waited for.
pub trait Ready: 'static {
    fn ready(self: Rc<Self>, line: Line, writable: bool);
    fn failed(self: Rc<Self>, reason: &str);
}

/// Waits for two descriptors until it is stopped.
pub enum Poller {
    Loop(LoopPoller),
    Thread(ThreadPoller),
}

impl Poller {
    /// Also waits until `line` can be written to, or no longer. Only for sockets: the device never says so.
    pub fn want_write(&mut self, line: Line, wanted: bool) {
        match self {
            Self::Loop(poller) => poller.want_write(line, wanted),
            Self::Thread(poller) => poller.want_write(line, wanted),
        }
    }

    /// Whether waiting keeps the process alive.
    pub fn hold_loop(&mut self, hold: bool) {
        match self {
            Self::Loop(poller) => poller.hold_loop(hold),
            Self::Thread(poller) => poller.hold_loop(hold),
        }
    }
}

type UvHandle = c_void;
type UvPollCallback = unsafe extern "C" fn(*mut UvHandle, c_int, c_int);
type UvCloseCallback = unsafe extern "C" fn(*mut UvHandle);

const UV_POLL: c_int = 8;
const UV_READABLE: c_int = 1;
const UV_WRITABLE: c_int = 2;

/// The functions of libuv that are used. They are not part of Node-API, so they are looked up, not linked: a host
/// that hides them gets the thread instead of an addon that does not load.
struct Uv {
    handle_size: unsafe extern "C" fn(c_int) -> usize,
    poll_init: unsafe extern "C" fn(*mut c_void, *mut UvHandle, c_int) -> c_int,
    poll_start: unsafe extern "C" fn(*mut UvHandle, c_int, UvPollCallback) -> c_int,
    poll_stop: unsafe extern "C" fn(*mut UvHandle) -> c_int,
    close: unsafe extern "C" fn(*mut UvHandle, UvCloseCallback),
    make_ref: unsafe extern "C" fn(*mut UvHandle),
    unref: unsafe extern "C" fn(*mut UvHandle),
    set_data: unsafe extern "C" fn(*mut UvHandle, *mut c_void),
    get_data: unsafe extern "C" fn(*const UvHandle) -> *mut c_void,
}

impl Uv {
    fn get() -> Option<&'static Self> {
        static UV: OnceLock<Option<Uv>> = OnceLock::new();
        UV.get_or_init(Self::load).as_ref()
    }

    fn load() -> Option<Self> {
        // SAFETY: each type is the one that uv.h declares for that name.
        unsafe {
            Some(Self {
                handle_size: symbol(c"uv_handle_size")?,
                poll_init: symbol(c"uv_poll_init")?,
                poll_start: symbol(c"uv_poll_start")?,
                poll_stop: symbol(c"uv_poll_stop")?,
                close: symbol(c"uv_close")?,
                make_ref: symbol(c"uv_ref")?,
                unref: symbol(c"uv_unref")?,
                set_data: symbol(c"uv_handle_set_data")?,
                get_data: symbol(c"uv_handle_get_data")?,
            })
        }
    }
}

/// SAFETY: `F` must be the type of the function of that name.
unsafe fn symbol<F: Copy>(name: &CStr) -> Option<F> {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: the name ends in a NUL; RTLD_DEFAULT needs no handle.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    // SAFETY: not null, and of the caller's type.
    (!address.is_null()).then(|| unsafe { std::mem::transmute_copy(&address) })
}

/// What hangs on a libuv handle. Freed, with the handle, when libuv says that it is closed.
struct Attached<T> {
    owner: Rc<T>,
    line: Line,
    memory: Box<[u64]>,
}

/// Two poll handles in the environment's own loop.
pub struct LoopPoller {
    uv: &'static Uv,
    handles: Vec<*mut UvHandle>,
    on_ready: UvPollCallback,
    on_closed: UvCloseCallback,
    writing: [bool; 2],
}

impl LoopPoller {
    /// None when this host has no libuv to offer, or its loop cannot wait for these descriptors.
    pub fn start<T: Ready>(
        env: sys::napi_env,
        descriptors: [RawFd; 2],
        owner: &Rc<T>,
    ) -> Option<Self> {
        let uv = Uv::get()?;
        let mut event_loop = null_mut();
        // SAFETY: the environment is live on this thread.
        let status = unsafe { sys::napi_get_uv_event_loop(env, &mut event_loop) };
        if status != sys::Status::napi_ok || event_loop.is_null() {
            return None;
        }
        let mut poller = Self {
            uv,
            handles: Vec::new(),
            on_ready: on_ready::<T>,
            on_closed: on_closed::<T>,
            writing: [false; 2],
        };
        for (line, descriptor) in LINES.into_iter().zip(descriptors) {
            // SAFETY: libuv says how much memory a handle takes. It is not moved until libuv has closed it: the box
            // is owned by what hangs on the handle. A handle that failed to start is not known to the loop.
            unsafe {
                let mut memory =
                    vec![0_u64; (uv.handle_size)(UV_POLL).div_ceil(8)].into_boxed_slice();
                let handle = memory.as_mut_ptr().cast::<UvHandle>();
                if (uv.poll_init)(event_loop.cast(), handle, descriptor) != 0 {
                    return None;
                }
                let attached = Box::new(Attached {
                    owner: Rc::clone(owner),
                    line,
                    memory,
                });
                (uv.set_data)(handle, Box::into_raw(attached).cast());
                poller.handles.push(handle);
                (uv.unref)(handle);
                if (uv.poll_start)(handle, UV_READABLE, poller.on_ready) != 0 {
                    return None;
                }
            }
        }
        Some(poller)
    }

    fn want_write(&mut self, line: Line, wanted: bool) {
        let index = line as usize;
        if let (Some(handle), Some(writing)) =
            (self.handles.get(index), self.writing.get_mut(index))
            && *writing != wanted
        {
            *writing = wanted;
            let events = if wanted {
                UV_READABLE | UV_WRITABLE
            } else {
                UV_READABLE
            };
            // SAFETY: the handle is open until `drop`.
            unsafe { (self.uv.poll_start)(*handle, events, self.on_ready) };
        }
    }

    fn hold_loop(&mut self, hold: bool) {
        let change = if hold {
            self.uv.make_ref
        } else {
            self.uv.unref
        };
        for handle in &self.handles {
            // SAFETY: the handle is open until `drop`.
            unsafe { change(*handle) };
        }
    }
}

impl Drop for LoopPoller {
    fn drop(&mut self) {
        for handle in &self.handles {
            // SAFETY: each handle is closed once, here; its memory lives until `on_closed`.
            unsafe {
                (self.uv.poll_stop)(*handle);
                (self.uv.close)(*handle, self.on_closed);
            }
        }
    }
}

unsafe extern "C" fn on_ready<T: Ready>(handle: *mut UvHandle, status: c_int, events: c_int) {
    let Some(uv) = Uv::get() else { return };
    // SAFETY: the handle is open, so what hangs on it is alive; the owner is kept past this callback's own closing.
    let (owner, line) = unsafe {
        let attached = &*(uv.get_data)(handle).cast::<Attached<T>>();
        (Rc::clone(&attached.owner), attached.line)
    };
    // A panic must not unwind into libuv; the panic hook has printed it.
    drop(catch_unwind(AssertUnwindSafe(|| {
        if status == -libc::EBADF {
            // What libuv makes of POLLERR: whoever was killed in the middle of a request leaves it behind.
            owner.failed("the store hung up");
        } else if status < 0 {
            owner.failed(&format!(
                "waiting for the store failed: {}",
                io::Error::from_raw_os_error(-status)
            ));
        } else {
            owner.ready(line, events & UV_WRITABLE != 0);
        }
    })));
}

unsafe extern "C" fn on_closed<T: Ready>(handle: *mut UvHandle) {
    let Some(uv) = Uv::get() else { return };
    // SAFETY: libuv calls this once, and has let go of the handle.
    let attached = unsafe { Box::from_raw((uv.get_data)(handle).cast::<Attached<T>>()) };
    drop(catch_unwind(AssertUnwindSafe(|| {
        let Attached { owner, memory, .. } = *attached;
        drop(owner);
        drop(memory);
    })));
}

/// A thread that waits for the descriptors and calls JavaScript through a thread-safe function.
pub struct ThreadPoller {
    env: sys::napi_env,
    function: sys::napi_threadsafe_function,
    signals: Arc<Signals>,
    thread: Option<JoinHandle<()>>,
}

struct Signals {
    /// Wakes the thread to look at the flags.
    wake: OwnedFd,
    stop: AtomicBool,
    writing: [AtomicBool; 2],
    /// What was found ready and JavaScript has not yet taken.
    found: Mutex<Option<[i16; 2]>>,
    taken: Condvar,
}

impl Signals {
    fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: eight bytes are what an eventfd takes.
        unsafe { libc::write(self.wake.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

/// What hangs on the thread-safe function. Freed when Node finalizes it.
struct Context<T> {
    owner: Rc<T>,
    signals: Arc<Signals>,
}

/// A thread-safe function may be called from any thread; that is what it is for.
struct Caller(sys::napi_threadsafe_function);
// SAFETY: as its documentation says.
unsafe impl Send for Caller {}

impl Caller {
    fn call(&self) -> bool {
        // SAFETY: the function is released only after this thread was joined. The queue has no limit, so this does
        // not wait.
        let status = unsafe {
            sys::napi_call_threadsafe_function(
                self.0,
                null_mut(),
                sys::ThreadsafeFunctionCallMode::nonblocking,
            )
        };
        status == sys::Status::napi_ok
    }
}

impl ThreadPoller {
    /// # Errors
    /// The system's, when it has no descriptors or threads left.
    pub fn start<T: Ready>(
        env: sys::napi_env,
        name: sys::napi_value,
        descriptors: [OwnedFd; 2],
        owner: &Rc<T>,
    ) -> io::Result<Self> {
        // SAFETY: takes no pointers; the result is checked.
        let wake = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if wake < 0 {
            return Err(io::Error::last_os_error());
        }
        let signals = Arc::new(Signals {
            // SAFETY: a fresh descriptor that nobody else owns.
            wake: unsafe { OwnedFd::from_raw_fd(wake) },
            stop: AtomicBool::new(false),
            writing: [AtomicBool::new(false), AtomicBool::new(false)],
            found: Mutex::new(None),
            taken: Condvar::new(),
        });
        let context = Box::into_raw(Box::new(Context {
            owner: Rc::clone(owner),
            signals: Arc::clone(&signals),
        }));
        let mut function = null_mut();
        // SAFETY: the environment is live on this thread; the context is freed by `finalize`, once.
        let status = unsafe {
            sys::napi_create_threadsafe_function(
                env,
                null_mut(),
                null_mut(),
                name,
                0,
                1,
                context.cast(),
                Some(finalize::<T>),
                context.cast(),
                Some(call_js::<T>),
                &mut function,
            )
        };
        if status != sys::Status::napi_ok {
            // SAFETY: nobody else was given the context.
            drop(unsafe { Box::from_raw(context) });
            return Err(io::Error::other("Node refused a thread-safe function"));
        }
        let mut poller = Self {
            env,
            function,
            signals: Arc::clone(&signals),
            thread: None,
        };
        poller.hold_loop(false);
        let caller = Caller(function);
        let spawned = std::thread::Builder::new()
            .name("xenstore-poll".to_owned())
            .spawn(move || watch_descriptors(&descriptors, &signals, &caller));
        poller.thread = Some(spawned?);
        Ok(poller)
    }

    fn want_write(&mut self, line: Line, wanted: bool) {
        if let Some(writing) = self.signals.writing.get(line as usize)
            && writing.swap(wanted, Ordering::SeqCst) != wanted
        {
            self.signals.wake();
        }
    }

    fn hold_loop(&mut self, hold: bool) {
        // SAFETY: the function is live until `drop`, and this is its environment's thread.
        unsafe {
            if hold {
                sys::napi_ref_threadsafe_function(self.env, self.function);
            } else {
                sys::napi_unref_threadsafe_function(self.env, self.function);
            }
        }
    }
}

impl Drop for ThreadPoller {
    fn drop(&mut self) {
        {
            // Under the lock, so that the thread cannot begin to wait in between.
            let _found = self
                .signals
                .found
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            self.signals.stop.store(true, Ordering::SeqCst);
        }
        self.signals.wake();
        self.signals.taken.notify_all();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            // It panicked; the panic hook has printed it, and there is nothing left to stop.
        }
        // SAFETY: released once; no thread calls it any more.
        unsafe {
            sys::napi_release_threadsafe_function(
                self.function,
                sys::ThreadsafeFunctionReleaseMode::abort,
            );
        }
    }
}

fn watch_descriptors(descriptors: &[OwnedFd; 2], signals: &Signals, caller: &Caller) {
    let [requests, watches] = descriptors;
    let [writing_requests, writing_watches] = &signals.writing;
    while !signals.stop.load(Ordering::SeqCst) {
        let entry = |fd: &OwnedFd, writing: &AtomicBool| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: if writing.load(Ordering::SeqCst) {
                libc::POLLIN | libc::POLLOUT
            } else {
                libc::POLLIN
            },
            revents: 0,
        };
        let wake = libc::pollfd {
            fd: signals.wake.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let mut fds = [
            entry(requests, writing_requests),
            entry(watches, writing_watches),
            wake,
        ];
        // SAFETY: pointer and count are those of one live array.
        unsafe { libc::poll(fds.as_mut_ptr(), 3, -1) };
        let [requests, watches, wake] = fds;
        if wake.revents != 0 {
            let mut count = [0_u8; 8];
            // SAFETY: eight bytes are what an eventfd gives.
            unsafe { libc::read(wake.fd, count.as_mut_ptr().cast(), count.len()) };
        }
        if requests.revents == 0 && watches.revents == 0 {
            continue;
        }
        // Until JavaScript has read, the descriptor would be found ready again at once.
        let mut found = signals.found.lock().unwrap_or_else(PoisonError::into_inner);
        *found = Some([requests.revents, watches.revents]);
        if !caller.call() {
            return;
        }
        while found.is_some() && !signals.stop.load(Ordering::SeqCst) {
            found = signals
                .taken
                .wait(found)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

unsafe extern "C" fn call_js<T: Ready>(
    env: sys::napi_env,
    _: sys::napi_value,
    context: *mut c_void,
    _: *mut c_void,
) {
    if env.is_null() {
        return;
    }
    // SAFETY: Node finalizes the function, and with it the context, after the last call.
    let context = unsafe { &*context.cast::<Context<T>>() };
    let (owner, signals) = (Rc::clone(&context.owner), Arc::clone(&context.signals));
    // A panic must not unwind into Node; the panic hook has printed it.
    drop(catch_unwind(AssertUnwindSafe(|| {
        let found = *signals.found.lock().unwrap_or_else(PoisonError::into_inner);
        for (line, found) in LINES.into_iter().zip(found.unwrap_or_default()) {
            if found != 0 {
                Rc::clone(&owner).ready(line, found & libc::POLLOUT != 0);
            }
        }
    })));
    *signals.found.lock().unwrap_or_else(PoisonError::into_inner) = None;
    signals.taken.notify_all();
}

unsafe extern "C" fn finalize<T: Ready>(_: sys::napi_env, context: *mut c_void, _: *mut c_void) {
    // SAFETY: Node calls this once.
    let context = unsafe { Box::from_raw(context.cast::<Context<T>>()) };
    drop(catch_unwind(AssertUnwindSafe(|| drop(context))));
}
