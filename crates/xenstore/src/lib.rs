//! A XenStore client in pure Rust.
