//! guestwire's strong key exchange, `x25519-v1` of docs/protocol.md: X25519, HKDF-SHA-256 and ChaCha20-Poly1305.
//!
//! One private key makes one message key, and one message key serves one message: each step consumes what it was
//! called on, so the fixed nonce cannot be used twice. The host seals and the agent opens; neither can do the other.
//!
//! ```
//! use sealed::PrivateKey;
//!
//! let (host, agent) = (PrivateKey::generate()?, PrivateKey::generate()?);
//! let (host_public, agent_public) = (host.public_key(), agent.public_key());
//! let message = host.agree_as_host(&agent_public)?.seal(b"hello");
//! let opened = agent.agree_as_agent(&host_public)?.open(&message)?;
//! assert_eq!(opened.as_slice(), b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

use std::fmt;

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, Tag};
use hkdf::Hkdf;
use sha2::Sha256;
use x25519_dalek::StaticSecret;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a public or private key.
pub const KEY_LENGTH: usize = 32;
/// Bytes that a message is longer than its text.
pub const TAG_LENGTH: usize = 16;

/// Stands at the start of HKDF's info, before both public keys: another version makes other keys.
const LABEL: &[u8] = b"guestwire password x25519-v1";
const CIPHER_KEY_LENGTH: usize = 32;
const NONCE_LENGTH: usize = 12;
const MATERIAL_LENGTH: usize = CIPHER_KEY_LENGTH + NONCE_LENGTH;

/// A private key. Never printed; overwritten when dropped.
pub struct PrivateKey(StaticSecret);

impl PrivateKey {
    /// A key from the system's random source.
    ///
    /// # Errors
    ///
    /// When the system has no randomness to give, as in a chroot without `getrandom(2)` and `/dev/urandom`.
    pub fn generate() -> Result<Self, RandomnessUnavailable> {
        let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
        getrandom::fill(bytes.as_mut_slice()).map_err(RandomnessUnavailable)?;
        Ok(Self(StaticSecret::from(*bytes)))
    }

    /// The key with these bytes: for known-answer tests.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_LENGTH]) -> Self {
        Self(StaticSecret::from(bytes))
    }

    /// What the peer is told.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(x25519_dalek::PublicKey::from(&self.0).to_bytes())
    }

    /// The key that the host seals its one message with.
    ///
    /// # Errors
    ///
    /// When the agent's key is a point of low order.
    pub fn agree_as_host(self, agent: &PublicKey) -> Result<Sealer, LowOrder> {
        let host = self.public_key();
        Ok(Sealer(self.material(agent, &host, agent)?))
    }

    /// The key that the agent opens the host's one message with.
    ///
    /// # Errors
    ///
    /// When the host's key is a point of low order.
    pub fn agree_as_agent(self, host: &PublicKey) -> Result<Opener, LowOrder> {
        let agent = self.public_key();
        Ok(Opener(self.material(host, host, &agent)?))
    }

    fn material(
        self,
        peer: &PublicKey,
        host: &PublicKey,
        agent: &PublicKey,
    ) -> Result<Material, LowOrder> {
        let shared = self
            .0
            .diffie_hellman(&x25519_dalek::PublicKey::from(peer.0));
        // A point of low order makes a secret of zeros, whatever the private key.
        if !shared.was_contributory() {
            return Err(LowOrder);
        }
        let mut material = Material([0; MATERIAL_LENGTH]);
        Hkdf::<Sha256>::new(None, shared.as_bytes())
            .expand_multi_info(&[LABEL, &host.0, &agent.0], &mut material.0)
            .expect("44 bytes are fewer than HKDF's limit of 255 digests");
        Ok(material)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A public key, in the bytes of RFC 7748.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; KEY_LENGTH]);

impl PublicKey {
    /// The bytes for the peer.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_LENGTH] {
        &self.0
    }
}

impl From<[u8; KEY_LENGTH]> for PublicKey {
    fn from(bytes: [u8; KEY_LENGTH]) -> Self {
        Self(bytes)
    }
}

/// Key and nonce of one message. Overwritten when dropped.
struct Material([u8; MATERIAL_LENGTH]);

impl Material {
    fn cipher(&self) -> (ChaCha20Poly1305, chacha20poly1305::Nonce) {
        let (key, nonce) = self.0.split_at(CIPHER_KEY_LENGTH);
        (
            ChaCha20Poly1305::new_from_slice(key).expect("the key has 32 bytes"),
            nonce.try_into().expect("the nonce has 12 bytes"),
        )
    }
}

impl Drop for Material {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Seals one message. Never printed; overwritten when dropped.
pub struct Sealer(Material);

impl Sealer {
    /// The message: `text` encrypted, and the tag behind it.
    #[must_use]
    pub fn seal(self, text: &[u8]) -> Vec<u8> {
        let (cipher, nonce) = self.0.cipher();
        // In place, so that no copy of the text stays behind.
        let mut message = vec![0; text.len() + TAG_LENGTH];
        let (body, place) = message.split_at_mut(text.len());
        body.copy_from_slice(text);
        let tag = cipher
            .encrypt_inout_detached(&nonce, &[], body.into())
            .expect("a text in memory is shorter than ChaCha20's limit of 256 GiB");
        place.copy_from_slice(&tag);
        message
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Opens one message. Never printed; overwritten when dropped.
pub struct Opener(Material);

impl Opener {
    /// The text of `message`.
    ///
    /// # Errors
    ///
    /// When the message was not sealed with this key, or was changed since.
    pub fn open(self, message: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        let length = message.len().checked_sub(TAG_LENGTH).ok_or(Unreadable)?;
        let (body, tag) = message.split_at(length);
        let tag: Tag = tag.try_into().map_err(|_| Unreadable)?;
        let (cipher, nonce) = self.0.cipher();
        let mut text = Zeroizing::new(body.to_vec());
        cipher
            .decrypt_inout_detached(&nonce, &[], text.as_mut_slice().into(), &tag)
            .map_err(|_| Unreadable)?;
        Ok(text)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The peer's public key is a point of low order: anyone would know the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LowOrder;

impl fmt::Display for LowOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the public key is a point of low order, which makes no secret")
    }
}

impl std::error::Error for LowOrder {}

/// The message is not of this key exchange, or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message was sealed with another key, or was changed")
    }
}

impl std::error::Error for Unreadable {}

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
