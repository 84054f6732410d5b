//! The strong key exchange. Private key and message key stay on this side; JavaScript sees the text of one message.

use napi::bindgen_prelude::{Buffer, Uint8ArraySlice};
use napi::{Error, Result};
use napi_derive::napi;
use sealed::{KEY_LENGTH, Opener, PrivateKey, PublicKey, Sealer};

use crate::error::{CodedError, ErrorCode};

/// How far a key exchange has come; each step takes what the one before left.
#[derive(Default)]
enum Stage {
    #[default]
    Empty,
    Begun(PrivateKey),
    Host(Sealer),
    Agent(Opener),
}

/// One party of key exchanges, one after the other, each for one message from the host to the agent.
#[napi]
#[derive(Default)]
pub struct SealedExchange {
    stage: Stage,
}

#[napi]
impl SealedExchange {
    /// No key yet.
    #[napi(constructor, catch_unwind)]
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Draws a private key from the system's random source, in place of whatever was held, and returns the public
    /// key: 32 bytes for the peer.
    #[napi(catch_unwind)]
    pub fn begin(&mut self) -> Result<Buffer> {
        let private =
            PrivateKey::generate().map_err(|error| Error::from_reason(error.to_string()))?;
        let public = *private.public_key().as_bytes();
        self.stage = Stage::Begun(private);
        Ok(public.to_vec().into())
    }

    /// Makes the key that `seal` uses, from the agent's public key. The private key is erased, whatever the peer's
    /// key is worth. Throws `DH_BAD_LENGTH`, `DH_LOW_ORDER`, and `DH_NOT_BEGUN` when there is no private key.
    #[napi(catch_unwind)]
    pub fn agree_as_host(
        &mut self,
        agent_public_key: Uint8ArraySlice<'_>,
    ) -> Result<(), ErrorCode> {
        let private = self.private_key()?;
        let sealer = private
            .agree_as_host(&public_key(&agent_public_key)?)
            .map_err(|error| CodedError::new(ErrorCode::LowOrder, error.to_string()))?;
        self.stage = Stage::Host(sealer);
        Ok(())
    }

    /// Makes the key that `open` uses, from the host's public key. Otherwise as `agreeAsHost`.
    #[napi(catch_unwind)]
    pub fn agree_as_agent(
        &mut self,
        host_public_key: Uint8ArraySlice<'_>,
    ) -> Result<(), ErrorCode> {
        let private = self.private_key()?;
        let opener = private
            .agree_as_agent(&public_key(&host_public_key)?)
            .map_err(|error| CodedError::new(ErrorCode::LowOrder, error.to_string()))?;
        self.stage = Stage::Agent(opener);
        Ok(())
    }

    /// The message that holds `text`. The key is erased. Throws `DH_NOT_BEGUN` when there is none.
    #[napi(catch_unwind)]
    pub fn seal(&mut self, text: Uint8ArraySlice<'_>) -> Result<Buffer, ErrorCode> {
        match std::mem::take(&mut self.stage) {
            Stage::Host(sealer) => Ok(sealer.seal(&text).into()),
            _ => Err(not_begun("agreeAsHost() comes first")),
        }
    }

    /// Writes the text of `message` to the beginning of `place`, which is as long as the message, and returns its
    /// length. The key is erased, whatever the message is worth. Throws `SEAL_BROKEN`, `DH_NO_ROOM`, and
    /// `DH_NOT_BEGUN` when there is no key.
    #[napi(catch_unwind)]
    pub fn open(
        &mut self,
        message: Uint8ArraySlice<'_>,
        mut place: Uint8ArraySlice<'_>,
    ) -> Result<u32, ErrorCode> {
        let Stage::Agent(opener) = std::mem::take(&mut self.stage) else {
            return Err(not_begun("agreeAsAgent() comes first"));
        };
        let text = opener
            .open(&message)
            .map_err(|error| CodedError::new(ErrorCode::SealBroken, error.to_string()))?;
        // SAFETY: JavaScript does not run meanwhile, so nothing else reads or writes the array; `message` is not
        // read any more.
        let place = unsafe { place.as_mut() };
        let place = place.get_mut(..text.len()).ok_or_else(|| {
            CodedError::new(ErrorCode::NoRoom, "the text takes more bytes".to_owned())
        })?;
        place.copy_from_slice(&text);
        Ok(text.len() as u32)
    }

    /// Erases whatever key is held. Erasing twice is quiet.
    #[napi(catch_unwind)]
    pub fn erase(&mut self) {
        self.stage = Stage::Empty;
    }
}

impl SealedExchange {
    fn private_key(&mut self) -> Result<PrivateKey, ErrorCode> {
        match std::mem::take(&mut self.stage) {
            Stage::Begun(private) => Ok(private),
            _ => Err(not_begun("begin() comes first")),
        }
    }
}

fn public_key(bytes: &[u8]) -> Result<PublicKey, ErrorCode> {
    let bytes: [u8; KEY_LENGTH] = bytes.try_into().map_err(|_| {
        let reason = format!("a public key has 32 bytes, not {}", bytes.len());
        CodedError::new(ErrorCode::BadLength, reason)
    })?;
    Ok(bytes.into())
}

fn not_begun(reason: &str) -> CodedError {
    CodedError::new(ErrorCode::NotBegun, reason.to_owned())
}
