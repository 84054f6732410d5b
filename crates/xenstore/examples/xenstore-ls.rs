//! Prints a XenStore tree: `cargo run -p xenstore --example xenstore-ls -- [SOCKET-OR-DEVICE [PATH]]`.

use std::io::{self, Write};
use std::path::PathBuf;

use xenstore::{Client, XenStoreError};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().map(PathBuf::from);
    let client = Client::open(endpoint.as_deref())?;
    let root = arguments.next().unwrap_or_else(|| "/".to_owned());
    show(&client, &root, &mut io::stdout().lock())
}

fn show(
    client: &Client,
    path: &str,
    out: &mut impl Write,
) -> Result<(), Box<dyn std::error::Error>> {
    match client.read(path) {
        Ok(value) => writeln!(out, "{path} = \"{}\"", value.escape_ascii())?,
        // It may have gone since its parent was listed.
        Err(XenStoreError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    for name in client.list(path)? {
        show(
            client,
            &format!("{}/{name}", path.trim_end_matches('/')),
            out,
        )?;
    }
    Ok(())
}
