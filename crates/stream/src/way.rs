//! The way to a file that nobody else can make lead elsewhere.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};

const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;
/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

/// A directory that is held open, and the name of an entry in it that is no link.
pub struct Place {
    directory: OwnedFd,
    name: OsString,
}

impl Place {
    /// Walks to `path` from the top, directory by directory. Each of them, and each link, has to be root's or of the user
    /// that this process acts as, and others may not write in it, but for one in which they cannot exchange what is not
    /// theirs, such as /tmp.
    ///
    /// # Errors
    /// The system's; `PermissionDenied`, which names what it was on the way that others can change.
    pub fn find(path: &Path) -> io::Result<Self> {
        let mut left = names(path);
        let mut shown = PathBuf::from(if path.is_absolute() { "/" } else { "." });
        let mut directory = open_directory(CWD, shown.as_os_str())?;
        judge(&fstat(&directory)?, &shown)?;
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            let status = statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            let entry = shown.join(&name);
            if FileType::from_raw_mode(status.st_mode) == FileType::Symlink {
                links += 1;
                if links > MAX_LINKS {
                    return Err(io::Error::from_raw_os_error(libc::ELOOP));
                }
                judge_owner(&status, &entry)?;
                let target = readlinkat(&directory, &name, Vec::new())?.into_bytes();
                let target = PathBuf::from(OsString::from_vec(target));
                if target.is_absolute() {
                    shown = PathBuf::from("/");
                    directory = open_directory(CWD, shown.as_os_str())?;
                }
                for name in names(&target).into_iter().rev() {
                    left.push_front(name);
                }
            } else if left.is_empty() {
                return Ok(Self { directory, name });
            } else {
                directory = open_directory(&directory, &name)?;
                judge(&fstat(&directory)?, &entry)?;
                shown = entry;
            }
        }
        Err(io::Error::other("it is a directory"))
    }

    /// What the entry is.
    pub fn status(&self) -> io::Result<Stat> {
        Ok(statat(
            &self.directory,
            &self.name,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    /// Opens the entry, if it still is no link.
    pub fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.directory, &self.name, flags, Mode::empty())?)
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsStr::from_bytes(b"..").to_owned()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn open_directory(at: impl std::os::fd::AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

fn judge(directory: &Stat, shown: &Path) -> io::Result<()> {
    judge_owner(directory, shown)?;
    if directory.st_mode & WRITABLE_BY_OTHERS == 0 || directory.st_mode & STICKY != 0 {
        return Ok(());
    }
    Err(denied(format!(
        "{} has mode {:04o}: wanted a directory that only its owner can write",
        shown.display(),
        directory.st_mode & 0o7777
    )))
}

fn judge_owner(entry: &Stat, shown: &Path) -> io::Result<()> {
    if is_ours(entry) {
        return Ok(());
    }
    Err(denied(format!(
        "{} belongs to user {}, who can make it lead elsewhere: wanted root's",
        shown.display(),
        entry.st_uid
    )))
}

/// Whether it is root's, or of the user that this process acts as.
pub fn is_ours(entry: &Stat) -> bool {
    entry.st_uid == 0 || entry.st_uid == rustix::process::geteuid().as_raw()
}

pub fn denied(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, reason)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};

    use super::*;
    use crate::testing::{Outcome, Scratch};

    /// Has the file `inner/file`.
    fn scratch(name: &str) -> io::Result<Scratch> {
        let scratch = Scratch::make(name)?;
        fs::create_dir(scratch.join("inner"))?;
        fs::write(scratch.join("inner/file"), "")?;
        Ok(scratch)
    }

    fn refusal(path: &Path) -> String {
        Place::find(path)
            .err()
            .map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn links_of_ours_are_followed_whatever_their_form() -> Outcome {
        let scratch = scratch("links")?;
        let file = fs::metadata(scratch.join("inner/file"))?;
        symlink("inner/../inner/./file", scratch.join("relative"))?;
        symlink(scratch.join("relative"), scratch.join("absolute"))?;
        symlink("inner", scratch.join("directory"))?;
        for path in [
            "inner/file",
            "relative",
            "absolute",
            "directory/file",
            "directory/../relative",
        ] {
            let status = Place::find(&scratch.join(path))?.status()?;
            assert_eq!(
                status.st_ino,
                std::os::unix::fs::MetadataExt::ino(&file),
                "{path}"
            );
        }
        symlink("loop", scratch.join("loop"))?;
        assert!(refusal(&scratch.join("loop")).contains("symbolic links"));
        assert_eq!(refusal(Path::new("/")), "it is a directory");
        Ok(())
    }

    #[test]
    fn what_others_can_exchange_on_the_way_is_refused_with_its_name() -> Outcome {
        let scratch = scratch("others")?;
        let inner = scratch.join("inner");
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o777))?;
        assert!(refusal(&inner.join("file")).contains("inner has mode 0777"));
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o1777))?;
        assert_eq!(refusal(&inner.join("file")), "");
        symlink("inner/file", scratch.join("link"))?;
        lchown(scratch.join("link"), Some(65534), None)?;
        assert!(refusal(&scratch.join("link")).contains("link belongs to user 65534"));
        lchown(&inner, Some(65534), None)?;
        assert!(refusal(&inner.join("file")).contains("inner belongs to user 65534"));
        Ok(())
    }
}
