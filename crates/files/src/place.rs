//! The place of one file: the directory that holds it, or is to hold it, kept open, so that what is done is done there,
//! whatever becomes of the path meanwhile.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::Builder;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, RenameFlags, Stat, StatVfsMountFlags, StatxAttributes,
    StatxFlags, chownat, fchmod, fstat, fstatvfs, fsync, ftruncate, mkdirat, openat, readlinkat,
    renameat, renameat_with, statat, statx, symlinkat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid, getegid, geteuid};

use crate::error::{Error, Result};
use crate::identity::{Identity, STACK, act, is_denial, is_ours, still_wanted};
use crate::marks::{
    Attributes, Owner, SPECIAL, attributes, has_capabilities, own, permissions, set_attributes,
    set_mode,
};
use crate::private::{PrivateDirectory, is_name, write_all};
use crate::read::{MAX_HOME_FILE, MAX_USER_FILE, copy, open_file, read_from, too_large, whole};
use crate::walk::{Directory, Home, Last, Purpose, Trust, Walk, closed, is_closed_to, walk};

/// Root's rights, on a thread that can be given up.
const ROOT: Identity = Identity {
    uid: 0,
    gid: Some(0),
};
const GROUP_AND_OTHERS: u32 = 0o077;
const READABLE_BY_OTHERS: u32 = 0o004;
const SET_GID: u32 = 0o2000;

/// How a place is looked for.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// What becomes of a link at the end.
    pub last: Last,
    /// The home that must hold the file; then the file and new directories become its user's.
    pub home: Option<Home>,
    /// What the way was when it was written down.
    pub expected: Option<Expected>,
}

/// The innermost directory on the way to a place that existed when the place was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Inside the root.
    pub path: String,
    /// Its number in its file system.
    pub inode: u64,
    /// Whose it was.
    pub uid: u32,
}

/// What stands at a place.
#[derive(Clone, Debug)]
pub struct Target {
    /// What it is.
    pub kind: TargetKind,
    /// Permission bits.
    pub mode: u32,
    /// Whose it is.
    pub owner: Owner,
    device: u64,
    inode: u64,
}

/// A file, held open, or a link.
#[derive(Clone, Debug)]
pub enum TargetKind {
    /// A regular file.
    File(Arc<OwnedFd>),
    /// Where a link leads.
    Link(OsString),
}

/// The marks of a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Permission bits.
    pub mode: u32,
    /// `None` for the home's user, or below a user's directory that user; else for whoever runs the agent.
    pub owner: Option<Owner>,
}

/// A file of the agent's own that keeps a content.
#[derive(Clone, Debug)]
pub struct Backup {
    /// The directory, a path of this machine.
    pub directory: std::path::PathBuf,
    /// The file in it.
    pub name: OsString,
}

/// What became of moving a staged file to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It stands there.
    Done,
    /// It cannot: what stands there is a mount of its own, as container engines do with `/etc/hosts`.
    Mounted,
}

/// The place of one file.
#[derive(Debug)]
pub struct Place {
    steps: Vec<Directory>,
    missing: Vec<OsString>,
    name: OsString,
    /// Inside the root.
    inside: String,
    /// The innermost directory that was there.
    anchor: Expected,
    identity: Option<Identity>,
    home: Option<Home>,
    /// Where the home is, with all links followed.
    home_inside: Option<String>,
    target: Option<Target>,
}

impl Place {
    /// Goes down `path` in the system under `root` and looks at what stands there.
    ///
    /// # Errors
    /// What the system refuses; [`Error::Refused`] where a user could have prepared the way or the file;
    /// [`Error::Moved`] for a way that is not as expected.
    pub fn open(root: &Path, path: &str, options: &OpenOptions) -> Result<Self> {
        let home = options.home.as_ref();
        let walk = walk(root, path, options.last, Purpose::Change, home)?;
        let home_inside = match home {
            Some(home) => Some(check_in_home(root, &walk, home)?),
            None => None,
        };
        let Some(leaf) = &walk.leaf else {
            return Err(Error::path(Errno::ISDIR, "it is a directory"));
        };
        let top = walk.top()?;
        let anchor = Expected {
            path: walk.top_inside(),
            inode: top.stat.st_ino,
            uid: top.stat.st_uid,
        };
        if let Some(expected) = &options.expected {
            check_expected(&walk, expected)?;
        }
        let (name, inside) = (leaf.name.clone(), walk.inside());
        let there = leaf.stat;
        let mut place = Self {
            steps: walk.steps,
            missing: walk.missing,
            name,
            inside,
            anchor,
            identity: walk.identity,
            home: options.home.clone(),
            home_inside,
            target: None,
        };
        if let Some(stat) = there {
            // Twice: what cannot be opened is to be refused for the reason why it cannot.
            place.judge(&stat)?;
            place.look()?;
            place.judge_target()?;
        }
        Ok(place)
    }

    /// Where it is, inside the root, with all links followed.
    #[must_use]
    pub fn inside(&self) -> &str {
        &self.inside
    }

    /// How far the directory can be trusted.
    #[must_use]
    pub fn trust(&self) -> Trust {
        self.steps.last().map_or(Trust::Shared, |top| top.trust)
    }

    /// The innermost directory that there was when this was opened.
    #[must_use]
    pub fn anchor(&self) -> &Expected {
        &self.anchor
    }

    /// How many directories above the file do not exist.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.missing.len()
    }

    /// What stood there when it was looked at last.
    #[must_use]
    pub fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// Looks anew at what stands there.
    ///
    /// # Errors
    /// What the system refuses, and what is neither a regular file nor a link.
    pub fn look(&mut self) -> Result<()> {
        self.let_go();
        if !self.missing.is_empty() {
            return Ok(());
        }
        let (directory, name) = self.at()?;
        self.target = act(self.identity, move || {
            let stat = match statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => return Ok(None),
                stat => stat?,
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => {
                    let (fd, stat) = open_file(&directory, &name, "it")?;
                    Ok(Some(Target::new(&stat, TargetKind::File(Arc::new(fd)))))
                }
                FileType::Symlink => {
                    let link = readlinkat(&directory, &name, Vec::new())?;
                    let link = OsStr::from_bytes(link.as_bytes()).to_owned();
                    Ok(Some(Target::new(&stat, TargetKind::Link(link))))
                }
                FileType::Directory => Err(Error::path(Errno::ISDIR, "it is a directory")),
                _ => Err(Error::path(Errno::INVAL, "it is not a regular file")),
            }
        })?;
        Ok(())
    }

    /// Whether the file that stands there holds `content`.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn holds(&self, content: Vec<u8>) -> Result<bool> {
        let Some(TargetKind::File(fd)) = self.target.as_ref().map(|target| target.kind.clone())
        else {
            return Ok(false);
        };
        act(self.identity, move || {
            // One byte more than wanted tells a longer one.
            let (bytes, ended) = read_from(&fd, 0, content.len().saturating_add(1))?;
            Ok(ended && bytes == content)
        })
    }

    /// The whole of the file that stands there; `None` when there is none.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn content(&self) -> Result<Option<Vec<u8>>> {
        match self.target.as_ref().map(|target| &target.kind) {
            Some(TargetKind::File(fd)) => {
                let fd = fd.clone();
                let limit = self.limit();
                act(self.identity, move || whole(&fd, limit)).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Copies the file that stands there, with its attributes, into a new one of the agent's own.
    ///
    /// # Errors
    /// What the system refuses, and where there is no file.
    pub fn back_up(&self, to: &Backup) -> Result<()> {
        let Some(TargetKind::File(fd)) = self.target.as_ref().map(|target| target.kind.clone())
        else {
            return Err(Error::path(Errno::NOENT, "there is no file to keep"));
        };
        let limit = self.limit();
        let backup = Arc::new(PrivateDirectory::open(&to.directory)?.create(&to.name)?);
        let copied = Arc::clone(&backup);
        let attributes = act(self.identity, move || {
            copy(&fd, &copied, limit)?;
            attributes(fd.as_fd())
        })?;
        set_attributes(backup.as_fd(), &attributes)?;
        Ok(fsync(&backup)?)
    }

    /// Takes from group and others what they may do in the directory that holds the file, unless that is the home
    /// itself, not its user's, or still to be made.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn tighten(&self) -> Result<()> {
        let (Some(home), Some(top)) = (&self.home, self.steps.last()) else {
            return Ok(());
        };
        let mode = permissions(&top.stat);
        let is_home =
            Some(&self.anchor.path) == self.home_inside.as_ref() || !self.missing.is_empty();
        if is_home || top.stat.st_uid != home.uid || mode & GROUP_AND_OTHERS == 0 {
            return Ok(());
        }
        let directory = top.fd.clone();
        act(self.identity, move || {
            let readable = reopen(&directory)?;
            set_mode(readable.as_fd(), mode & !GROUP_AND_OTHERS)
        })
    }

    /// Makes the directories that are missing. One that another change has made meanwhile is entered like any other.
    ///
    /// # Errors
    /// What the system refuses; [`Error::Refused`] when a user put something else in the place of one.
    pub fn make(&mut self, mode: u32) -> Result<()> {
        while let Some(name) = self.missing.first().cloned() {
            let made = self.make_one(&name, mode)?;
            self.steps.push(made);
            self.missing.remove(0);
        }
        Ok(())
    }

    fn make_one(&mut self, name: &OsStr, mode: u32) -> Result<Directory> {
        let parent = self.top()?.clone();
        let (identity, made) = (self.identity, name.to_owned());
        let directory = parent.fd.clone();
        let (fd, stat, is_new) = act(identity, move || {
            let is_new = match mkdirat(&directory, &made, Mode::from_raw_mode(0o700)) {
                Err(Errno::EXIST) => false,
                result => {
                    result?;
                    true
                }
            };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = openat(&directory, &made, flags, Mode::empty())?;
            let stat = fstat(&fd)?;
            let maker = identity.map_or(geteuid().as_raw(), |identity| identity.uid);
            if is_new && (stat.st_uid != maker || !is_empty(&fd)?) {
                return Err(replaced());
            }
            Ok((fd, stat, is_new))
        })?;
        if !is_new {
            return self.entered(name, fd, stat, &parent);
        }
        let stat = self.mark_directory(&fd, stat, mode)?;
        sync(&parent, identity)?;
        let trust = match (parent.trust, identity) {
            (_, Some(identity)) => Trust::Owner(identity.uid),
            (_, None) if !is_ours(stat.st_uid) => Trust::Owner(stat.st_uid),
            (trust, None) => trust,
        };
        if let Trust::Owner(uid) = trust {
            let gid = Some(stat.st_gid);
            self.identity = self.identity.or(Some(Identity { uid, gid }));
        }
        Ok(Directory::below(&parent, name, fd, stat, trust))
    }

    /// A directory that is there although it was not before.
    fn entered(
        &mut self,
        name: &OsStr,
        fd: OwnedFd,
        stat: Stat,
        parent: &Directory,
    ) -> Result<Directory> {
        let wanted = self.identity.map(|identity| identity.uid);
        let home = self.home.as_ref().map(|home| home.uid);
        let trust = match wanted {
            Some(uid) if uid == stat.st_uid => Trust::Owner(uid),
            None if is_ours(stat.st_uid) => parent.trust,
            // Another change of the same set has made it for the user of the home.
            None if parent.trust == Trust::Root && home == Some(stat.st_uid) => {
                let gid = Some(stat.st_gid);
                let uid = stat.st_uid;
                self.identity = Some(Identity { uid, gid });
                Trust::Owner(uid)
            }
            _ => return Err(replaced()),
        };
        Ok(Directory::below(parent, name, fd, stat, trust))
    }

    /// Gives a directory that was just made its owner and mode, by its descriptor.
    fn mark_directory(&self, fd: &OwnedFd, stat: Stat, mode: u32) -> Result<Stat> {
        let owner = match (&self.home, self.identity) {
            (Some(home), _) => Some(Owner {
                uid: home.uid,
                gid: home.gid,
            }),
            (None, Some(identity)) => self.unknown_group(identity),
            (None, None) => None,
        };
        let fd = fd.try_clone()?;
        // The group of a directory that passes its own on stays.
        let owner = owner.filter(|owner| *owner != Owner::of(&stat));
        act(self.identity.map(|_| ROOT), move || {
            if let Some(owner) = owner {
                own(fd.as_fd(), owner)?;
            }
            let inherited = stat.st_mode & SET_GID;
            fchmod(&fd, Mode::from_raw_mode(mode | inherited))?;
            fsync(&fd)?;
            Ok(fstat(&fd)?)
        })
    }

    /// Whose something new is to be where the user's primary group is not known: the group of the directory above.
    fn unknown_group(&self, identity: Identity) -> Option<Owner> {
        let top = self.steps.last()?;
        identity.gid.is_none().then_some(Owner {
            uid: identity.uid,
            gid: top.stat.st_gid,
        })
    }

    /// Writes `content` to a new file beside the place. Nobody can open it before it has its owner and mode, but for the
    /// user below whose directory it stands; it is on the disk when this returns. With `attributes` it gets those of
    /// what stands at the place.
    ///
    /// # Errors
    /// What the system refuses, with nothing left behind; [`Error::Refused`] for marks that would give a user more than
    /// he has.
    pub fn stage(
        &self,
        temp: &OsStr,
        content: Vec<u8>,
        marks: Marks,
        attributes_of_target: bool,
    ) -> Result<()> {
        let attributes = match self.target.as_ref().map(|target| target.kind.clone()) {
            Some(TargetKind::File(fd)) if attributes_of_target => {
                act(self.identity, move || attributes(fd.as_fd()))?
            }
            _ => Attributes::default(),
        };
        self.stage_with(temp, content, marks, attributes)
    }

    /// As [`Place::stage`], with the content and the attributes that a backup kept.
    ///
    /// # Errors
    /// As [`Place::stage`].
    pub fn stage_backup(&self, temp: &OsStr, from: &Backup, marks: Marks) -> Result<()> {
        let backup = PrivateDirectory::open(&from.directory)?.open_file(&from.name)?;
        let content = whole(&backup, usize::MAX)?;
        self.stage_with(temp, content, marks, attributes(backup.as_fd())?)
    }

    /// The whole of a backup.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn read_backup(from: &Backup) -> Result<Vec<u8>> {
        let backup = PrivateDirectory::open(&from.directory)?.open_file(&from.name)?;
        whole(&backup, usize::MAX)
    }

    fn stage_with(
        &self,
        temp: &OsStr,
        content: Vec<u8>,
        marks: Marks,
        attributes: Attributes,
    ) -> Result<()> {
        if !is_name(temp) {
            return Err(Error::path(Errno::INVAL, "a temporary name is no name"));
        }
        let owner = self.owner_of_new(marks)?;
        let (directory, name) = (self.top()?.fd.clone(), temp.to_owned());
        // Whose it is from its first moment: a user would keep open what he made, and have it as root's later.
        let is_others = |owner: &Owner| Some(owner.uid) != self.identity.map(|user| user.uid);
        let is_roots = self.identity.is_some() && owner.as_ref().is_some_and(is_others);
        let maker = if is_roots { Some(ROOT) } else { self.identity };
        let file = act(maker, move || {
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = openat(&directory, &name, flags, Mode::from_raw_mode(0o600))?;
            if let Err(error) = write_all(&file, &content) {
                let _ = unlinkat(&directory, &name, AtFlags::empty());
                return Err(error);
            }
            Ok(file)
        })?;
        // What the user may do himself he does: a file server may trust him more than root.
        let needs_root = is_roots || !attributes.is_empty() || owner.is_some();
        let marker = self
            .identity
            .map(|user| if needs_root { ROOT } else { user });
        let marked = act(marker, move || {
            if let Some(owner) = owner {
                own(file.as_fd(), owner)?;
            }
            set_attributes(file.as_fd(), &attributes)?;
            set_mode(file.as_fd(), marks.mode)?;
            Ok(fsync(&file)?)
        });
        if marked.is_err() {
            // The first error is the one to tell.
            drop(self.unstage(temp));
        }
        marked
    }

    /// Whose a new file is to be; `None` to leave it with whoever makes it.
    ///
    /// Below a user's directory that user may hold the new file open while it gets its marks: it must not become one
    /// that runs with the rights of others.
    fn owner_of_new(&self, Marks { mode, owner }: Marks) -> Result<Option<Owner>> {
        let home = self.home.as_ref().map(|home| Owner {
            uid: home.uid,
            gid: home.gid,
        });
        let Some(identity) = self.identity else {
            let ours = Owner {
                uid: geteuid().as_raw(),
                // A directory with the set-gid bit would give a new file its own group.
                gid: getegid().as_raw(),
            };
            return Ok(Some(owner.or(home).unwrap_or(ours)));
        };
        let owner = owner.or(home).or_else(|| self.unknown_group(identity));
        let Some(Owner { uid, gid }) = owner else {
            return Ok(None);
        };
        if uid == identity.uid && Some(gid) == identity.gid && !self.passes_group_on() {
            // As it will be made.
            return Ok(None);
        }
        if uid != identity.uid && !is_ours(uid) {
            return Err(Error::Refused(format!(
                "it would belong to uid {uid}, in a directory of uid {}",
                identity.uid
            )));
        }
        if uid != identity.uid && mode & READABLE_BY_OTHERS == 0 {
            // With that user's rights it could not be read again, to be put back.
            return Err(Error::Refused(format!(
                "it would belong to uid {uid} with mode {mode:04o}, and be closed to uid {}, in whose directory it stands",
                identity.uid
            )));
        }
        let is_his = uid == identity.uid && Some(gid) == identity.gid;
        if mode & SPECIAL != 0 && !is_his {
            return Err(Error::Refused(format!(
                "it has mode {mode:04o} and belongs to uid {uid}, gid {gid}, in a directory of uid {}",
                identity.uid
            )));
        }
        Ok(owner)
    }

    /// Whether what is made in the directory gets its group.
    fn passes_group_on(&self) -> bool {
        self.steps
            .last()
            .is_some_and(|top| top.stat.st_mode & SET_GID != 0)
    }

    /// Fails where it shows beforehand that [`Place::put`] and [`Place::remove`] would be refused: what stands there, or
    /// the directory that holds it, is immutable or append-only (chattr(1)), or on a mount that is read-only.
    ///
    /// # Errors
    /// [`Errno::PERM`] with words for the two, [`Errno::ROFS`], and what else the system refuses.
    pub fn check_changeable(&self) -> Result<()> {
        if !self.missing.is_empty() {
            // Made by whoever asks, with what they hold.
            return Ok(());
        }
        let (directory, name) = self.at()?;
        let target = self.target.as_ref().map(|target| target.kind.clone());
        act(self.identity, move || {
            check_mount(directory.as_fd())?;
            check_seals(
                directory.as_fd(),
                OsStr::new(""),
                "the directory that holds it is",
            )?;
            let Some(kind) = target else {
                return Ok(());
            };
            if let TargetKind::File(fd) = &kind {
                // It may be a mount of its own.
                check_mount(fd.as_fd())?;
            }
            check_seals(directory.as_fd(), &name, "it is")
        })
    }

    /// Moves the staged file `temp` to the place, and makes that durable. `checked`: only if what stands there is still
    /// what was looked at.
    ///
    /// # Errors
    /// What the system refuses; [`Error::Refused`] for a mount that a user could have prepared, and for what somebody
    /// put there meanwhile.
    pub fn put(&self, temp: &OsStr, checked: bool) -> Result<Moved> {
        let (directory, name) = self.at()?;
        let (temp, target) = (temp.to_owned(), self.target.clone());
        let moved = act(self.identity, move || {
            still_wanted()?;
            if !checked {
                return Ok(renameat(&directory, &temp, &directory, &name));
            }
            check_unchanged(&directory, &name, target.as_ref())?;
            still_wanted()?;
            if target.is_some() {
                return Ok(renameat(&directory, &temp, &directory, &name));
            }
            let only_new = RenameFlags::NOREPLACE;
            Ok(
                match renameat_with(&directory, &temp, &directory, &name, only_new) {
                    // Not every file system knows how.
                    Err(Errno::INVAL | Errno::NOSYS) => {
                        renameat(&directory, &temp, &directory, &name)
                    }
                    result => result,
                },
            )
        })?;
        match moved {
            Ok(()) => {
                sync(self.top()?, self.identity)?;
                Ok(Moved::Done)
            }
            Err(Errno::BUSY) if self.trust() == Trust::Root => Ok(Moved::Mounted),
            Err(Errno::BUSY) => Err(Error::Refused("something is mounted on it".into())),
            Err(Errno::EXIST) => Err(changed_meanwhile()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Writes into the file that stands there, where it is a mount of its own in a directory that is root's alone.
    ///
    /// # Errors
    /// What the system refuses; [`Error::Refused`] anywhere else.
    pub fn write_in_place(&self, content: &[u8], marks: Marks) -> Result<()> {
        let Some(target) = &self.target else {
            return Err(Error::path(Errno::NOENT, "there is no file to write into"));
        };
        if self.trust() != Trust::Root {
            return Err(Error::Refused("something is mounted on it".into()));
        }
        let owner = self.owner_of_new(marks)?;
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(self.top()?.as_fd(), &self.name, flags, Mode::empty())?;
        if !target.is(&fstat(&file)?) {
            return Err(changed_meanwhile());
        }
        ftruncate(&file, 0)?;
        write_all(&file, content)?;
        if let Some(owner) = owner {
            own(file.as_fd(), owner)?;
        }
        set_mode(file.as_fd(), marks.mode)?;
        Ok(fsync(&file)?)
    }

    /// Removes a staged file; one that is not there is no error.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn unstage(&self, temp: &OsStr) -> Result<()> {
        if !self.missing.is_empty() || !is_name(temp) {
            return Ok(());
        }
        let (directory, name) = (self.top()?.fd.clone(), temp.to_owned());
        act(self.identity, move || {
            // Looked for first: on a read-only file system even removing what is not there is refused.
            match statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => Ok(()),
                stat => {
                    stat?;
                    match unlinkat(&directory, &name, AtFlags::empty()) {
                        Err(Errno::NOENT) => Ok(()),
                        result => Ok(result?),
                    }
                }
            }
        })
    }

    /// Removes what stands there, if it is still what was looked at.
    ///
    /// # Errors
    /// What the system refuses; [`Error::Refused`] for what somebody put there meanwhile.
    pub fn remove(&self) -> Result<()> {
        let (directory, name) = self.at()?;
        let target = self.target.clone();
        act(self.identity, move || {
            check_unchanged(&directory, &name, target.as_ref())?;
            still_wanted()?;
            Ok(unlinkat(&directory, &name, AtFlags::empty())?)
        })?;
        sync(self.top()?, self.identity)
    }

    /// Makes a link that leads to `target` where nothing stands. Below a user's directory it is that user's.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn link(&self, target: &OsStr, owner: Option<Owner>) -> Result<()> {
        let (directory, name) = self.at()?;
        let target = target.to_owned();
        // By its name, which others could give to something else. And a link of root's counts in more places than a
        // user's, so that a user must not be given one.
        let owner = owner.filter(|_| self.trust() == Trust::Root);
        act(self.identity, move || {
            still_wanted()?;
            symlinkat(&target, &directory, &name)?;
            if let Some(Owner { uid, gid }) = owner {
                let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                chownat(&directory, &name, Some(uid), Some(gid), flags)?;
            }
            Ok(())
        })?;
        sync(self.top()?, self.identity)
    }

    /// Removes the directory at the place of a file: for one that was made for it. One that is not empty stays, as does
    /// one that is gone.
    ///
    /// # Errors
    /// As [`Place::open`].
    pub fn remove_directory(root: &Path, path: &str) -> Result<()> {
        let mut walk = match walk(root, path, Last::Exact, Purpose::Change, None) {
            Err(error) if error.is_absence() => return Ok(()),
            walk => walk?,
        };
        // Whatever else stands there now is not ours to remove.
        if walk.leaf.is_some() {
            return Ok(());
        }
        let (Some(own), Some(parent)) = (walk.steps.pop(), walk.steps.last()) else {
            return Ok(());
        };
        let (directory, name) = (parent.fd.clone(), own.name);
        let identity = match parent.trust {
            Trust::Owner(_) => walk.identity,
            Trust::Root | Trust::Shared => None,
        };
        act(identity, move || {
            match unlinkat(&directory, &name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT | Errno::NOTDIR) => Ok(()),
                result => Ok(result?),
            }
        })
    }

    /// Closes what was looked at. A file system of the user's may hold up even that, so it is done on a thread of its own.
    fn let_go(&mut self) {
        let Some(target) = self.target.take() else {
            return;
        };
        if self.identity.is_some() {
            // Without a thread it is closed with the closure that was to do it.
            drop(Builder::new().stack_size(STACK).spawn(move || drop(target)));
        }
    }

    fn top(&self) -> Result<&Directory> {
        self.steps
            .last()
            .ok_or_else(|| Error::path(Errno::NOENT, "there is no directory"))
    }

    fn at(&self) -> Result<(Arc<OwnedFd>, OsString)> {
        Ok((self.top()?.fd.clone(), self.name.clone()))
    }

    fn limit(&self) -> usize {
        match (&self.home, self.identity) {
            (Some(_), _) => MAX_HOME_FILE,
            (None, Some(_)) => MAX_USER_FILE,
            (None, None) => usize::MAX,
        }
    }

    /// Refuses what a user could have prepared, to keep it for himself or to have it given to him.
    fn judge_target(&self) -> Result<()> {
        let Some(Target {
            kind: TargetKind::File(fd),
            ..
        }) = &self.target
        else {
            return Ok(());
        };
        self.judge(&fstat(fd)?)?;
        if self.identity.is_some() && has_capabilities(fd.as_fd())? {
            return Err(Error::Refused(
                "it gives capabilities to whoever runs it, in a user's directory".into(),
            ));
        }
        Ok(())
    }

    fn judge(&self, stat: &Stat) -> Result<()> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Symlink if self.trust() == Trust::Shared && !is_ours(stat.st_uid) => {
                return Err(Error::Refused(format!(
                    "it is a link of uid {}, where others may write: it could not be put back as it was",
                    stat.st_uid
                )));
            }
            _ => return Ok(()),
        }
        if let Some(home) = &self.home {
            check_own_file(stat, home.uid)?;
        }
        let (owner, mode) = (Owner::of(stat), permissions(stat));
        let (wanted, where_) = match self.trust() {
            Trust::Root => return Ok(()),
            Trust::Shared => ("root's".to_owned(), "where others may write"),
            // What he may set himself, he may keep.
            Trust::Owner(user) if owner.uid == user => return self.judge_rights(mode, owner),
            Trust::Owner(user) => (
                format!("one of uid {user}"),
                "in a directory of that user's",
            ),
        };
        if stat.st_nlink > 1 {
            return Err(Error::Refused("it has other names too (hard links)".into()));
        }
        // Of root's in a user's directory, what he could have read himself.
        let is_shown = self.trust() == Trust::Shared || mode & READABLE_BY_OTHERS != 0;
        if is_ours(owner.uid) && is_shown {
            return self.judge_rights(mode, owner);
        }
        Err(Error::Refused(format!(
            "it belongs to uid {} and has mode {mode:04o}, {where_}: wanted {wanted}",
            owner.uid
        )))
    }

    fn judge_rights(&self, mode: u32, owner: Owner) -> Result<()> {
        let marks = Marks {
            mode,
            owner: Some(owner),
        };
        self.owner_of_new(marks).map(drop)
    }
}

fn check_mount(fd: BorrowedFd<'_>) -> Result<()> {
    match fstatvfs(fd)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        true => Err(Errno::ROFS.into()),
        false => Ok(()),
    }
}

/// Of `name` in `directory`, or of the directory itself when it is empty. `subject` starts the reason.
fn check_seals(directory: BorrowedFd<'_>, name: &OsStr, subject: &str) -> Result<()> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
    let attributes = match statx(directory, name, flags, StatxFlags::empty()) {
        // Older kernels, and sandboxes, tell nothing.
        Err(Errno::NOSYS | Errno::PERM) => return Ok(()),
        statx => statx?.stx_attributes,
    };
    let seal = if attributes.contains(StatxAttributes::IMMUTABLE) {
        "immutable (chattr +i)"
    } else if attributes.contains(StatxAttributes::APPEND) {
        "append-only (chattr +a)"
    } else {
        return Ok(());
    };
    Err(Error::path(Errno::PERM, format!("{subject} {seal}")))
}

impl Drop for Place {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl Target {
    fn new(stat: &Stat, kind: TargetKind) -> Self {
        Self {
            kind,
            mode: permissions(stat),
            owner: Owner::of(stat),
            device: stat.st_dev,
            inode: stat.st_ino,
        }
    }

    fn is(&self, stat: &Stat) -> bool {
        self.device == stat.st_dev && self.inode == stat.st_ino
    }
}

fn check_unchanged(directory: &OwnedFd, name: &OsStr, target: Option<&Target>) -> Result<()> {
    let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => None,
        stat => Some(stat?),
    };
    match (target, stat) {
        (None, None) => Ok(()),
        (Some(target), Some(stat)) if target.is(&stat) => Ok(()),
        _ => Err(changed_meanwhile()),
    }
}

fn check_expected(walk: &Walk, expected: &Expected) -> Result<()> {
    let mut path = String::new();
    let found = std::iter::once(None)
        .chain(walk.steps.iter().skip(1).map(Some))
        .find_map(|step| {
            if let Some(step) = step {
                path.push('/');
                path.push_str(&step.name.to_string_lossy());
            }
            let here = if path.is_empty() { "/" } else { &path };
            (here == expected.path).then_some(step.or(walk.steps.first()))?
        });
    let Some(directory) = found else {
        return Err(Error::Moved(format!("{} is gone", expected.path)));
    };
    if directory.stat.st_ino == expected.inode && directory.stat.st_uid == expected.uid {
        return Ok(());
    }
    Err(Error::Moved(format!(
        "{} is another directory now",
        expected.path
    )))
}

/// Checks that a walk ends in the home, whose place it gives, in directories that are the user's, or root's and open to him, as sshd asks.
pub(crate) fn check_in_home(root: &Path, walk: &Walk, home: &Home) -> Result<String> {
    let top = self::walk(root, &home.path, Last::Follow, Purpose::Read, Some(home))?;
    if top.leaf.is_some() {
        return Err(Error::path(
            Errno::INVAL,
            format!("the home {} does not exist", home.path),
        ));
    }
    let (top_inside, inside) = (top.inside(), walk.inside());
    let below = if top_inside == "/" {
        "/".to_owned()
    } else {
        format!("{top_inside}/")
    };
    if !inside.starts_with(&below) {
        return Err(Error::Refused(format!(
            "a link leads out of the home {}, to {inside}",
            home.path
        )));
    }
    let depth = top.steps.len().saturating_sub(1);
    let mut name = top_inside.clone();
    for (index, step) in walk.steps.iter().skip(depth).enumerate() {
        let stat = &step.stat;
        if index > 0 {
            name = format!("{name}/{}", step.name.to_string_lossy());
        }
        if stat.st_uid == home.uid {
            continue;
        }
        if !is_ours(stat.st_uid) {
            return Err(Error::Refused(format!(
                "{name} belongs to uid {}, wanted {}",
                stat.st_uid, home.uid
            )));
        }
        if is_closed_to(stat, home) {
            return Err(closed(&name, home));
        }
        if step.trust == Trust::Shared && !is_ours(home.uid) {
            return Err(Error::Refused(format!(
                "others than root may write in {name}"
            )));
        }
    }
    Ok(top_inside)
}

/// Refuses a file in a home that is not one that its user could have read and written himself: whoever may rename could
/// put somebody else's secret there, and be given its content.
pub(crate) fn check_own_file(stat: &Stat, user: u32) -> Result<()> {
    if stat.st_nlink > 1 {
        return Err(Error::Refused("it has other names too (hard links)".into()));
    }
    let is_roots = stat.st_uid == 0 && stat.st_mode & READABLE_BY_OTHERS != 0;
    if stat.st_uid != user && !is_roots {
        return Err(Error::Refused(format!(
            "it belongs to uid {}, wanted {user}",
            stat.st_uid
        )));
    }
    if usize::try_from(stat.st_size).unwrap_or(usize::MAX) > MAX_HOME_FILE {
        return Err(too_large(stat.st_size, MAX_HOME_FILE));
    }
    Ok(())
}

fn replaced() -> Error {
    Error::Refused("a directory was replaced while it was made".into())
}

fn changed_meanwhile() -> Error {
    Error::Refused("somebody else changed it meanwhile".into())
}

fn is_empty(directory: &OwnedFd) -> Result<bool> {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 1024];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A descriptor of a directory that can be synced, where the one that is held cannot.
fn reopen(directory: &OwnedFd) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(directory, ".", flags, Mode::empty())?)
}

/// Makes the names in a directory durable.
fn sync(directory: &Directory, identity: Option<Identity>) -> Result<()> {
    let fd = directory.fd.clone();
    let synced = act(identity, move || Ok(fsync(reopen(&fd)?)?));
    match synced {
        // Its user may have closed it to himself, but for going through it.
        Err(error) if identity.is_some() && is_denial(&error) => {
            let fd = directory.fd.clone();
            act(Some(ROOT), move || Ok(fsync(reopen(&fd)?)?))
        }
        result => result,
    }
}
