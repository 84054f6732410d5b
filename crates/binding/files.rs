//! The files of a system for JavaScript, as the crate `files` reads and changes them. Everything is done on a thread of
//! Node's pool, or below a user's directory on one of its own, and told by a promise.

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use files::{Backup, Error, Kind, Place, TargetKind, Trust};
use napi::bindgen_prelude::{AsyncTask, Buffer, ToNapiValue, TypeName};
use napi::{Env, JsError, Result, Task};
use napi_derive::napi;

use crate::error::{ErrorCode, system_code};

/// Whose a file is.
#[napi(object)]
#[derive(Clone, Copy)]
pub struct FileOwner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// A user's home, for files that are the user's own.
#[napi(object)]
pub struct FileHome {
    /// Inside the root.
    pub path: String,
    /// Whose it is.
    pub uid: u32,
    /// That user's primary group.
    pub gid: u32,
}

/// What stands at a path.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct FileStatus {
    /// What it is.
    #[napi(ts_type = "'file' | 'directory' | 'link' | 'other'")]
    pub r#type: &'static str,
    /// Permission bits, such as 0o644.
    pub mode: u32,
    /// The user that it belongs to.
    pub uid: u32,
    /// The group that it belongs to.
    pub gid: u32,
    /// Bytes.
    pub size: f64,
    /// Of a link, where it leads.
    pub target: Option<String>,
}

/// What stands at the place of a file.
#[napi(object, object_from_js = false, use_nullable = true)]
pub struct FileTarget {
    /// Where a link leads; null for a regular file.
    pub link: Option<String>,
    /// Permission bits.
    pub mode: u32,
    /// The user that it belongs to.
    pub uid: u32,
    /// The group that it belongs to.
    pub gid: u32,
}

/// The innermost directory on the way to a place that existed when the place was opened.
#[napi(object)]
#[derive(Clone)]
pub struct FileAnchor {
    /// Inside the root.
    pub path: String,
    /// Its number in its file system, decimal.
    pub inode: String,
    /// The user that it belongs to.
    pub uid: u32,
}

/// How a place is looked for.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct FilePlaceOptions {
    /// Whether a link at the end is followed, is what the path names, or is that while any other link on the way is
    /// `FILE_MOVED`.
    #[napi(ts_type = "'follow' | 'keep' | 'exact'")]
    pub last: String,
    /// The home that must hold the file.
    pub home: Option<FileHome>,
    /// What the way was when it was written down: `FILE_MOVED` where it is another.
    pub expected: Option<FileAnchor>,
}

/// The marks of a new file.
#[napi(object, object_to_js = false, use_nullable = true)]
pub struct FileMarks {
    /// Permission bits.
    pub mode: u32,
    /// Null for the home's user, or below a user's directory that user; else for whoever runs the agent.
    pub owner: Option<FileOwner>,
}

impl From<FileMarks> for files::Marks {
    fn from(FileMarks { mode, owner }: FileMarks) -> Self {
        Self {
            mode,
            owner: owner.map(into_owner),
        }
    }
}

fn into_owner(FileOwner { uid, gid }: FileOwner) -> files::Owner {
    files::Owner { uid, gid }
}

impl From<FileHome> for files::Home {
    fn from(FileHome { path, uid, gid }: FileHome) -> Self {
        Self { path, uid, gid }
    }
}

/// The files of one system.
#[napi]
pub struct FileTree {
    root: PathBuf,
}

#[napi]
impl FileTree {
    /// Of the system under `root`, a path of this machine.
    #[napi(constructor, catch_unwind)]
    pub fn new(root: String) -> Self {
        Self { root: root.into() }
    }

    /// The whole of a regular file; null when there is none, or no directory that would hold it. Links are followed
    /// inside the root. `FILE_REFUSED` where a user could have prepared the way.
    #[napi(catch_unwind, ts_return_type = "Promise<Buffer | null>")]
    pub fn read(&self, path: String) -> AsyncTask<BytesJob> {
        let root = self.root.clone();
        bytes_job(move || files::read(&root, &path))
    }

    /// At most `length` bytes of a regular file from `offset` on, fewer only at its end; null when there is none.
    #[napi(catch_unwind, ts_return_type = "Promise<Buffer | null>")]
    pub fn read_part(&self, path: String, offset: f64, length: f64) -> AsyncTask<BytesJob> {
        // Negative numbers and NaN become 0.
        let (offset, length) = (offset as u64, length as usize);
        let root = self.root.clone();
        bytes_job(move || files::read_part(&root, &path, offset, length))
    }

    /// As `read`, for a file of a user's own: `FILE_REFUSED` for what is not below the home, and for what the user could
    /// not have read there.
    #[napi(catch_unwind, ts_return_type = "Promise<Buffer | null>")]
    pub fn read_in_home(&self, path: String, home: FileHome) -> AsyncTask<BytesJob> {
        let (root, home) = (self.root.clone(), home.into());
        bytes_job(move || files::read_in_home(&root, &path, &home))
    }

    /// Names in a directory, sorted; none when there is no such directory.
    #[napi(catch_unwind, ts_return_type = "Promise<string[]>")]
    pub fn list(&self, path: String) -> AsyncTask<Job<Vec<String>>> {
        let root = self.root.clone();
        job(move || files::list(&root, &path))
    }

    /// What stands at `path` itself, a link not followed; null when there is nothing.
    #[napi(catch_unwind, ts_return_type = "Promise<FileStatus | null>")]
    pub fn status(&self, path: String) -> AsyncTask<Job<Option<FileStatus>>> {
        let root = self.root.clone();
        job(move || Ok(files::status(&root, &path)?.map(Into::into)))
    }

    /// Where `path` leads when its links are followed, inside the root; null when there is nothing.
    #[napi(catch_unwind, ts_return_type = "Promise<string | null>")]
    pub fn resolve(&self, path: String) -> AsyncTask<Job<Option<String>>> {
        let root = self.root.clone();
        job(move || files::resolve(&root, &path))
    }

    /// Goes down `path` and looks at what stands there. Errors have the system's code, such as `EACCES`, or
    /// `FILE_REFUSED` where a user could have prepared the way or the file.
    #[napi(catch_unwind, ts_return_type = "Promise<FilePlace>")]
    pub fn place(&self, path: String, options: FilePlaceOptions) -> AsyncTask<Job<FilePlace>> {
        let root = self.root.clone();
        job(move || FilePlace::open(&root, &path, options))
    }

    /// Removes a directory that is empty; one that is not, or is gone, is no error. A link on the way is `FILE_MOVED`.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn remove_directory(&self, path: String) -> AsyncTask<Job<()>> {
        let root = self.root.clone();
        job(move || Place::remove_directory(&root, &path))
    }
}

impl From<files::Status> for FileStatus {
    fn from(status: files::Status) -> Self {
        let (r#type, target) = match status.kind {
            Kind::File => ("file", None),
            Kind::Directory => ("directory", None),
            Kind::Link(target) => ("link", Some(target)),
            Kind::Other => ("other", None),
        };
        Self {
            r#type,
            mode: status.mode,
            uid: status.owner.uid,
            gid: status.owner.gid,
            size: status.size as f64,
            target,
        }
    }
}

/// A directory of the agent's own. `FILE_REFUSED` where others can change it.
#[napi]
pub struct PrivateDirectory {
    path: PathBuf,
}

#[napi]
impl PrivateDirectory {
    /// The one at `path`, of this machine.
    #[napi(constructor, catch_unwind)]
    pub fn new(path: String) -> Self {
        Self { path: path.into() }
    }

    /// Writes a file, mode 0600: whole or not at all, and durable.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn write(&self, name: String, content: Buffer) -> AsyncTask<Job<()>> {
        let (path, content) = (self.path.join(name), content.to_vec());
        job(move || files::write_private(&path, &content))
    }
}

/// The place of one file: the directory that holds it, or is to hold it, kept open until `close`. What is done here is
/// done in that directory and nowhere else, whatever becomes of the path meanwhile.
#[napi]
pub struct FilePlace {
    place: Arc<Mutex<Option<Place>>>,
    inside: String,
}

#[napi]
impl FilePlace {
    /// Where it is, inside the root, with all links followed.
    #[napi(getter, catch_unwind)]
    pub fn inside(&self) -> String {
        self.inside.clone()
    }

    /// Who can change what stands in the directory: nobody but root, others too though the directory is root's, or the
    /// user to whom it belongs and with whose rights all is done.
    #[napi(getter, catch_unwind, ts_return_type = "'root' | 'shared' | 'owner'")]
    pub fn trust(&self) -> Result<String> {
        self.with(|place| match place.trust() {
            Trust::Root => "root".into(),
            Trust::Shared => "shared".into(),
            Trust::Owner(_) => "owner".into(),
        })
    }

    /// The innermost directory that there was when this was opened.
    #[napi(getter, catch_unwind)]
    pub fn anchor(&self) -> Result<FileAnchor> {
        self.with(|place| {
            let anchor = place.anchor();
            FileAnchor {
                path: anchor.path.clone(),
                inode: anchor.inode.to_string(),
                uid: anchor.uid,
            }
        })
    }

    /// How many directories above the file do not exist.
    #[napi(getter, catch_unwind)]
    pub fn missing(&self) -> Result<u32> {
        self.with(|place| u32::try_from(place.missing()).unwrap_or(u32::MAX))
    }

    /// What stood there when it was looked at last; null for nothing.
    #[napi(getter, catch_unwind, ts_return_type = "FileTarget | null")]
    pub fn target(&self) -> Result<Option<FileTarget>> {
        self.with(|place| {
            place.target().map(|target| FileTarget {
                link: match &target.kind {
                    TargetKind::File(_) => None,
                    TargetKind::Link(link) => Some(link.to_string_lossy().into_owned()),
                },
                mode: target.mode,
                uid: target.owner.uid,
                gid: target.owner.gid,
            })
        })
    }

    /// Looks anew at what stands there.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn look(&self) -> AsyncTask<Job<()>> {
        self.run(Place::look)
    }

    /// Whether the file that stands there holds `content`.
    #[napi(catch_unwind, ts_return_type = "Promise<boolean>")]
    pub fn holds(&self, content: Buffer) -> AsyncTask<Job<bool>> {
        let content = content.to_vec();
        self.run(move |place| place.holds(content))
    }

    /// The whole of the file that stands there; null when there is none.
    #[napi(catch_unwind, ts_return_type = "Promise<Buffer | null>")]
    pub fn read(&self) -> AsyncTask<BytesJob> {
        let place = Arc::clone(&self.place);
        bytes_job(move || within(&place, |place| place.content()))
    }

    /// Copies the file that stands there, with its attributes, into the new file `name` in a directory of the agent's
    /// own.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn back_up(&self, directory: String, name: String) -> AsyncTask<Job<()>> {
        self.run(move |place| place.back_up(&backup(directory, name)))
    }

    /// Takes from group and others what they may do in the directory that holds the file, unless that is the home itself.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn tighten(&self) -> AsyncTask<Job<()>> {
        self.run(|place| place.tighten())
    }

    /// Makes the directories that are missing.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn make(&self, mode: u32) -> AsyncTask<Job<()>> {
        self.run(move |place| place.make(mode))
    }

    /// Writes `content` to the new file `temp` beside the place, with all its marks, and to the disk; with `attributes`
    /// those of what stands at the place.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn stage(
        &self,
        temp: String,
        content: Buffer,
        marks: FileMarks,
        attributes: bool,
    ) -> AsyncTask<Job<()>> {
        let content = content.to_vec();
        self.run(move |place| place.stage(temp.as_ref(), content, marks.into(), attributes))
    }

    /// As `stage`, with the content and the attributes that a backup kept.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn stage_backup(
        &self,
        temp: String,
        directory: String,
        name: String,
        marks: FileMarks,
    ) -> AsyncTask<Job<()>> {
        self.run(move |place| {
            place.stage_backup(temp.as_ref(), &backup(directory, name), marks.into())
        })
    }

    /// Whether the file that stands there holds what a backup does.
    #[napi(catch_unwind, ts_return_type = "Promise<boolean>")]
    pub fn holds_backup(&self, directory: String, name: String) -> AsyncTask<Job<bool>> {
        self.run(move |place| place.holds(Place::read_backup(&backup(directory, name))?))
    }

    /// Moves the staged file `temp` to the place, and makes that durable. False where what stands there is a mount of its
    /// own, which cannot be replaced. With `checked` only if what stands there is still what was looked at.
    #[napi(catch_unwind, ts_return_type = "Promise<boolean>")]
    pub fn put(&self, temp: String, checked: bool) -> AsyncTask<Job<bool>> {
        self.run(move |place| Ok(place.put(temp.as_ref(), checked)? == files::Moved::Done))
    }

    /// Writes into the file that stands there, where it is a mount of its own in a directory that is root's alone.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn write_in_place(&self, content: Buffer, marks: FileMarks) -> AsyncTask<Job<()>> {
        let content = content.to_vec();
        self.run(move |place| place.write_in_place(&content, marks.into()))
    }

    /// As `writeInPlace`, with what a backup kept.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn write_backup_in_place(
        &self,
        directory: String,
        name: String,
        marks: FileMarks,
    ) -> AsyncTask<Job<()>> {
        self.run(move |place| {
            let content = Place::read_backup(&backup(directory, name))?;
            place.write_in_place(&content, marks.into())
        })
    }

    /// Removes a staged file; one that is not there is no error.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn unstage(&self, temp: String) -> AsyncTask<Job<()>> {
        self.run(move |place| place.unstage(temp.as_ref()))
    }

    /// Rejects where it shows beforehand that what stands there can be neither replaced nor removed.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn check_changeable(&self) -> AsyncTask<Job<()>> {
        self.run(|place| place.check_changeable())
    }

    /// Removes what stands there, if it is still what was looked at.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn remove(&self) -> AsyncTask<Job<()>> {
        self.run(|place| place.remove())
    }

    /// Makes a link that leads to `target` where nothing stands.
    #[napi(catch_unwind, ts_return_type = "Promise<void>")]
    pub fn link(&self, target: String, owner: Option<FileOwner>) -> AsyncTask<Job<()>> {
        self.run(move |place| place.link(target.as_ref(), owner.map(into_owner)))
    }

    /// Lets go of the directories. Closing twice is quiet.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        *place = None;
    }

    fn open(root: &Path, path: &str, options: FilePlaceOptions) -> files::Result<Self> {
        let last = match options.last.as_str() {
            "keep" => files::Last::Keep,
            "exact" => files::Last::Exact,
            _ => files::Last::Follow,
        };
        let not_noted = |_| Error::Moved("its directory was not written down".into());
        let expected = match options.expected {
            None => None,
            Some(FileAnchor { path, inode, uid }) => Some(files::Expected {
                path,
                inode: inode.parse().map_err(not_noted)?,
                uid,
            }),
        };
        let options = files::OpenOptions {
            last,
            home: options.home.map(Into::into),
            expected,
        };
        let place = Place::open(root, path, &options)?;
        Ok(Self {
            inside: place.inside().to_owned(),
            place: Arc::new(Mutex::new(Some(place))),
        })
    }

    fn with<T>(&self, look: impl FnOnce(&Place) -> T) -> Result<T> {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        place
            .as_ref()
            .map(look)
            .ok_or_else(|| napi::Error::from_reason("the place is closed"))
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Place) -> files::Result<T> + Send + 'static,
    ) -> AsyncTask<Job<T>>
    where
        Job<T>: Task,
    {
        let place = Arc::clone(&self.place);
        job(move || within(&place, work))
    }
}

fn within<T>(
    place: &Mutex<Option<Place>>,
    work: impl FnOnce(&mut Place) -> files::Result<T>,
) -> files::Result<T> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    let closed = || Error::Refused("the place is closed".into());
    work(place.as_mut().ok_or_else(closed)?)
}

fn backup(directory: String, name: String) -> Backup {
    Backup {
        directory: PathBuf::from(directory),
        name: OsString::from(name),
    }
}

type Work<T> = Box<dyn FnOnce() -> files::Result<T> + Send>;

/// Work for a thread of Node's pool, and what JavaScript gets of it.
pub struct Job<T, J = T> {
    work: Option<Work<T>>,
    convert: fn(T) -> J,
    error: Option<Error>,
}

type BytesJob = Job<Option<Vec<u8>>, Option<Buffer>>;

fn job<T: Send + 'static>(
    work: impl FnOnce() -> files::Result<T> + Send + 'static,
) -> AsyncTask<Job<T>>
where
    Job<T>: Task,
{
    AsyncTask::new(Job {
        work: Some(Box::new(work)),
        convert: |result| result,
        error: None,
    })
}

fn bytes_job(
    work: impl FnOnce() -> files::Result<Option<Vec<u8>>> + Send + 'static,
) -> AsyncTask<BytesJob> {
    AsyncTask::new(Job {
        work: Some(Box::new(work)),
        convert: |bytes| bytes.map(Buffer::from),
        error: None,
    })
}

impl<T, J> Task for Job<T, J>
where
    T: Send + 'static,
    J: ToNapiValue + TypeName,
{
    type Output = T;
    type JsValue = J;

    fn compute(&mut self) -> Result<T> {
        let work = self
            .work
            .take()
            .ok_or_else(|| napi::Error::from_reason("the work was done before"))?;
        work().map_err(|error| {
            let reason = error.to_string();
            self.error = Some(error);
            napi::Error::from_reason(reason)
        })
    }

    fn resolve(&mut self, _env: Env, output: T) -> Result<J> {
        Ok((self.convert)(output))
    }

    fn reject(&mut self, env: Env, error: napi::Error) -> Result<J> {
        Err(match &self.error {
            Some(why) => coded(env, why),
            None => error,
        })
    }
}

/// An error as JavaScript sees it: with the system's own code, as Node's errors have it, or with one of ours.
fn coded(env: Env, error: &Error) -> napi::Error {
    let code: Cow<'static, str> = match error {
        Error::System(errno) | Error::Path { errno, .. } => system_code(*errno),
        Error::Moved(_) => ErrorCode::FileMoved.name().into(),
        Error::Refused(_) | Error::TimedOut(_) => ErrorCode::FileRefused.name().into(),
    };
    JsError::from(napi::Error::new(code, error.to_string()))
        .into_unknown(env)
        .into()
}
