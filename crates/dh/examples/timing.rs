//! How long one public key and one shared secret take: `cargo run --release -p dh --example timing`.

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use dh::PrivateKey;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const ROUNDS: u32 = 200_000;
    let (ours, theirs) = (PrivateKey::generate()?, PrivateKey::generate()?);
    let peer = theirs.public_key();
    let mut out = std::io::stdout().lock();
    let started = Instant::now();
    for _ in 0..ROUNDS {
        black_box(black_box(&ours).public_key());
    }
    writeln!(out, "public key:    {:?}", started.elapsed() / ROUNDS)?;
    let started = Instant::now();
    for _ in 0..ROUNDS {
        black_box(black_box(&ours).shared_secret(black_box(&peer)));
    }
    writeln!(out, "shared secret: {:?}", started.elapsed() / ROUNDS)?;
    let shared = ours.shared_secret(&peer);
    let started = Instant::now();
    for _ in 0..ROUNDS {
        black_box(black_box(&shared).to_decimal());
    }
    writeln!(out, "its decimal:   {:?}", started.elapsed() / ROUNDS)?;
    Ok(())
}
