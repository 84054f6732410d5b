//! The key exchange. The private key stays on this side.

use dh::{InvalidPublicKey, PrivateKey, PublicKey};
use napi::bindgen_prelude::Buffer;
use napi::{Error, Result};
use napi_derive::napi;

use crate::error::{CodedError, ErrorCode};

/// One run of the key exchange with a fresh private key.
#[napi]
pub struct KeyExchange {
    private: PrivateKey,
    public: PublicKey,
}

#[napi]
impl KeyExchange {
    /// A private key from the system's random source, and its public one.
    #[napi(factory, catch_unwind)]
    pub fn create() -> Result<Self> {
        let private =
            PrivateKey::generate().map_err(|error| Error::from_reason(error.to_string()))?;
        let public = private.public_key();
        Ok(Self { private, public })
    }

    /// What the peer is to be told: decimal text.
    #[napi(getter, catch_unwind)]
    pub fn public_key(&self) -> String {
        self.public.to_string()
    }

    /// What both sides now share: decimal text, in bytes so that it can be wiped.
    #[napi(catch_unwind)]
    pub fn shared_secret(&self, peer_public_key: String) -> Result<Buffer, ErrorCode> {
        let peer: PublicKey = peer_public_key
            .parse()
            .map_err(|error| CodedError::new(code(error), error.to_string()))?;
        Ok(self
            .private
            .shared_secret(&peer)
            .to_decimal()
            .as_bytes()
            .into())
    }
}

fn code(error: InvalidPublicKey) -> ErrorCode {
    match error {
        InvalidPublicKey::NotADecimal => ErrorCode::NotADecimal,
        InvalidPublicKey::OutOfRange => ErrorCode::OutOfRange,
    }
}
