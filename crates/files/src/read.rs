//! Reading: what a path leads to, and what is in it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::{Errno, pread};

use crate::error::{Error, Result};
use crate::identity::act;
use crate::marks::{Owner, permissions};
use crate::place::{check_in_home, check_own_file};
use crate::private::write_all;
use crate::walk::{Home, Last, Purpose, Walk, walk, walk_without_groups};

/// Of a file in a home: whoever made a larger one there does not mean it to be read.
pub(crate) const MAX_HOME_FILE: usize = 1024 * 1024;
/// Of any other file below a user's directory: he can make one that takes all memory and nothing of his disk.
pub(crate) const MAX_USER_FILE: usize = 64 * 1024 * 1024;
const CHUNK: usize = 256 * 1024;
/// What files of /proc give at once, though their size is 0.
const PAGE: usize = 4096;

/// What something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A link, and where it leads.
    Link(String),
    /// A device, a pipe or a socket.
    Other,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, such as 0o644.
    pub mode: u32,
    /// Whose it is.
    pub owner: Owner,
    /// Bytes.
    pub size: u64,
}

/// The whole of a regular file; `None` when there is none.
///
/// # Errors
/// What the system refuses; [`Error::Refused`] for what a user could have prepared, and for what is no regular file.
pub fn read(root: &Path, path: &str) -> Result<Option<Vec<u8>>> {
    read_at_end(walk(root, path, Last::Follow, Purpose::Read, None), path)
}

/// At most `length` bytes of a regular file from `offset` on, fewer only at its end; `None` when there is none.
///
/// # Errors
/// As [`read`].
pub fn read_part(root: &Path, path: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>> {
    let way = walk(root, path, Last::Follow, Purpose::Read, None);
    with_file(way, path, None, move |fd, _| {
        read_from(fd, offset, length).map(|(bytes, _)| bytes)
    })
}

/// As [`read`], for a file of a user's own, of a megabyte at most.
///
/// # Errors
/// As [`read`]; besides, for what is not below the home, and for what the user could not have read there.
pub fn read_in_home(root: &Path, path: &str, home: &Home) -> Result<Option<Vec<u8>>> {
    let user = home.uid;
    let way = walk(root, path, Last::Follow, Purpose::Read, Some(home));
    with_file(way, path, Some((root, home)), move |fd, stat| {
        check_own_file(stat, user)?;
        whole(fd, MAX_HOME_FILE)
    })
}

/// Names in a directory, sorted; none when there is no such directory.
///
/// # Errors
/// As [`read`].
pub fn list(root: &Path, path: &str) -> Result<Vec<String>> {
    let Some(walk) = existing(walk(root, path, Last::Follow, Purpose::Read, None))? else {
        return Ok(Vec::new());
    };
    if walk.leaf.is_some() {
        return Ok(Vec::new());
    }
    let directory = walk.top()?.fd.clone();
    act(walk.identity, move || {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let readable = openat(&directory, ".", flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in Dir::new(readable)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    })
}

/// What stands at `path` itself, a link not followed; `None` when there is nothing.
///
/// # Errors
/// As [`read`].
pub fn status(root: &Path, path: &str) -> Result<Option<Status>> {
    let Some(walk) = existing(walk(root, path, Last::Keep, Purpose::Read, None))? else {
        return Ok(None);
    };
    let (stat, target) = match &walk.leaf {
        None => (walk.top()?.stat, None),
        Some(leaf) => match leaf.stat {
            None => return Ok(None),
            Some(stat) => (stat, leaf.target.as_ref()),
        },
    };
    let kind = match (FileType::from_raw_mode(stat.st_mode), target) {
        (_, Some(target)) => Kind::Link(target.to_string_lossy().into_owned()),
        (FileType::RegularFile, _) => Kind::File,
        (FileType::Directory, _) => Kind::Directory,
        _ => Kind::Other,
    };
    Ok(Some(Status {
        kind,
        mode: permissions(&stat),
        owner: Owner::of(&stat),
        size: stat.st_size.unsigned_abs(),
    }))
}

/// Where `path` leads when its links are followed, inside the root; `None` when there is nothing.
///
/// # Errors
/// As [`read`].
pub fn resolve(root: &Path, path: &str) -> Result<Option<String>> {
    let walk = existing(walk(root, path, Last::Follow, Purpose::Read, None))?;
    Ok(walk
        .filter(|walk| walk.leaf.as_ref().is_none_or(|leaf| leaf.stat.is_some()))
        .map(|walk| walk.inside()))
}

/// As [`read`], of the list of users, for the sake of which the list of users cannot be asked.
pub(crate) fn read_passwd(root: &Path, path: &str) -> Result<Option<Vec<u8>>> {
    read_at_end(walk_without_groups(root, path), path)
}

/// `None` for an error that means that there is nothing.
fn existing(walk: Result<Walk>) -> Result<Option<Walk>> {
    match walk {
        Err(error) if error.is_absence() => Ok(None),
        walk => walk.map(Some),
    }
}

fn read_at_end(way: Result<Walk>, path: &str) -> Result<Option<Vec<u8>>> {
    let is_users = way.as_ref().is_ok_and(|way| way.identity.is_some());
    let limit = if is_users { MAX_USER_FILE } else { usize::MAX };
    with_file(way, path, None, move |fd, _| whole(fd, limit))
}

fn with_file<T: Send + 'static>(
    way: Result<Walk>,
    path: &str,
    home: Option<(&Path, &Home)>,
    work: impl FnOnce(&OwnedFd, &Stat) -> Result<T> + Send + 'static,
) -> Result<Option<T>> {
    let Some(walk) = existing(way)? else {
        return Ok(None);
    };
    if let Some((root, home)) = home {
        check_in_home(root, &walk, home)?;
    }
    let name = match &walk.leaf {
        None => {
            return Err(Error::path(
                Errno::INVAL,
                format!("{path} is not a regular file"),
            ));
        }
        Some(leaf) => {
            let Some(stat) = &leaf.stat else {
                return Ok(None);
            };
            if let Some((_, home)) = home {
                check_own_file(stat, home.uid)?;
            }
            leaf.name.clone()
        }
    };
    let directory = walk.top()?.fd.clone();
    let shown = if home.is_some() { "it" } else { path }.to_owned();
    act(walk.identity, move || {
        match open_file(&directory, &name, &shown) {
            Ok((fd, stat)) => work(&fd, &stat).map(Some),
            Err(error) if error.is_absence() => Ok(None),
            Err(error) => Err(error),
        }
    })
}

/// Opens a regular file; opening a pipe or a device could block for ever or set something off.
pub(crate) fn open_file(
    directory: impl AsFd,
    name: &std::ffi::OsStr,
    shown: &str,
) -> Result<(OwnedFd, Stat)> {
    let flags =
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = openat(directory, name, flags, Mode::empty())?;
    let stat = fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        return Ok((fd, stat));
    }
    Err(Error::path(
        Errno::INVAL,
        format!("{shown} is not a regular file"),
    ))
}

/// The whole of a file of at most `limit` bytes.
pub(crate) fn whole(fd: impl AsFd, limit: usize) -> Result<Vec<u8>> {
    let size = fstat(&fd)?.st_size;
    if usize::try_from(size).unwrap_or(usize::MAX) > limit {
        return Err(too_large(size, limit));
    }
    match read_from(&fd, 0, limit)? {
        (bytes, true) => Ok(bytes),
        // The size was looked at before; a user can make the file grow meanwhile.
        (_, false) => Err(too_large(fstat(&fd)?.st_size, limit)),
    }
}

pub(crate) fn too_large(size: i64, limit: usize) -> Error {
    Error::Refused(format!("it has {size} bytes, wanted at most {limit}"))
}

/// At most `length` bytes from `offset` on, and whether the file ends there. A file may say that it is larger than all
/// memory: room is made as bytes come.
pub(crate) fn read_from(fd: impl AsFd, offset: u64, length: usize) -> Result<(Vec<u8>, bool)> {
    let size = usize::try_from(fstat(&fd)?.st_size).unwrap_or(0);
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    // One byte more than there is tells the end without a second look.
    let expected = size.saturating_sub(start).saturating_add(1).min(length);
    let mut bytes = Vec::new();
    let mut chunk = vec![0_u8; expected.clamp(PAGE, CHUNK)];
    while bytes.len() < length {
        let room = chunk.len().min(length - bytes.len());
        let Some(part) = chunk.get_mut(..room) else {
            break;
        };
        let at = offset.saturating_add(bytes.len() as u64);
        match pread(&fd, &mut *part, at) {
            Ok(0) => return Ok((bytes, true)),
            Ok(count) => {
                bytes.try_reserve(count).map_err(|_| Errno::NOMEM)?;
                bytes.extend_from_slice(part.get(..count).unwrap_or_default());
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let ended = pread(&fd, &mut [0_u8], offset.saturating_add(bytes.len() as u64))? == 0;
    Ok((bytes, ended))
}

/// Copies a file of at most `limit` bytes to an empty one, piece by piece.
pub(crate) fn copy(from: impl AsFd, to: impl AsFd, limit: usize) -> Result<()> {
    let size = fstat(&from)?.st_size;
    let mut chunk = vec![0_u8; CHUNK];
    let mut done = 0_usize;
    loop {
        match pread(&from, &mut chunk, done as u64) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                done = done.saturating_add(count);
                if done > limit {
                    return Err(too_large(size, limit));
                }
                write_all(&to, chunk.get(..count).unwrap_or_default())?;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
