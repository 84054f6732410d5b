//! What a file has besides its content: owner, mode, label, ACLs and other extended attributes.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, Stat, XattrFlags, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::error::{Error, Result};

/// All of a mode but the type.
pub(crate) const PERMISSIONS: u32 = 0o7777;
/// Set-uid and set-gid.
pub(crate) const SPECIAL: u32 = 0o6000;

/// Attributes that are bound to one content or one place, and wrong on any other file.
const BOUND: [&[u8]; 3] = [b"security.ima", b"security.evm", b"trusted.overlay."];
/// Rights of whoever runs the file: never for one that a user may still hold open.
const CAPABILITIES: &[u8] = b"security.capability";
/// The kernel's limits, linux/limits.h.
const LIST_MAX: usize = 65536;
const VALUE_MAX: usize = 65536;

/// Whose a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Owner {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            uid: stat.st_uid,
            gid: stat.st_gid,
        }
    }
}

pub(crate) fn permissions(stat: &Stat) -> u32 {
    stat.st_mode & PERMISSIONS
}

/// Leaves an owner that is right already alone: without privileges even that call is refused.
pub(crate) fn own(fd: BorrowedFd<'_>, owner: Owner) -> Result<()> {
    if Owner::of(&fstat(fd)?) != owner {
        let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
        fchown(fd, Some(uid), Some(gid))?;
    }
    Ok(())
}

/// To be called last: a change of owner clears the set-uid bits, and the group's bits are the mask of an ACL.
pub(crate) fn set_mode(fd: BorrowedFd<'_>, mode: u32) -> Result<()> {
    fchmod(fd, Mode::from_raw_mode(mode)).map_err(Error::System)
}

/// Extended attributes: the SELinux label, ACLs and the user's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attributes(Vec<(Vec<u8>, Vec<u8>)>);

impl Attributes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The attributes of a file that another one may have.
pub(crate) fn attributes(fd: BorrowedFd<'_>) -> Result<Attributes> {
    let mut attributes = Vec::new();
    for name in names(fd)? {
        if BOUND.iter().any(|bound| name.starts_with(bound)) {
            continue;
        }
        // Absent when it was removed since it was listed.
        if let Some(value) = value(fd, &name)? {
            attributes.push((name, value));
        }
    }
    Ok(Attributes(attributes))
}

pub(crate) fn set_attributes(
    fd: BorrowedFd<'_>,
    Attributes(attributes): &Attributes,
) -> Result<()> {
    for (name, wanted) in attributes {
        // What is right already is left alone: a container may not be allowed to set even that.
        if matches!(value(fd, name), Ok(Some(present)) if present == *wanted) {
            continue;
        }
        match fsetxattr(fd, name.as_slice(), wanted, XattrFlags::empty()) {
            Err(Errno::NOTSUP) => {}
            Err(Errno::PERM) if is_nobodys(name) => {}
            result => result?,
        }
    }
    Ok(())
}

/// A label of a security module that is not in force asks for CAP_SYS_ADMIN, which a sandbox has not; where the module is
/// in force, it decides itself.
fn is_nobodys(name: &[u8]) -> bool {
    name.starts_with(b"security.") && name != CAPABILITIES
}

/// Whether the file gives rights to whoever runs it.
pub(crate) fn has_capabilities(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(value(fd, CAPABILITIES)?.is_some())
}

fn names(fd: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>> {
    let mut list = vec![0_u8; 1024];
    let length = loop {
        match flistxattr(fd.as_fd(), list.as_mut_slice()) {
            Ok(length) => break length,
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Err(Errno::RANGE) if list.len() < LIST_MAX => list.resize(LIST_MAX, 0),
            Err(errno) => return Err(errno.into()),
        }
    };
    let used = list.get(..length).unwrap_or_default();
    Ok(used
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect())
}

fn value(fd: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut value = vec![0_u8; 256];
    loop {
        match fgetxattr(fd.as_fd(), name, value.as_mut_slice()) {
            Ok(length) => {
                value.truncate(length);
                return Ok(Some(value));
            }
            Err(Errno::NODATA | Errno::NOTSUP) => return Ok(None),
            Err(Errno::RANGE) if value.len() < VALUE_MAX => value.resize(VALUE_MAX, 0),
            Err(errno) => return Err(errno.into()),
        }
    }
}
