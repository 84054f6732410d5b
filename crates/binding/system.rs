//! What the agent needs of the system and Node does not offer.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use napi::bindgen_prelude::{AsyncTask, Buffer};
use napi::{Env, Error, JsError, Result, Task};
use napi_derive::napi;
use zeroize::Zeroizing;

use crate::error::{CodedError, ErrorCode};

/// Tells systemd about the service's state, such as `READY=1`. False when the agent was not started by it.
#[napi(catch_unwind)]
pub fn notify(state: String) -> Result<bool> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(false);
    };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(true)
}

/// Puts `program` in the place of this process, which keeps its number, its environment and its three standard streams.
/// Every other descriptor is closed. Returns only to say why it could not.
#[napi(catch_unwind)]
pub fn replace_process(program: String, arguments: Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let Some(descriptor) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // Node marks the standard streams too, so that its children get others.
        let flags = if descriptor > 2 { libc::FD_CLOEXEC } else { 0 };
        // SAFETY: plain integers. One that was closed since it was listed (the listing's own) is an error to ignore.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, flags) };
    }
    // Handlers of signals end with this program by themselves; std unblocks the rest, and SIGPIPE is as it was at first.
    // A SIGHUP that comes before the new program has a handler would end it, and what is ignored stays so until then.
    // SAFETY: takes no pointers.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    let error = Command::new(&program).args(&arguments).exec();
    Err(Error::from_reason(format!("cannot run {program}: {error}")))
}

/// An exclusive lock on a whole file, as lckpwdf(3) takes on /etc/.pwd.lock.
#[napi]
pub struct FileLock {
    file: Option<File>,
}

#[napi]
impl FileLock {
    /// Waits on a thread of its own until the lock is free; fails with LOCK_TIMEOUT after `timeout_ms`. The file is
    /// made, mode 0600, where there is none.
    #[napi(catch_unwind, ts_return_type = "Promise<FileLock>")]
    pub fn acquire(path: String, timeout_ms: u32) -> AsyncTask<AcquireLock> {
        AsyncTask::new(AcquireLock {
            path,
            timeout: Duration::from_millis(timeout_ms.into()),
            timed_out: false,
        })
    }

    /// Lets others have the lock. Releasing twice is quiet.
    #[napi(catch_unwind)]
    pub fn release(&mut self) {
        self.file = None;
    }
}

/// Time between two tries to get a lock: the kernel's own waiting could not be given up after a time.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// The wait for a [`FileLock`].
pub struct AcquireLock {
    path: String,
    timeout: Duration,
    timed_out: bool,
}

impl Task for AcquireLock {
    type Output = File;
    type JsValue = FileLock;

    fn compute(&mut self) -> Result<File> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&self.path)
            .map_err(|error| Error::from_reason(format!("cannot open {}: {error}", self.path)))?;
        let deadline = Instant::now() + self.timeout;
        while !try_lock(&file)
            .map_err(|error| Error::from_reason(format!("cannot lock {}: {error}", self.path)))?
        {
            if Instant::now() >= deadline {
                self.timed_out = true;
                return Err(Error::from_reason(format!(
                    "{} was locked by another program for {:?}",
                    self.path, self.timeout
                )));
            }
            sleep(LOCK_RETRY);
        }
        Ok(file)
    }

    fn resolve(&mut self, _env: Env, file: File) -> Result<FileLock> {
        Ok(FileLock { file: Some(file) })
    }

    fn reject(&mut self, env: Env, error: Error) -> Result<FileLock> {
        Err(if self.timed_out {
            coded(env, ErrorCode::LockTimeout, &error)
        } else {
            error
        })
    }
}

/// Whether the lock was free and is now ours.
///
/// The lock belongs to the open file, not to the process, so that closing some other descriptor of the file does not
/// drop it and two users in one process exclude one another. It excludes the classic kind that other programs take.
fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: flock is plain integers, for which zeros are valid; zero offsets mean the whole file.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    // SAFETY: the descriptor is open as long as `file` lives, and the kernel only reads `lock` during the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES | libc::EINTR) => Ok(false),
        _ => Err(error),
    }
}

/// A scheme of crypt(3).
#[napi(string_enum = "lowercase")]
#[derive(Clone, Copy)]
pub enum HashScheme {
    /// `$y$`, with libxcrypt's default cost.
    Yescrypt,
    /// `$6$`, with the default of 5,000 rounds.
    Sha512,
}

/// Hashes a password for crypt(3), with a fresh salt, on a thread of its own: it takes tens of milliseconds.
#[napi(catch_unwind, ts_return_type = "Promise<string>")]
pub fn hash_password(password: Buffer, scheme: HashScheme) -> AsyncTask<HashPassword> {
    AsyncTask::new(HashPassword {
        password: Zeroizing::new(password.to_vec()),
        scheme,
    })
}

/// The work of [`hash_password`].
pub struct HashPassword {
    password: Zeroizing<Vec<u8>>,
    scheme: HashScheme,
}

impl Task for HashPassword {
    type Output = String;
    type JsValue = String;

    fn compute(&mut self) -> Result<String> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::from_reason(format!("cannot hash the password: {error}"))
        };
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| failed(&error))?;
        match self.scheme {
            HashScheme::Yescrypt => {
                use yescrypt::{PasswordHasher, Yescrypt};
                Yescrypt::default()
                    .hash_password_with_salt(&self.password, &salt)
                    .map(|hash| hash.to_string())
                    .map_err(|error| failed(&error))
            }
            HashScheme::Sha512 => {
                use sha_crypt::{PasswordHasher, ShaCrypt};
                // Twelve bytes are the sixteen characters of salt that crypt(3) reads; with more it makes another hash.
                // It leaves the default number of rounds out, and so do the tools that read these hashes.
                ShaCrypt::SHA512
                    .hash_password_with_salt(&self.password, &salt[..12])
                    .map(|hash| hash.as_str().replacen("rounds=5000$", "", 1))
                    .map_err(|error| failed(&error))
            }
        }
    }

    fn resolve(&mut self, _env: Env, hash: String) -> Result<String> {
        Ok(hash)
    }

    fn reject(&mut self, env: Env, error: Error) -> Result<String> {
        Err(coded(env, ErrorCode::HashFailed, &error))
    }
}

/// An error that JavaScript sees with `code`: a task's own errors have none.
fn coded(env: Env, code: ErrorCode, error: &Error) -> Error {
    JsError::from(CodedError::new(code, error.reason.clone()))
        .into_unknown(env)
        .into()
}
