use crate::error::{Result, XenStoreError};

/// Longest absolute path, in bytes, without a final NUL.
const ABSOLUTE_MAX: usize = 3072;
/// Longest relative path, in bytes: the store puts `/local/domain/N/` before it.
const RELATIVE_MAX: usize = 2048;

/// Checks a node's path by the store's own rules, so that a bad one is never sent.
///
/// # Errors
/// [`XenStoreError::InvalidPath`] with the rule that it breaks.
pub fn check_path(path: &str) -> Result<()> {
    match fault(path) {
        None => Ok(()),
        Some(reason) => Err(XenStoreError::InvalidPath {
            path: path.to_owned(),
            reason,
        }),
    }
}

/// As [`check_path`], but also takes the special nodes, such as `@releaseDomain`, which can only be watched.
///
/// # Errors
/// [`XenStoreError::InvalidPath`] with the rule that it breaks.
pub fn check_watch_path(path: &str) -> Result<()> {
    check_path(path.strip_prefix('@').unwrap_or(path)).map_err(|error| match error {
        XenStoreError::InvalidPath { reason, .. } => XenStoreError::InvalidPath {
            path: path.to_owned(),
            reason,
        },
        other => other,
    })
}

fn fault(path: &str) -> Option<&'static str> {
    let limit = if path.starts_with('/') {
        ABSOLUTE_MAX
    } else {
        RELATIVE_MAX
    };
    let legal =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'/' | b'_' | b'@');
    if path.is_empty() {
        Some("it is empty")
    } else if path.len() > limit {
        Some("it is longer than 3072 bytes (absolute) or 2048 bytes (relative)")
    } else if !path.bytes().all(legal) {
        Some("only letters, digits and - / _ @ may stand in it")
    } else if path.contains("//") {
        Some("it holds an empty name (//)")
    } else if path.len() > 1 && path.ends_with('/') {
        Some("it ends in /")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_the_store_takes() {
        for path in [
            "/",
            "data",
            "data/x-1_2@3",
            "/local/domain/7/vm-data",
            "a/b",
        ] {
            assert!(check_path(path).is_ok(), "{path}");
        }
        assert!(check_path(&format!("/{}", "a".repeat(3071))).is_ok());
        assert!(check_path(&"a".repeat(2048)).is_ok());
        assert!(check_watch_path("@releaseDomain").is_ok());
    }

    #[test]
    fn refuses_what_the_store_refuses() {
        for path in ["", "//", "a//b", "a/", "a b", "a\0b", "ä", "a.b", "/a/"] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
        assert!(check_path(&format!("/{}", "a".repeat(3072))).is_err());
        assert!(check_path(&"a".repeat(2049)).is_err());
        assert!(check_watch_path("@").is_err());
    }
}
