//! The Node addon: adapts the crates beside it to JavaScript and decides nothing.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "the addon is for Linux: check the crates beside it for other systems, as `npm run lint` does"
);

mod connection;
mod error;
pub mod files;
mod js;
pub mod key_exchange;
pub mod network;
mod poll;
pub mod sealed_exchange;
pub mod server;
pub mod store;
pub mod stream;
pub mod system;
pub mod watch;

use napi_derive::napi;

/// The commit that the addon was built from, or `unknown`.
#[napi(catch_unwind)]
pub fn commit() -> String {
    env!("GUESTWIRE_COMMIT").to_owned()
}
