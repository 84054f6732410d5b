//! Unix sockets for their owner alone.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fchmod, openat, statat, unlinkat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, socket_with,
};
use rustix::process::geteuid;

const BACKLOG: i32 = 128;
const OTHERS: u32 = 0o077;

/// Where a socket has its name. The name stays when this is dropped.
#[derive(Debug)]
pub struct SocketName {
    directory: OwnedFd,
    name: OsString,
    /// Device and inode of the socket that was given this name.
    identity: (u64, u64),
}

impl SocketName {
    /// Takes the name away, if it still is that of the same socket.
    pub fn remove(self) {
        if status_of(&self.directory, &self.name)
            .is_ok_and(|status| status.is_some_and(|status| identity_of(&status) == self.identity))
        {
            // Somebody may have removed it meanwhile.
            unlinkat(&self.directory, &self.name, AtFlags::empty()).unwrap_or_default();
        }
    }
}

/// Listens at `path`, with mode 0600 from the first moment. A socket of ours that nobody listens at is replaced, and
/// nothing else is: no other user's socket, and no other file.
///
/// # Errors
/// `AddrInUse` when somebody listens there; `AlreadyExists` when something stands there that is not to be replaced; the
/// system's.
pub fn listen(path: &Path) -> io::Result<(UnixListener, SocketName)> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::other("it is a directory"))?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .map_or_else(|| PathBuf::from("."), Path::to_owned);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, &parent, flags, Mode::empty())?;
    let address = SocketAddrUnix::new(path)?;
    make_room(&directory, name, &address)?;

    let socket = make_socket()?;
    // The file gets the mode that the socket has. chmod(2) of the path would come a moment after the file is there, and
    // umask(2) is of the whole process.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &address).map_err(|error| match error {
        Errno::ADDRINUSE => io::Error::new(
            ErrorKind::AlreadyExists,
            "somebody else has just made something there",
        ),
        other => other.into(),
    })?;
    let status = status_of(&directory, name)?
        .filter(|status| is_our_socket(status) && status.st_mode & OTHERS == 0)
        .ok_or_else(|| io::Error::other("something else is there than the socket that was made"))?;
    let name = SocketName {
        directory,
        name: name.to_owned(),
        identity: identity_of(&status),
    };
    if let Err(error) = rustix::net::listen(&socket, BACKLOG) {
        name.remove();
        return Err(error.into());
    }
    Ok((UnixListener::from(socket), name))
}

/// Removes what a program of ours left that ended without doing so.
fn make_room(directory: &OwnedFd, name: &OsStr, address: &SocketAddrUnix) -> io::Result<()> {
    let Some(found) = status_of(directory, name)? else {
        return Ok(());
    };
    if !is_our_socket(&found) {
        let reason = format!(
            "{} stands there: wanted nothing, or a socket of user {} that nobody listens at",
            describe(&found),
            geteuid().as_raw()
        );
        return Err(io::Error::new(ErrorKind::AlreadyExists, reason));
    }
    match connect(&make_socket()?, address) {
        Err(Errno::CONNREFUSED) => {}
        // AGAIN: somebody listens, and many wait already.
        Ok(()) | Err(Errno::AGAIN) => {
            let reason = "another program listens there";
            return Err(io::Error::new(ErrorKind::AddrInUse, reason));
        }
        Err(error) => return Err(error.into()),
    }
    let unchanged = status_of(directory, name)?
        .is_some_and(|status| identity_of(&status) == identity_of(&found));
    if unchanged {
        unlinkat(directory, name, AtFlags::empty())?;
    }
    Ok(())
}

/// One that never waits.
fn make_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        flags,
        None,
    )?)
}

/// None when nothing stands there.
fn status_of(directory: &OwnedFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(Some(status)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn identity_of(status: &Stat) -> (u64, u64) {
    (status.st_dev, status.st_ino)
}

fn is_our_socket(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::Socket
        && status.st_uid == geteuid().as_raw()
}

fn describe(status: &Stat) -> String {
    let kind = match FileType::from_raw_mode(status.st_mode) {
        FileType::Socket => "a socket",
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        _ => "a file of another kind",
    };
    format!("{kind} of user {}", status.st_uid)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;
    use crate::sys::check;
    use crate::testing::{Outcome, Scratch};

    fn refusal(path: &Path) -> String {
        listen(path)
            .err()
            .map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn the_socket_of_a_dead_program_is_replaced_and_that_of_a_living_one_is_not() -> Outcome {
        let scratch = Scratch::make("dead")?;
        let path = scratch.join("socket");
        let (listener, _) = listen(&path)?;
        assert_eq!(refusal(&path), "another program listens there");
        UnixStream::connect(&path)?;
        drop(listener);
        let (listener, name) = listen(&path)?;
        UnixStream::connect(&path)?;
        name.remove();
        assert!(!path.exists());
        drop(listener);
        Ok(())
    }

    #[test]
    fn nothing_but_a_socket_of_ours_is_ever_removed() -> Outcome {
        let scratch = Scratch::make("others")?;
        let file = scratch.join("file");
        fs::write(&file, "keep")?;
        assert!(
            refusal(&file).starts_with("a regular file of user 0 stands there: wanted nothing")
        );
        assert_eq!(fs::read(&file)?, b"keep");

        let socket = scratch.join("socket");
        drop(listen(&socket)?);
        let link = scratch.join("link");
        symlink(&socket, &link)?;
        assert!(refusal(&link).starts_with("a symbolic link of user 0 stands there"));
        lchown(&socket, Some(65534), None)?;
        assert!(refusal(&socket).starts_with("a socket of user 65534 stands there"));
        assert!(refusal(scratch.path()).starts_with("a directory of user 0 stands there"));
        assert!(fs::symlink_metadata(&link).is_ok() && fs::symlink_metadata(&socket).is_ok());
        Ok(())
    }

    #[test]
    fn what_took_the_place_of_a_socket_is_left_alone() -> Outcome {
        let scratch = Scratch::make("exchanged")?;
        let path = scratch.join("socket");
        let (_listener, name) = listen(&path)?;
        fs::rename(&path, scratch.join("moved"))?;
        fs::write(&path, "keep")?;
        name.remove();
        assert_eq!(fs::read(&path)?, b"keep");
        Ok(())
    }

    #[test]
    fn there_is_no_moment_at_which_others_may_connect() -> Outcome {
        let scratch = Scratch::make("mode")?;
        let path = scratch.join("socket");
        let ended = Arc::new(AtomicBool::new(false));
        let watcher = {
            let (path, ended) = (path.clone(), Arc::clone(&ended));
            thread::spawn(move || {
                let mut modes = std::collections::BTreeSet::new();
                while !ended.load(Ordering::Relaxed) {
                    if let Ok(status) = fs::symlink_metadata(&path) {
                        modes.insert(status.permissions().mode() & 0o777);
                    }
                }
                modes
            })
        };
        let made = {
            let path = path.clone();
            thread::spawn(move || -> io::Result<()> {
                // SAFETY: take no pointers. The mask is this thread's alone after the first.
                unsafe {
                    check(libc::unshare(libc::CLONE_FS))?;
                    libc::umask(0);
                }
                for _ in 0..20_000 {
                    let (_listener, name) = listen(&path)?;
                    name.remove();
                }
                Ok(())
            })
        };
        made.join().map_err(|_| "the maker panicked")??;
        ended.store(true, Ordering::Relaxed);
        let modes = watcher.join().map_err(|_| "the watcher panicked")?;
        assert_eq!(modes.into_iter().collect::<Vec<_>>(), [0o600]);
        Ok(())
    }
}
