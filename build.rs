//! Sets up the addon's link arguments and stamps the commit it was built from.

use std::process::Command;

fn main() {
    napi_build::setup();
    // Packagers who build from a tarball name the commit; a checkout asks git; "unknown" is a legal answer.
    println!("cargo::rerun-if-env-changed=GUESTWIRE_COMMIT");
    let commit = std::env::var("GUESTWIRE_COMMIT")
        .ok()
        .or_else(git_commit)
        .unwrap_or_else(|| "unknown".into());
    println!("cargo::rustc-env=GUESTWIRE_COMMIT={commit}");
}

fn git_commit() -> Option<String> {
    let output = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
