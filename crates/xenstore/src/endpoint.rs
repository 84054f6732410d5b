use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::error::{Result, XenStoreError};

/// In the order of preference: what a guest has, then what the machine that runs the store has.
const DEVICES: [&str; 2] = ["/dev/xen/xenbus", "/proc/xen/xenbus"];
const SOCKETS: [&str; 2] = ["/run/xenstored/socket", "/var/run/xenstored/socket"];

/// How a descriptor behaves: the kernel's device has rules of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The kernel's device.
    Device,
    /// A unix socket of xenstored.
    Socket,
}

impl Kind {
    /// Largest payload of a request, in bytes. The device counts the 16 bytes of the header in its 4096.
    #[must_use]
    pub fn payload_limit(self) -> usize {
        match self {
            Self::Device => 4080,
            Self::Socket => 4096,
        }
    }

    /// Largest payload of a reply, in bytes. oxenstored sends directory lists that are longer than the protocol
    /// allows.
    #[must_use]
    pub fn reply_limit(self) -> usize {
        match self {
            Self::Device => 4096,
            Self::Socket => 64 * 1024,
        }
    }

    /// How many requests may be unanswered. On the device one: Linux keeps the body of a request in a buffer of the
    /// descriptor until the store's ring takes it, some time after `write()` has returned, and the next `write()`
    /// overwrites it (`xenbus_dev_request_and_reply` points into `xenbus_file_priv`). The store then carries out the
    /// later request twice and answers both.
    #[must_use]
    pub fn outstanding_limit(self) -> usize {
        match self {
            Self::Device => 1,
            Self::Socket => usize::MAX,
        }
    }

    /// Whether writing a WATCH or UNWATCH waits for the store.
    #[must_use]
    pub fn watch_blocks(self) -> bool {
        self == Self::Device
    }
}

/// Where XenStore is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The kernel's device.
    Device(PathBuf),
    /// A unix socket of xenstored.
    Socket(PathBuf),
}

impl Endpoint {
    /// Looks for the machine's own XenStore.
    ///
    /// # Errors
    /// [`XenStoreError::NoEndpoint`] with the places that were looked at.
    pub fn detect() -> Result<Self> {
        Self::detect_under(Path::new("/"))
    }

    fn detect_under(root: &Path) -> Result<Self> {
        let under = |path: &&str| root.join(path.trim_start_matches('/'));
        let devices = DEVICES.iter().map(under).map(Self::Device);
        let sockets = SOCKETS.iter().map(under).map(Self::Socket);
        devices
            .chain(sockets)
            .find(|endpoint| endpoint.path().exists())
            .ok_or_else(|| XenStoreError::NoEndpoint {
                tried: DEVICES
                    .iter()
                    .chain(&SOCKETS)
                    .map(ToString::to_string)
                    .collect(),
            })
    }

    /// Takes the path of a socket as [`Endpoint::Socket`], anything else as [`Endpoint::Device`]:
    /// `/proc/xen/xenbus` is a regular file by its type.
    ///
    /// # Errors
    /// [`XenStoreError::NoEndpoint`] when nothing is there, [`XenStoreError::Io`] when that cannot be told.
    pub fn named(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        match fs::metadata(&path) {
            Ok(metadata) if metadata.file_type().is_socket() => Ok(Self::Socket(path)),
            Ok(_) => Ok(Self::Device(path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(XenStoreError::NoEndpoint {
                    tried: vec![path.display().to_string()],
                })
            }
            Err(error) => Err(XenStoreError::io(
                format!("looking at {}", path.display()),
                error,
            )),
        }
    }

    /// The path of the device or socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Device(path) | Self::Socket(path) => path,
        }
    }

    /// How its descriptors behave.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Device(_) => Kind::Device,
            Self::Socket(_) => Kind::Socket,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn finds_the_device_before_the_socket_and_says_where_it_looked() {
        let root = std::env::temp_dir().join(format!("xenstore-endpoint-{}", std::process::id()));
        fs::create_dir_all(root.join("run/xenstored")).expect("makes the folder");
        let missing = Endpoint::detect_under(&root).expect_err("there is none yet");
        assert!(
            missing
                .to_string()
                .contains("/dev/xen/xenbus, /proc/xen/xenbus, /run/xenstored/socket")
        );

        let socket = root.join("run/xenstored/socket");
        let listener = UnixListener::bind(&socket).expect("binds");
        assert_eq!(
            Endpoint::detect_under(&root).expect("finds it"),
            Endpoint::Socket(socket.clone())
        );
        assert_eq!(
            Endpoint::named(&socket).expect("tells it").kind(),
            Kind::Socket
        );

        let device = root.join("dev/xen/xenbus");
        fs::create_dir_all(root.join("dev/xen")).expect("makes the folder");
        fs::write(&device, "").expect("writes");
        assert_eq!(
            Endpoint::detect_under(&root).expect("finds it"),
            Endpoint::Device(device.clone())
        );
        assert_eq!(
            Endpoint::named(&device).expect("tells it").kind(),
            Kind::Device
        );
        drop(listener);
        fs::remove_dir_all(&root).expect("cleans up");
    }
}
