use std::fmt;
use std::io;

/// The result of everything that can fail here.
pub type Result<T> = std::result::Result<T, NetlinkError>;

/// Why the kernel could not be asked, or what it said no to.
#[derive(Debug)]
#[non_exhaustive]
pub enum NetlinkError {
    /// The kernel refused a request.
    Refused {
        /// The request in words, such as `adding 192.0.2.1/24 to eth0`.
        doing: String,
        /// The kernel's error number, positive.
        errno: i32,
        /// What the kernel says about it; not every kernel, and not for every error.
        remark: Option<String>,
    },
    /// The operating system failed a call on the socket; `TimedOut` when the kernel did not answer in time.
    Io {
        /// What was being done.
        doing: &'static str,
        /// How it failed.
        source: io::Error,
    },
    /// The tables changed each time while they were read.
    Unsettled {
        /// How often it was tried.
        tries: u32,
    },
    /// The kernel sent what no kernel sends.
    Malformed {
        /// What was wrong.
        reason: String,
    },
}

impl NetlinkError {
    /// The kernel's or the socket's error number, positive.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Io { source, .. } => source.raw_os_error(),
            Self::Unsettled { .. } | Self::Malformed { .. } => None,
        }
    }
}

impl fmt::Display for NetlinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused {
                doing,
                errno,
                remark,
            } => {
                match errno_name(*errno) {
                    Some(name) => write!(f, "{doing}: {name}")?,
                    None => write!(f, "{doing}: error {errno}")?,
                }
                match remark {
                    Some(remark) => write!(f, " ({remark})"),
                    None => Ok(()),
                }
            }
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
            Self::Unsettled { tries } => {
                write!(f, "the network changed {tries} times while it was read")
            }
            Self::Malformed { reason } => {
                write!(f, "the kernel sent a malformed message: {reason}")
            }
        }
    }
}

impl std::error::Error for NetlinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// The names of what the kernel's network configuration fails with.
fn errno_name(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::ESRCH => "ESRCH",
        libc::EIO => "EIO",
        libc::ENXIO => "ENXIO",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "EEXIST",
        libc::ENODEV => "ENODEV",
        libc::EINVAL => "EINVAL",
        libc::ENOSPC => "ENOSPC",
        libc::ERANGE => "ERANGE",
        libc::EMSGSIZE => "EMSGSIZE",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::EADDRINUSE => "EADDRINUSE",
        libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
        libc::ENETDOWN => "ENETDOWN",
        libc::ENETUNREACH => "ENETUNREACH",
        libc::EHOSTUNREACH => "EHOSTUNREACH",
        libc::ENOBUFS => "ENOBUFS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_what_was_being_done_and_why_not() {
        let error = |errno, remark: Option<&str>| NetlinkError::Refused {
            doing: "adding 192.0.2.1/24 to eth0".to_owned(),
            errno,
            remark: remark.map(str::to_owned),
        };
        assert_eq!(
            error(libc::EPERM, None).to_string(),
            "adding 192.0.2.1/24 to eth0: EPERM"
        );
        assert_eq!(
            error(libc::ENETUNREACH, Some("Nexthop has invalid gateway")).to_string(),
            "adding 192.0.2.1/24 to eth0: ENETUNREACH (Nexthop has invalid gateway)"
        );
        assert_eq!(
            error(4711, None).to_string(),
            "adding 192.0.2.1/24 to eth0: error 4711"
        );
    }
}
