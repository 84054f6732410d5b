//! What can go wrong, with the name of the system's own error where it was the system.

use std::fmt;
use std::time::Duration;

use rustix::io::Errno;

/// The result of anything here.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something was not read or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The system failed a call.
    System(Errno),
    /// The path itself is at fault; the error is what the system would have given for it.
    Path {
        /// The system's error.
        errno: Errno,
        /// Which part of the path, and why.
        message: String,
    },
    /// A user of the system could have prepared what stands there, or could gain by it: nothing was done.
    Refused(String),
    /// The path leads elsewhere than it did when it was written down: nothing was done.
    Moved(String),
    /// The file system of a user's own did not answer.
    TimedOut(Duration),
}

impl Error {
    pub(crate) fn path(errno: Errno, message: impl Into<String>) -> Self {
        Self::Path {
            errno,
            message: message.into(),
        }
    }

    /// The system's error, where it was one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::System(errno) | Self::Path { errno, .. } => Some(*errno),
            Self::Refused(_) | Self::Moved(_) | Self::TimedOut(_) => None,
        }
    }

    /// Whether it says that there is nothing at the path.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self.errno(), Some(Errno::NOENT | Errno::NOTDIR))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(errno) => fmt::Display::fmt(errno, f),
            Self::Path { message, .. } | Self::Refused(message) | Self::Moved(message) => {
                f.write_str(message)
            }
            Self::TimedOut(limit) => write!(f, "its file system did not answer within {limit:?}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Errno::from_io_error(&error).map_or_else(|| Self::Refused(error.to_string()), Self::System)
    }
}
