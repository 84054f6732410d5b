//! The key exchange of nova and its guest agents: Diffie-Hellman modulo p = 2^107 - 1 with generator 5.
//!
//! The group is far too small to keep a secret from anyone who sees the public keys: p - 1 has only small factors,
//! and a discrete logarithm takes seconds. It is what the host speaks. What this crate promises is that the private
//! key and the shared secret leak neither through time, nor through a print, nor through memory left behind.
//!
//! ```
//! use dh::{PrivateKey, PublicKey};
//!
//! let (guest, host) = (PrivateKey::generate()?, PrivateKey::generate()?);
//! let host_key: PublicKey = host.public_key().to_string().parse()?;
//! let shared = guest.shared_secret(&host_key);
//! assert_eq!(shared.to_decimal().as_bytes(), host.shared_secret(&guest.public_key()).to_decimal().as_bytes());
//! assert_eq!(format!("{shared:?}"), "[secret]");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod field;

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroize;

/// A private exponent. Never printed; overwritten when dropped.
pub struct PrivateKey(u128);

impl PrivateKey {
    /// A key from the system's random source, uniform in 2..=p-2.
    ///
    /// # Errors
    ///
    /// When the system has no randomness to give, as in a chroot without `getrandom(2)` and `/dev/urandom`.
    pub fn generate() -> Result<Self, RandomnessUnavailable> {
        let mut bytes = [0; 16];
        loop {
            getrandom::fill(&mut bytes).map_err(RandomnessUnavailable)?;
            let key = Self(u128::from_ne_bytes(bytes) & field::P);
            // The few others are drawn again, not reduced: that keeps the rest equally likely.
            if (2..=field::P - 2).contains(&key.0) {
                bytes.zeroize();
                return Ok(key);
            }
        }
    }

    /// The key with this exponent, of any size: for known-answer tests. 0 and 1 make keys that hide nothing.
    pub const fn from_exponent(exponent: u128) -> Self {
        Self(field::reduce_exponent(exponent))
    }

    /// What the peer is told. Constant time with respect to the key.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(field::generator_power(self.0))
    }

    /// What both sides know and nobody else should. Constant time with respect to the key.
    pub fn shared_secret(&self, peer: &PublicKey) -> SharedSecret {
        SharedSecret(field::power(peer.0, self.0))
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A public key. `Display` and `FromStr` speak the wire's form, decimal text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(u128);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PublicKey {
    type Err = InvalidPublicKey;

    /// Accepts decimal digits with blanks around them, as the old agents did, in the range 2..=p-2: the keys 0, 1
    /// and p-1 would let anyone guess the shared secret.
    fn from_str(text: &str) -> Result<Self, InvalidPublicKey> {
        let digits = text.trim_ascii();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidPublicKey::NotADecimal);
        }
        match parse_digits(digits) {
            Some(value) if (2..=field::P - 2).contains(&value) => Ok(Self(value)),
            _ => Err(InvalidPublicKey::OutOfRange),
        }
    }
}

/// The number that ASCII digits stand for; none when it is far too large. Two parses of 64 bits take a fraction of the
/// time of one of 128.
fn parse_digits(digits: &str) -> Option<u128> {
    let digits = digits.trim_start_matches('0');
    let (high, low) = digits.split_at(digits.len().saturating_sub(CHUNK_DIGITS));
    let number = |part: &str| match part {
        "" => Some(0),
        _ => part.parse::<u64>().ok(),
    };
    Some(u128::from(number(high)?) * CHUNK + u128::from(number(low)?))
}

/// Why a text is no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidPublicKey {
    /// Something else than decimal digits.
    NotADecimal,
    /// A number outside 2..=p-2.
    OutOfRange,
}

impl fmt::Display for InvalidPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotADecimal => "a public key is a decimal number",
            Self::OutOfRange => "a public key is between 2 and 162259276829213363391578010288125",
        })
    }
}

impl std::error::Error for InvalidPublicKey {}

/// The system's random source gave nothing.
#[derive(Debug)]
pub struct RandomnessUnavailable(getrandom::Error);

impl fmt::Display for RandomnessUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the system gave no random bytes for a private key: {}",
            self.0
        )
    }
}

impl std::error::Error for RandomnessUnavailable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// What the two sides share. Never printed; overwritten when dropped.
pub struct SharedSecret(u128);

impl SharedSecret {
    /// The secret as the wire's ciphers use it: ASCII decimal digits.
    pub fn to_decimal(&self) -> SecretDecimal {
        SecretDecimal::new(self.0)
    }
}

impl Drop for SharedSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Digits of 2^107.
const MAX_DIGITS: usize = 33;
/// As many decimal digits as 64 bits hold, and 10 to that power.
const CHUNK_DIGITS: usize = 19;
const CHUNK: u128 = 10_u128.pow(CHUNK_DIGITS as u32);

/// A shared secret in decimal. Never printed; overwritten when dropped.
pub struct SecretDecimal {
    digits: [u8; MAX_DIGITS],
    start: usize,
}

impl SecretDecimal {
    fn new(value: u128) -> Self {
        // Written here because `u128::to_string` leaves copies of the digits behind. One wide division, then
        // 64-bit ones.
        let mut digits = [b'0'; MAX_DIGITS];
        let (high, low) = digits.split_at_mut(MAX_DIGITS - CHUNK_DIGITS);
        write_digits((value / CHUNK) as u64, high);
        write_digits((value % CHUNK) as u64, low);
        let start = digits
            .iter()
            .position(|&digit| digit != b'0')
            .unwrap_or(MAX_DIGITS - 1);
        Self { digits, start }
    }

    /// The ASCII digits, without leading zeros.
    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

fn write_digits(mut value: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

impl Drop for SecretDecimal {
    fn drop(&mut self) {
        self.digits.zeroize();
        self.start.zeroize();
    }
}

impl fmt::Debug for SecretDecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
