//! Files of the agent's own, in a directory that nobody else can change.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, fsync, openat, renameat, unlinkat};
use rustix::io::{Errno, write};

use crate::error::{Error, Result};
use crate::identity::is_ours;
use crate::read::open_file;

const OWNER_ONLY: u32 = 0o600;
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A directory of the agent's own, held open.
pub(crate) struct PrivateDirectory(OwnedFd);

impl PrivateDirectory {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty())?;
        let stat = fstat(&fd)?;
        if !is_ours(stat.st_uid) || stat.st_mode & WRITABLE_BY_OTHERS != 0 {
            return Err(Error::Refused(format!(
                "{} can be changed by others: it belongs to uid {} and has mode {:04o}",
                path.display(),
                stat.st_uid,
                stat.st_mode & 0o7777
            )));
        }
        Ok(Self(fd))
    }

    /// Makes a file that was not there before.
    pub(crate) fn create(&self, name: &OsStr) -> Result<OwnedFd> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(
            &self.0,
            name,
            flags,
            Mode::from_raw_mode(OWNER_ONLY),
        )?)
    }

    pub(crate) fn open_file(&self, name: &OsStr) -> Result<OwnedFd> {
        open_file(&self.0, name, &name.to_string_lossy()).map(|(fd, _)| fd)
    }

    fn remove(&self, name: &OsStr) -> Result<()> {
        match unlinkat(&self.0, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            result => Ok(result?),
        }
    }
}

/// Writes a file of the agent's own, mode 0600: whole or not at all, and durable. `path` is one of this machine.
///
/// # Errors
/// What the system refuses; [`Error::Refused`] for a directory that others can change.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let invalid = || Error::path(Errno::INVAL, format!("{} names no file", path.display()));
    let (parent, name) = (
        path.parent().ok_or_else(invalid)?,
        path.file_name().ok_or_else(invalid)?,
    );
    let directory = PrivateDirectory::open(parent)?;
    let mut staged = name.to_owned();
    staged.push(".new");
    // Left of a crash.
    directory.remove(&staged)?;
    let file = directory.create(&staged)?;
    let written = write_all(&file, content).and_then(|()| Ok(fsync(&file)?));
    if let Err(error) =
        written.and_then(|()| Ok(renameat(&directory.0, &staged, &directory.0, name)?))
    {
        // The first error is the one to tell.
        drop(directory.remove(&staged));
        return Err(error);
    }
    Ok(fsync(&directory.0)?)
}

/// Whether the name is that of something in a directory, and of nothing elsewhere.
pub(crate) fn is_name(name: &OsStr) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.as_encoded_bytes().contains(&b'/')
}

pub(crate) fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match write(&fd, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
