use std::fmt;
use std::io;

/// The result of everything that can fail here.
pub type Result<T> = std::result::Result<T, XenStoreError>;

/// Why an operation failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum XenStoreError {
    /// There is no such node (the store's `ENOENT`).
    NotFound {
        /// The path as it was asked for.
        path: String,
    },
    /// The store, or the kernel's device for it, said no.
    Refused {
        /// The path as it was asked for.
        path: String,
        /// The store's own name for the error, such as `EACCES`. Not always one of the list in the protocol:
        /// oxenstored also sends `EQUOTA`.
        name: String,
    },
    /// The path breaks the store's rules; nothing was sent.
    InvalidPath {
        /// The path as it was asked for.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Path and value do not fit into one message; nothing was sent.
    TooLarge {
        /// The path as it was asked for.
        path: String,
        /// The size of the message's payload, in bytes.
        bytes: usize,
        /// The largest payload that the connection takes, in bytes.
        limit: usize,
    },
    /// A transaction met somebody else's change each time.
    Conflict {
        /// How often it was tried.
        attempts: u32,
    },
    /// The other side sent what no store sends.
    Protocol {
        /// What was wrong.
        reason: String,
    },
    /// The operating system failed a call.
    Io {
        /// What was being done.
        doing: String,
        /// How it failed.
        source: io::Error,
    },
    /// The connection is closed or was lost; what was under way may or may not have happened.
    Closed {
        /// Why.
        reason: String,
    },
    /// There is no XenStore where it was looked for.
    NoEndpoint {
        /// The paths that were tried.
        tried: Vec<String>,
    },
    /// The operation must not be sent to the kernel's device.
    NotOnDevice {
        /// The operation's name.
        operation: &'static str,
    },
}

impl XenStoreError {
    /// Sorts an error name that the store sent for `path`.
    #[must_use]
    pub fn named(path: &str, name: &str) -> Self {
        let path = path.to_owned();
        match name {
            "ENOENT" => Self::NotFound { path },
            _ => Self::Refused {
                path,
                name: name.to_owned(),
            },
        }
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            doing: doing.into(),
            source,
        }
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn closed(reason: impl Into<String>) -> Self {
        Self::Closed {
            reason: reason.into(),
        }
    }
}

impl fmt::Display for XenStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { path } => write!(f, "no XenStore node {path}"),
            Self::Refused { path, name } => write!(f, "the store refused {path}: {name}"),
            Self::InvalidPath { path, reason } => {
                write!(f, "invalid XenStore path {path:?}: {reason}")
            }
            Self::TooLarge { path, bytes, limit } => {
                write!(
                    f,
                    "message for {path} has {bytes} bytes; the store takes {limit} at most"
                )
            }
            Self::Conflict { attempts } => write!(f, "transaction met a conflict {attempts} times"),
            Self::Protocol { reason } => write!(f, "the store broke the protocol: {reason}"),
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
            Self::Closed { reason } => write!(f, "connection to XenStore is closed: {reason}"),
            Self::NoEndpoint { tried } => {
                write!(f, "no XenStore found; looked for {}", tried.join(", "))
            }
            Self::NotOnDevice { operation } => {
                write!(
                    f,
                    "{operation} on the kernel's device would hit the whole guest; use a socket"
                )
            }
        }
    }
}

impl std::error::Error for XenStoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
