//! The way down a path: one name at a time, each directory held open, each link read from the descriptor that was
//! judged.
//!
//! A step needs the owner of the directory that it leads to, so `openat2`, which takes many steps in one call, would
//! not spare any of it; one `O_NOFOLLOW` step at a time is the same on all kernels and under all filters of system calls.
//!
//! The rules, after systemd's `CHASE_SAFE`:
//! - A directory is root's alone if it and all above it are root's, and nobody else may write there.
//! - In a directory of root's where others may write, such as `/tmp`, only root's links count, and only where they were
//!   made.
//! - Below a directory of a user's all is done with that user's rights, and the way leads only to what is his; what is
//!   only read may be root's there.
//! - A file system that is a user's program, as with FUSE, is that user's, whatever it says.
//! - A link of a user's counts only if it leads into a directory of his.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, Statx, StatxFlags, fstat, makedev, openat,
    readlinkat, statx,
};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::identity::{Identity, act, can_act, is_ours, still_wanted};
use crate::read::read_passwd;

/// As many links as the kernel follows in one path.
const MAX_LINKS: u32 = 40;
const MAX_LINK_LENGTH: usize = 4096;
/// Directories that are held open at once: a user could have a path of thousands, each of which takes a descriptor.
const MAX_DEPTH: usize = 200;
/// Group and others. An ACL that lets anybody write shows here too: its mask stands in the place of the group's bits.
const WRITABLE_BY_OTHERS: u32 = 0o022;
const PASSWD: &str = "/etc/passwd";

/// What becomes of a link that a path ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// It is followed.
    Follow,
    /// It is what the path names.
    Keep,
    /// It is what the path names, and any other link on the way is [`Error::Moved`].
    Exact,
}

/// Who can change what stands in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Nobody but root, nor can anybody put another directory in its place.
    Root,
    /// Others too, though the directory is root's.
    Shared,
    /// This user: work in the directory is done with his rights.
    Owner(u32),
}

/// A user's home, for files that are the user's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// Inside the root.
    pub path: String,
    /// Whose it is.
    pub uid: u32,
    /// That user's primary group.
    pub gid: u32,
}

/// A directory that is held open.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    pub(crate) fd: Arc<OwnedFd>,
    pub(crate) name: OsString,
    pub(crate) stat: Stat,
    pub(crate) trust: Trust,
    /// The user who mounted its file system and answers for it: what that says of owners is his word.
    server: Option<u32>,
}

impl Directory {
    /// One that was opened below `parent`, on the same file system.
    pub(crate) fn below(
        parent: &Self,
        name: &OsStr,
        fd: OwnedFd,
        stat: Stat,
        trust: Trust,
    ) -> Self {
        Self {
            fd: Arc::new(fd),
            name: name.to_owned(),
            stat,
            trust,
            server: parent.server,
        }
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What a path ends with, where that is no directory.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) name: OsString,
    /// `None` when there is nothing.
    pub(crate) stat: Option<Stat>,
    /// Where a link leads.
    pub(crate) target: Option<OsString>,
}

/// What a walk is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// What a user's rights show, he may be shown, wherever it stands.
    Read,
    Change,
}

/// A way down a path, as far as it has been gone.
pub(crate) struct Walk {
    path: String,
    /// The home that it has to end in.
    home: Option<Home>,
    last: Last,
    purpose: Purpose,
    ahead: VecDeque<OsString>,
    /// How many parts ahead came with the path itself, not with a link.
    own: usize,
    links: u32,
    /// The root first.
    pub(crate) steps: Vec<Directory>,
    /// The user whose link was followed: from there on all must be his.
    bound: Option<u32>,
    /// Directories that do not exist, outermost first.
    pub(crate) missing: Vec<OsString>,
    pub(crate) leaf: Option<Leaf>,
    pub(crate) identity: Option<Identity>,
}

/// Goes down `path` in the system under `root`, where absolute links start again at the root and `..` stops there. A
/// missing part is no error, unless a link leads there. `home` tells the primary group of its user, and what errors are
/// about.
pub(crate) fn walk(
    root: &Path,
    path: &str,
    last: Last,
    purpose: Purpose,
    home: Option<&Home>,
) -> Result<Walk> {
    walk_with(root, path, last, purpose, home, primary_group)
}

/// As [`walk`], where the system's own list of users cannot be asked for the groups: it is what is being looked for.
pub(crate) fn walk_without_groups(root: &Path, path: &str) -> Result<Walk> {
    walk_with(root, path, Last::Follow, Purpose::Read, None, |_, _| None)
}

fn walk_with(
    root: &Path,
    path: &str,
    last: Last,
    purpose: Purpose,
    home: Option<&Home>,
    group_of: fn(&Path, u32) -> Option<u32>,
) -> Result<Walk> {
    let mut walk = Walk::begin(root, path, last, purpose, home)?;
    loop {
        walk.identity = match walk.actor() {
            Some(_) if !can_act() => None,
            None => None,
            Some(uid) if walk.identity.is_some_and(|known| known.uid == uid) => walk.identity,
            Some(uid) => Some(Identity {
                uid,
                gid: match home {
                    Some(home) if home.uid == uid => Some(home.gid),
                    _ => group_of(root, uid),
                },
            }),
        };
        let (next, arrived) = act(walk.identity, move || walk.advance())?;
        walk = next;
        if arrived {
            return walk.concluded();
        }
    }
}

impl Walk {
    fn begin(
        root: &Path,
        path: &str,
        last: Last,
        purpose: Purpose,
        home: Option<&Home>,
    ) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, root, flags, Mode::empty())?;
        let stat = fstat(&fd)?;
        let ahead: VecDeque<OsString> = parts(OsStr::new(path)).collect();
        Ok(Self {
            path: path.to_owned(),
            home: home.cloned(),
            last,
            purpose,
            own: ahead.len(),
            ahead,
            links: 0,
            steps: vec![Directory {
                fd: Arc::new(fd),
                name: OsString::new(),
                stat,
                // Whose it is, and who may write there, can put anything in the place of all that counts below it:
                // nothing is to be gained from the agent any more.
                trust: Trust::Root,
                server: None,
            }],
            bound: None,
            missing: Vec::new(),
            leaf: None,
            identity: None,
        })
    }

    /// The innermost directory that exists.
    pub(crate) fn top(&self) -> Result<&Directory> {
        self.steps
            .last()
            .ok_or_else(|| Error::path(Errno::NOENT, "there is no root"))
    }

    /// Whose rights the next step takes; `None` for our own.
    fn actor(&self) -> Option<u32> {
        match (self.bound, self.steps.last().map(|top| top.trust)) {
            (Some(uid), _) | (None, Some(Trust::Owner(uid))) => Some(uid),
            (None, _) => None,
        }
    }

    /// Where it has come to, inside the root.
    pub(crate) fn inside(&self) -> String {
        let leaf = self.leaf.as_ref().map(|leaf| &leaf.name);
        self.inside_with(self.missing.iter().chain(leaf))
    }

    /// Where the innermost directory that exists is, inside the root.
    pub(crate) fn top_inside(&self) -> String {
        self.inside_with(std::iter::empty())
    }

    fn inside_with<'a>(&'a self, more: impl Iterator<Item = &'a OsString>) -> String {
        let names = self.steps.iter().skip(1).map(|step| &step.name).chain(more);
        let path = names.fold(OsString::new(), |mut path, name| {
            path.push("/");
            path.push(name);
            path
        });
        if path.is_empty() {
            return "/".into();
        }
        path.to_string_lossy().into_owned()
    }

    /// Goes on until the end, or until another user's rights are needed; says whether it is the end.
    fn advance(mut self) -> Result<(Self, bool)> {
        let actor = self.actor();
        while let Some(part) = self.ahead.pop_front() {
            still_wanted()?;
            self.step(part)?;
            if self.actor() != actor {
                return Ok((self, false));
            }
        }
        Ok((self, true))
    }

    fn step(&mut self, part: OsString) -> Result<()> {
        let from_link = self.ahead.len() >= self.own;
        self.own = self.own.min(self.ahead.len());
        if part == ".." {
            if self.leaf.is_some() || !self.missing.is_empty() {
                let message = format!("a part of {} does not exist", self.path);
                return Err(Error::path(Errno::NOENT, message));
            }
            if self.steps.len() > 1 {
                self.steps.pop();
            }
            return Ok(());
        }
        if let Some(Leaf { name, .. }) = self.leaf.take() {
            // Only what is missing is followed by more.
            self.missing.push(name);
            self.leaf = Some(nothing(part));
            return Ok(());
        }
        let Some((fd, stat, server)) = open_step(self.top()?, &part)? else {
            self.leaf = Some(nothing(part));
            if !from_link {
                return Ok(());
            }
            let message = format!(
                "a link in {} leads to {}, which does not exist",
                self.path,
                self.inside()
            );
            return Err(Error::path(Errno::NOENT, message));
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.enter(part, fd, stat, server),
            FileType::Symlink => self.follow(part, &fd, stat),
            _ => {
                self.leaf = Some(Leaf {
                    name: part,
                    stat: Some(stat),
                    target: None,
                });
                if self.ahead.is_empty() {
                    return Ok(());
                }
                Err(Errno::NOTDIR.into())
            }
        }
    }

    fn enter(
        &mut self,
        name: OsString,
        fd: OwnedFd,
        stat: Stat,
        server: Option<u32>,
    ) -> Result<()> {
        if let Some(home) = &self.home
            && self.actor() == Some(home.uid)
            && is_closed_to(&stat, home)
        {
            let inside = self.inside_with(std::iter::once(&name));
            return Err(closed(&inside, home));
        }
        let trust = match self.judged(&stat)? {
            Ok(trust) => trust,
            Err(wanted) => {
                let inside = self.inside_with(std::iter::once(&name));
                let owner = stat.st_uid;
                let message = format!("{inside} belongs to uid {owner}, wanted {wanted}");
                return Err(Error::Refused(message));
            }
        };
        if self.steps.len() > MAX_DEPTH {
            return Err(Errno::NAMETOOLONG.into());
        }
        self.steps.push(Directory {
            fd: Arc::new(fd),
            name,
            stat,
            trust,
            server,
        });
        Ok(())
    }

    /// How far a directory below the innermost one can be trusted; else whose it ought to be.
    fn judged(&self, stat: &Stat) -> Result<std::result::Result<Trust, u32>> {
        let (uid, ours) = (stat.st_uid, is_ours(stat.st_uid));
        if let Some(user) = self.bound
            && uid != user
            && !ours
        {
            return Ok(Err(user));
        }
        Ok(match self.top()?.trust {
            Trust::Owner(user) if uid == user || (ours && self.purpose == Purpose::Read) => {
                Ok(Trust::Owner(user))
            }
            Trust::Owner(user) => Err(user),
            _ if !ours => Ok(Trust::Owner(uid)),
            Trust::Root if stat.st_mode & WRITABLE_BY_OTHERS == 0 => Ok(Trust::Root),
            Trust::Root | Trust::Shared => Ok(Trust::Shared),
        })
    }

    fn follow(&mut self, name: OsString, fd: &OwnedFd, stat: Stat) -> Result<()> {
        let target = OsString::from_vec(readlinkat(fd, "", Vec::new())?.into_bytes());
        let inside = self.inside_with(std::iter::once(&name));
        if self.last != Last::Follow && self.ahead.is_empty() {
            self.leaf = Some(Leaf {
                name,
                stat: Some(stat),
                target: Some(target),
            });
            return Ok(());
        }
        if self.last == Last::Exact {
            return Err(Error::Moved(format!("{inside} is a link now")));
        }
        self.links += 1;
        if self.links > MAX_LINKS {
            let message = format!("too many links in {}", self.path);
            return Err(Error::path(Errno::LOOP, message));
        }
        self.bind(&inside, stat.st_uid, fd)?;
        if target.len() > MAX_LINK_LENGTH {
            return Err(Error::path(Errno::NAMETOOLONG, "a link is too long"));
        }
        if target.as_bytes().starts_with(b"/") {
            self.steps.truncate(1);
        }
        for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
            self.ahead.push_front(part);
        }
        Ok(())
    }

    /// Judges a link by its owner and the directory that it stands in; from a user's link on, all has to be his.
    fn bind(&mut self, link: &str, owner: u32, fd: &OwnedFd) -> Result<()> {
        let user = match self.top()?.trust {
            Trust::Root if is_ours(owner) => return Ok(()),
            // A user can move a link of root's from a directory of his.
            Trust::Shared if is_ours(owner) && stands_where_it_was_made(fd)? => return Ok(()),
            Trust::Shared if is_ours(owner) => {
                return Err(Error::Refused(format!(
                    "the link {link} may have been moved there: others than root can write to its directory"
                )));
            }
            Trust::Root => owner,
            Trust::Shared => {
                return Err(Error::Refused(format!(
                    "the link {link} belongs to uid {owner}, and stands where others may write: wanted root's"
                )));
            }
            Trust::Owner(user) if user == owner || is_ours(owner) => user,
            Trust::Owner(user) => {
                return Err(Error::Refused(format!(
                    "the link {link} belongs to uid {owner}, wanted {user}"
                )));
            }
        };
        match self.bound {
            Some(bound) if bound != user => Err(Error::Refused(format!(
                "the link {link} belongs to uid {user}, and a link of uid {bound} leads to it"
            ))),
            _ => {
                self.bound = Some(user);
                Ok(())
            }
        }
    }

    fn concluded(self) -> Result<Self> {
        let Some(user) = self.bound else {
            return Ok(self);
        };
        let top = self.top()?;
        if top.stat.st_uid == user {
            return Ok(self);
        }
        if let Some(home) = &self.home {
            return Err(Error::Refused(format!(
                "a link leads out of the home {}, to {}",
                home.path,
                self.inside()
            )));
        }
        Err(Error::Refused(format!(
            "a link of uid {user} leads to {}, in a directory of uid {}",
            self.inside(),
            top.stat.st_uid
        )))
    }
}

/// Whether a directory of root's cannot be looked into by the user of a home. sshd reads as that user.
pub(crate) fn is_closed_to(stat: &Stat, home: &Home) -> bool {
    let wanted = if stat.st_gid == home.gid {
        0o050
    } else {
        0o005
    };
    is_ours(stat.st_uid) && stat.st_uid != home.uid && stat.st_mode & wanted != wanted
}

pub(crate) fn closed(inside: &str, home: &Home) -> Error {
    Error::Refused(format!(
        "{inside} belongs to root and is closed to uid {}",
        home.uid
    ))
}

fn nothing(name: OsString) -> Leaf {
    Leaf {
        name,
        stat: None,
        target: None,
    }
}

/// Opens what `name` stands for, a link itself, and tells whose word its file system is; `None` when there is nothing.
fn open_step(directory: &Directory, name: &OsStr) -> Result<Option<(OwnedFd, Stat, Option<u32>)>> {
    let at = directory.as_fd();
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // With DIRECTORY, which most steps are, the kernel mounts what an automounter has there.
    let opened = match openat(at, name, flags | OFlags::DIRECTORY, Mode::empty()) {
        Err(Errno::NOTDIR | Errno::LOOP) => openat(at, name, flags, Mode::empty()),
        result => result,
    };
    let fd = match opened {
        Err(Errno::NOENT) => return Ok(None),
        result => result?,
    };
    // What the kernel knows already: a user's file system need not answer when asked.
    let known = facts(&fd, AtFlags::STATX_DONT_SYNC, StatxFlags::BASIC_STATS)?;
    let device = makedev(known.stx_dev_major, known.stx_dev_minor);
    let server = if device == directory.stat.st_dev {
        directory.server
    } else {
        server_of(known.stx_dev_major, known.stx_dev_minor)?
    };
    let Some(uid) = server else {
        let stat = fstat(&fd)?;
        return Ok(Some((fd, stat, None)));
    };
    let mut stat = fstat(&directory.fd)?;
    stat.st_dev = device;
    stat.st_ino = known.stx_ino;
    stat.st_mode = known.stx_mode.into();
    stat.st_nlink = known.stx_nlink.into();
    stat.st_uid = uid;
    stat.st_gid = known.stx_gid;
    stat.st_size = i64::try_from(known.stx_size).unwrap_or(i64::MAX);
    Ok(Some((fd, stat, Some(uid))))
}

fn facts(fd: &OwnedFd, how: AtFlags, mask: StatxFlags) -> Result<Statx> {
    Ok(statx(fd, "", AtFlags::EMPTY_PATH | how, mask)?)
}

/// Whether a link was never renamed, linked or given away since it was made: each of these changes its ctime. Where the
/// file system does not keep when a file was made, nobody can tell.
fn stands_where_it_was_made(fd: &OwnedFd) -> Result<bool> {
    let mask = StatxFlags::BTIME | StatxFlags::CTIME;
    let link = facts(fd, AtFlags::empty(), mask)?;
    let (made, changed) = (link.stx_btime, link.stx_ctime);
    Ok(StatxFlags::from_bits_retain(link.stx_mask).contains(mask)
        && (made.tv_sec, made.tv_nsec) == (changed.tv_sec, changed.tv_nsec))
}

/// The user whose program is the file system of a device, as with FUSE; `None` for one of the kernel's or root's.
fn server_of(major: u32, minor: u32) -> Result<Option<u32>> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let device = format!("{major}:{minor}");
    // proc(5): the device is the third field; behind the dash are type, source and options of the file system.
    Ok(mounts.lines().find_map(|line| {
        let (mount, system) = line.split_once(" - ")?;
        if mount.split(' ').nth(2) != Some(&device) || !system.starts_with("fuse") {
            return None;
        }
        let user = system.rsplit(' ').next()?.split(',').find_map(|option| {
            option
                .strip_prefix("user_id=")
                .and_then(|id| id.parse().ok())
        })?;
        (!is_ours(user)).then_some(user)
    }))
}

fn parts(path: &OsStr) -> impl Iterator<Item = OsString> {
    path.as_bytes()
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(|part| OsStr::from_bytes(part).to_owned())
}

/// The primary group of `uid` in the system's passwd(5); `None` where it is not there.
fn primary_group(root: &Path, uid: u32) -> Option<u32> {
    let text = read_passwd(root, PASSWD).ok()??;
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let fields: Vec<&str> = std::str::from_utf8(line).ok()?.split(':').collect();
        let user: u32 = fields.get(2)?.parse().ok()?;
        (user == uid).then(|| fields.get(3)?.parse().ok()).flatten()
    })
}
