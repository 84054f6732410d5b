//! What the tests of several modules need.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A directory of a test's own, gone with all in it when it is dropped.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn make(name: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("stream-{}-{name}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
