//! Acting with a user's rights on files: what a race against that user leads to is then something that he could have
//! done himself.
//!
//! The rights are those of a thread, which ends afterwards; the process keeps its own. glibc's `setgroups` would change
//! every thread of the process, so it is called by its number, as `setfsuid` is.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::Builder;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Uid, geteuid};

use crate::error::{Error, Result};

/// How long a file system may take to answer a call on behalf of a user: he may have mounted one that never does.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of a thread's stack, bytes.
pub(crate) const STACK: usize = 256 * 1024;
/// The group `nogroup`, for a user whose primary group is not known: nothing of value is that group's.
const NO_GROUP: u32 = 65534;
/// As a group's or user's number it means "none", and so asks for the present one.
const ASK: u32 = u32::MAX;

/// A user whose rights on files are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    /// The primary group; `None` where it is not known.
    pub(crate) gid: Option<u32>,
}

/// Root, or whoever runs the agent: those whose doings are ours.
pub(crate) fn is_ours(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

/// Whether there are rights to lay down: only root has them.
pub(crate) fn can_act() -> bool {
    geteuid() == Uid::ROOT
}

/// How many threads that were given up have not ended, and how many there may be: each holds descriptors.
static STUCK: AtomicUsize = AtomicUsize::new(0);
const MOST_STUCK: usize = 8;
/// What a thread may be.
const RUNNING: u8 = 0;
const GIVEN_UP: u8 = 1;
const ENDED: u8 = 2;

thread_local! {
    /// Whether somebody still waits for this thread.
    static STATE: RefCell<Option<Arc<AtomicU8>>> = const { RefCell::new(None) };
}

/// To be asked before what changes names: nothing is to happen of which it was told that it did not.
pub(crate) fn still_wanted() -> Result<()> {
    if was_given_up() {
        return Err(Error::TimedOut(PATIENCE));
    }
    Ok(())
}

fn was_given_up() -> bool {
    STATE.with_borrow(|state| {
        state
            .as_ref()
            .is_some_and(|state| state.load(Ordering::SeqCst) == GIVEN_UP)
    })
}

/// Does `work` with the rights of `identity`; with our own where it is `None`.
pub(crate) fn act<T: Send + 'static>(
    identity: Option<Identity>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let Some(identity) = identity else {
        return work();
    };
    if STUCK.load(Ordering::SeqCst) >= MOST_STUCK {
        return Err(Error::Refused(format!(
            "{MOST_STUCK} earlier steps still wait for file systems of users that do not answer"
        )));
    }
    let (sender, receiver) = channel();
    let state = Arc::new(AtomicU8::new(RUNNING));
    let told = Arc::clone(&state);
    Builder::new()
        .name("guestwire-owner".into())
        .stack_size(STACK)
        .spawn(move || {
            STATE.set(Some(Arc::clone(&told)));
            // Nobody waits any more when it took too long.
            drop(sender.send(become_owner(identity).and_then(|()| work())));
            if told.swap(ENDED, Ordering::SeqCst) == GIVEN_UP {
                STUCK.fetch_sub(1, Ordering::SeqCst);
            }
        })?;
    match receiver.recv_timeout(PATIENCE) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => {
            STUCK.fetch_add(1, Ordering::SeqCst);
            if state.swap(GIVEN_UP, Ordering::SeqCst) == ENDED {
                STUCK.fetch_sub(1, Ordering::SeqCst);
            }
            Err(Error::TimedOut(PATIENCE))
        }
        Err(RecvTimeoutError::Disconnected) => Err(Error::Refused(
            "the work in its owner's name ended unexpectedly".into(),
        )),
    }
}

#[cfg(target_os = "linux")]
fn become_owner(Identity { uid, gid }: Identity) -> Result<()> {
    if uid == 0 {
        return Ok(());
    }
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_thread_groups};

    let refused = || {
        Error::Refused(format!(
            "the agent may not act as uid {uid}, who owns the directory (wanted: CAP_SETUID and CAP_SETGID)"
        ))
    };
    set_thread_groups(&[]).map_err(|_| refused())?;
    let gid = gid.unwrap_or(NO_GROUP);
    set_file_system_id(libc::SYS_setfsgid, gid);
    set_file_system_id(libc::SYS_setfsuid, uid);
    // Neither call says whether it did anything.
    if set_file_system_id(libc::SYS_setfsgid, ASK) != gid
        || set_file_system_id(libc::SYS_setfsuid, ASK) != uid
    {
        return Err(refused());
    }
    // Leaving the uid 0 took those on files away; these are the rest.
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    set_capabilities(None, sets).map_err(Error::System)
}

#[cfg(target_os = "linux")]
fn set_file_system_id(call: libc::c_long, id: u32) -> u32 {
    // SAFETY: both calls take one integer and return one.
    let previous = unsafe { libc::syscall(call, id) };
    previous as u32
}

#[cfg(not(target_os = "linux"))]
fn become_owner(Identity { uid, .. }: Identity) -> Result<()> {
    Err(Error::Refused(format!(
        "the directory belongs to uid {uid}: this system has no file-system identity of a thread"
    )))
}

/// Whether an error says that a user may not do what was tried with his rights.
pub(crate) fn is_denial(error: &Error) -> bool {
    matches!(error.errno(), Some(Errno::ACCESS | Errno::PERM))
}
