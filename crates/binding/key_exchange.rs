//! The key exchange. The private key stays on this side, for as long as the exchange takes.

use dh::{InvalidPublicKey, PrivateKey, PublicKey};
use napi::bindgen_prelude::Uint8ArraySlice;
use napi::{Error, Result};
use napi_derive::napi;

use crate::error::{CodedError, ErrorCode};

/// One party of key exchanges, one after the other, each with a private key of its own.
#[napi]
#[derive(Default)]
pub struct KeyExchange {
    private: Option<PrivateKey>,
}

#[napi]
impl KeyExchange {
    /// No key yet.
    #[napi(constructor, catch_unwind)]
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Draws a private key from the system's random source, in place of an earlier one, and returns the public key:
    /// decimal text for the peer.
    #[napi(catch_unwind)]
    pub fn begin(&mut self) -> Result<String> {
        let private =
            PrivateKey::generate().map_err(|error| Error::from_reason(error.to_string()))?;
        let public = private.public_key().to_string();
        self.private = Some(private);
        Ok(public)
    }

    /// Writes what both sides now share to the beginning of `secret`, as decimal text, and returns its length: 33
    /// bytes at most. The private key is erased, whatever the peer's key is worth. Throws `DH_NOT_A_DECIMAL` or
    /// `DH_OUT_OF_RANGE`, and `DH_NOT_BEGUN` when there is no private key.
    #[napi(catch_unwind)]
    pub fn finish(
        &mut self,
        peer_public_key: String,
        mut secret: Uint8ArraySlice<'_>,
    ) -> Result<u32, ErrorCode> {
        let private = self.private.take().ok_or_else(|| {
            CodedError::new(ErrorCode::NotBegun, "begin() comes first".to_owned())
        })?;
        let peer: PublicKey = peer_public_key
            .parse()
            .map_err(|error| CodedError::new(code(error), error.to_string()))?;
        let decimal = private.shared_secret(&peer).to_decimal();
        let digits = decimal.as_bytes();
        // SAFETY: JavaScript does not run meanwhile, so nothing else reads or writes the array.
        let place = unsafe { secret.as_mut() };
        let place = place.get_mut(..digits.len()).ok_or_else(|| {
            CodedError::new(ErrorCode::NoRoom, "the secret takes 33 bytes".to_owned())
        })?;
        place.copy_from_slice(digits);
        Ok(digits.len() as u32)
    }
}

fn code(error: InvalidPublicKey) -> ErrorCode {
    match error {
        InvalidPublicKey::NotADecimal => ErrorCode::NotADecimal,
        InvalidPublicKey::OutOfRange => ErrorCode::OutOfRange,
    }
}
