//! Files of a system read and changed by descriptor, from its root down, so that no user of it can lead the agent astray.
//!
//! - [`walk`] goes down a path one name at a time and judges each directory and link on the way.
//! - [`place`] holds the directory where a file stands, or is to stand, and changes it there and nowhere else.
//! - [`identity`] has the work below a user's directory done with that user's rights.
//! - [`marks`] gives a file its owner, mode, label and other attributes.
//! - [`private`] writes files of the agent's own, in directories that are root's alone.
//!
//! All of it is Linux's; elsewhere the crate is empty.

#![cfg(target_os = "linux")]

mod error;
mod identity;
mod marks;
mod place;
mod private;
mod read;
mod walk;

pub use error::{Error, Result};
pub use marks::Owner;
pub use place::{Backup, Expected, Marks, Moved, OpenOptions, Place, Target, TargetKind};
pub use private::write_private;
pub use read::{Kind, Status, list, read, read_in_home, read_part, resolve, status};
pub use walk::{Home, Last, Trust};
