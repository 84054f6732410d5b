//! A XenStore client in pure Rust: no C library, no Node.
//!
//! Three storeys. [`wire`] turns bytes into packets and back; [`session`] knows who waits for what; neither touches
//! the world, so the protocol is tested without Xen. On top, [`Connection`] drives one descriptor without ever
//! waiting, for whoever has an event loop, and [`Client`] waits, for whoever has threads. That storey is Linux's: other
//! systems have the two below, and what [`values`] decides.
//!
//! ```no_run
//! let client = xenstore::Client::open(None)?;
//! client.write("data/hello", b"world")?;
//! let _watch = client.watch("data", |path| assert!(path.starts_with("data")))?;
//! # Ok::<(), xenstore::XenStoreError>(())
//! ```

#[cfg(target_os = "linux")]
mod channel;
#[cfg(target_os = "linux")]
mod client;
#[cfg(target_os = "linux")]
mod connection;
#[cfg(target_os = "linux")]
mod endpoint;
mod error;
mod operation;
mod path;
pub mod session;
pub mod values;
#[cfg(target_os = "linux")]
mod watch;
pub mod wire;

#[cfg(target_os = "linux")]
pub use client::{Client, Transaction};
#[cfg(target_os = "linux")]
pub use connection::{Connection, Writer};
#[cfg(target_os = "linux")]
pub use endpoint::{Endpoint, Kind};
pub use error::{Result, XenStoreError};
pub use operation::{Listing, Operation, Step, split_names};
pub use path::{check_path, check_watch_path};
#[cfg(target_os = "linux")]
pub use watch::Watch;
