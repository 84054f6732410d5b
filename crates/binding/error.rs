//! The codes that errors carry into JavaScript, as `error.code`.

use std::borrow::Cow;

use napi_derive::napi;
use rustix::io::Errno;

/// Every `error.code` of the addon.
#[napi(string_enum)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// There is no such node.
    #[napi(value = "XS_NOT_FOUND")]
    NotFound,
    /// The store answered with an error; its own name for it, such as `EACCES`, is in the message.
    #[napi(value = "XS_REFUSED")]
    Refused,
    /// The path breaks the store's rules; nothing was sent.
    #[napi(value = "XS_INVALID_PATH")]
    InvalidPath,
    /// Path and value do not fit into one message; nothing was sent.
    #[napi(value = "XS_TOO_LARGE")]
    TooLarge,
    /// The connection is closed or was lost.
    #[napi(value = "XS_CLOSED")]
    Closed,
    /// The operating system failed a call.
    #[napi(value = "XS_IO")]
    Io,
    /// The store sent bytes that make no sense.
    #[napi(value = "XS_PROTOCOL")]
    Protocol,
    /// No XenStore was found on this machine.
    #[napi(value = "XS_NO_ENDPOINT")]
    NoEndpoint,
    /// The peer's public key is not a decimal number.
    #[napi(value = "DH_NOT_A_DECIMAL")]
    NotADecimal,
    /// The peer's public key is outside of the group.
    #[napi(value = "DH_OUT_OF_RANGE")]
    OutOfRange,
    /// There is no private key to finish a key exchange with.
    #[napi(value = "DH_NOT_BEGUN")]
    NotBegun,
    /// The place for the shared secret is too small.
    #[napi(value = "DH_NO_ROOM")]
    NoRoom,
    /// The peer's public key has not the length of one.
    #[napi(value = "DH_BAD_LENGTH")]
    BadLength,
    /// The peer's public key would make a secret that anyone knows.
    #[napi(value = "DH_LOW_ORDER")]
    LowOrder,
    /// A message is not of this key exchange, or damaged.
    #[napi(value = "SEAL_BROKEN")]
    SealBroken,
    /// Another process held the lock for too long.
    #[napi(value = "LOCK_TIMEOUT")]
    LockTimeout,
    /// The password could not be hashed.
    #[napi(value = "HASH_FAILED")]
    HashFailed,
    /// The kernel's network could not be read or changed.
    #[napi(value = "NETLINK_FAILED")]
    NetlinkFailed,
    /// A stream to the host could not be opened or listened for.
    #[napi(value = "STREAM_FAILED")]
    StreamFailed,
    /// A user of the system could have prepared what stands at a path, or could gain by it.
    #[napi(value = "FILE_REFUSED")]
    FileRefused,
    /// A path leads elsewhere than when it was written down.
    #[napi(value = "FILE_MOVED")]
    FileMoved,
}

impl ErrorCode {
    /// The code as JavaScript sees it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotFound => "XS_NOT_FOUND",
            Self::Refused => "XS_REFUSED",
            Self::InvalidPath => "XS_INVALID_PATH",
            Self::TooLarge => "XS_TOO_LARGE",
            Self::Closed => "XS_CLOSED",
            Self::Io => "XS_IO",
            Self::Protocol => "XS_PROTOCOL",
            Self::NoEndpoint => "XS_NO_ENDPOINT",
            Self::NotADecimal => "DH_NOT_A_DECIMAL",
            Self::OutOfRange => "DH_OUT_OF_RANGE",
            Self::NotBegun => "DH_NOT_BEGUN",
            Self::NoRoom => "DH_NO_ROOM",
            Self::BadLength => "DH_BAD_LENGTH",
            Self::LowOrder => "DH_LOW_ORDER",
            Self::SealBroken => "SEAL_BROKEN",
            Self::LockTimeout => "LOCK_TIMEOUT",
            Self::HashFailed => "HASH_FAILED",
            Self::NetlinkFailed => "NETLINK_FAILED",
            Self::StreamFailed => "STREAM_FAILED",
            Self::FileRefused => "FILE_REFUSED",
            Self::FileMoved => "FILE_MOVED",
        }
    }
}

impl AsRef<str> for ErrorCode {
    fn as_ref(&self) -> &str {
        self.name()
    }
}

/// An error whose `code` JavaScript can tell apart.
pub type CodedError = napi::Error<ErrorCode>;

/// The name of a system's error, as Node's errors have it as `code`.
pub fn system_code(errno: Errno) -> Cow<'static, str> {
    let name = match errno {
        Errno::ACCESS => "EACCES",
        Errno::BUSY => "EBUSY",
        Errno::DQUOT => "EDQUOT",
        Errno::EXIST => "EEXIST",
        Errno::FBIG => "EFBIG",
        Errno::INVAL => "EINVAL",
        Errno::IO => "EIO",
        Errno::ISDIR => "EISDIR",
        Errno::LOOP => "ELOOP",
        Errno::MFILE => "EMFILE",
        Errno::NAMETOOLONG => "ENAMETOOLONG",
        Errno::NFILE => "ENFILE",
        Errno::NODEV => "ENODEV",
        Errno::NOENT => "ENOENT",
        Errno::NOMEM => "ENOMEM",
        Errno::NOSPC => "ENOSPC",
        Errno::NOSYS => "ENOSYS",
        Errno::NOTDIR => "ENOTDIR",
        Errno::NOTEMPTY => "ENOTEMPTY",
        Errno::NOTSUP => "ENOTSUP",
        Errno::NXIO => "ENXIO",
        Errno::OVERFLOW => "EOVERFLOW",
        Errno::PERM => "EPERM",
        Errno::ROFS => "EROFS",
        Errno::STALE => "ESTALE",
        Errno::TIMEDOUT => "ETIMEDOUT",
        Errno::TXTBSY => "ETXTBSY",
        Errno::WOULDBLOCK => "EAGAIN",
        Errno::XDEV => "EXDEV",
        other => return format!("E{}", other.raw_os_error()).into(),
    };
    name.into()
}
