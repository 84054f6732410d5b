//! Links, addresses and routes of the kernel that runs here, over rtnetlink: no Node, no `ip` program.
//!
//! [`dump`] reads all of them, [`apply`] changes them one by one. Packet formats are those of `netlink-packet-route`;
//! the session is ours, because it has to be bounded in time and to notice tables that change while they are read.
//!
//! ```no_run
//! use netlink::Change;
//!
//! let snapshot = netlink::dump()?;
//! for link in snapshot.links.iter().filter(|link| link.ethernet && !link.up) {
//!     netlink::apply(&[Change::SetUp { index: link.index }])?;
//! }
//! # Ok::<(), netlink::NetlinkError>(())
//! ```
//!
//! rtnetlink is Linux's; elsewhere the crate is empty.

#![cfg(target_os = "linux")]

mod change;
mod error;
mod session;
mod snapshot;

pub use change::{Change, apply};
pub use error::{NetlinkError, Result};
pub use snapshot::{AddressEntry, Link, Route, Snapshot, dump};
