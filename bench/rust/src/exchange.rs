//! Whole key exchanges: two fresh private keys, two public keys, two secrets.

use std::error::Error;
use std::hint::black_box;
use std::io::{Write, stdout};
use std::time::{Duration, Instant};

use crypto_bigint::{U128, const_monty_params, modular::ConstMontyForm};
use dh::{PrivateKey, PublicKey};

const_monty_params!(Prime, U128, "000007ffffffffffffffffffffffffff");
type Form = ConstMontyForm<Prime, { U128::LIMBS }>;
const KEY_BITS: u32 = 107;

/// Prints exchanges per second: `dh N` and `crypto-bigint N`.
pub fn measure(time: Duration) -> Result<(), Box<dyn Error>> {
    let ours = rate(time, || {
        let (a, b) = (PrivateKey::generate()?, PrivateKey::generate()?);
        // As text, since that is how the addon takes them.
        let (from_a, from_b) = (a.public_key().to_string(), b.public_key().to_string());
        black_box(a.shared_secret(&from_b.parse::<PublicKey>()?).to_decimal());
        black_box(b.shared_secret(&from_a.parse::<PublicKey>()?).to_decimal());
        Ok(())
    })?;
    let theirs = rate(time, || {
        let (a, b) = (random()?, random()?);
        let generator = Form::new(&U128::from_u8(5));
        let power = |base: &Form, key: &U128| base.pow_bounded_exp(key, KEY_BITS);
        let (from_a, from_b) = (
            power(&generator, &a).retrieve(),
            power(&generator, &b).retrieve(),
        );
        let secret = power(&Form::new(&from_b), &a).retrieve();
        if secret != power(&Form::new(&from_a), &b).retrieve() {
            return Err("the two secrets differ".into());
        }
        black_box(secret);
        Ok(())
    })?;
    Ok(stdout().write_all(format!("dh {ours}\ncrypto-bigint {theirs}\n").as_bytes())?)
}

fn random() -> Result<U128, Box<dyn Error>> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(U128::from_u128(
        u128::from_ne_bytes(bytes) >> (128 - KEY_BITS),
    ))
}

fn rate(
    time: Duration,
    mut exchange: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let (started, mut done) = (Instant::now(), 0_u32);
    while started.elapsed() < time {
        for _ in 0..100 {
            exchange()?;
        }
        done += 100;
    }
    Ok(f64::from(done) / started.elapsed().as_secs_f64())
}
