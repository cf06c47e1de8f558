//! The text that lets a new worker in, once: which authority its master must have, and a secret that only
//! that master has given out. Knows not whether it was used: the master does.
//!
//! ```text
//! gmj1.  base64url of  SHA-256 of the authority's certificate (32 bytes), number (8 bytes), secret (24 bytes)
//! ```

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::{constant_time, digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::facts::hex;

/// What such a text begins with: the kind and version.
const PREFIX: &str = "gmj1.";

const PIN_BYTES: usize = 32;
const NUMBER_BYTES: usize = 8;
const SECRET_BYTES: usize = 24;

/// Lets a worker in, once. Its `Debug` form has no secret; [`JoinToken::to_text`] has.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    pin: [u8; PIN_BYTES],
    number: [u8; NUMBER_BYTES],
    secret: [u8; SECRET_BYTES],
}

/// A text that is no such token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is no token to join with: one begins with {PREFIX} and is given in whole")]
pub struct JoinTokenError;

impl JoinToken {
    /// A new one, for workers of the authority whose certificate has this SHA-256.
    ///
    /// # Errors
    ///
    /// If the machine gives no random bytes.
    pub fn new(pin: [u8; PIN_BYTES]) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let (mut number, mut secret) = ([0; NUMBER_BYTES], [0; SECRET_BYTES]);
        rand::fill(&mut number)?;
        rand::fill(&mut secret)?;
        Ok(Self { pin, number, secret })
    }

    /// The SHA-256 of the authority's certificate.
    pub fn pin(&self) -> &[u8; PIN_BYTES] {
        &self.pin
    }

    /// Which token it is: no secret.
    pub fn number(&self) -> String {
        hex(&self.number)
    }

    /// What a master keeps of the secret: its SHA-256 in hexadecimal, from which nobody gets it back.
    pub fn secret_hash(&self) -> String {
        hex(digest::digest(&digest::SHA256, &self.secret).as_ref())
    }

    /// Whether a master that kept `hash` has given this token out. Takes the same time for every wrong one.
    pub fn has_secret(&self, hash: &str) -> bool {
        constant_time::verify_slices_are_equal(self.secret_hash().as_bytes(), hash.as_bytes()).is_ok()
    }

    /// The whole token.
    pub fn to_text(&self) -> String {
        let bytes = [self.pin.as_slice(), &self.number, &self.secret].concat();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({})", self.number())
    }
}

impl FromStr for JoinToken {
    type Err = JoinTokenError;

    fn from_str(text: &str) -> Result<Self, JoinTokenError> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(JoinTokenError)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| JoinTokenError)?;
        let (pin, rest) = bytes.split_first_chunk().ok_or(JoinTokenError)?;
        let (number, rest) = rest.split_first_chunk().ok_or(JoinTokenError)?;
        let secret = rest.try_into().map_err(|_| JoinTokenError)?;
        Ok(Self { pin: *pin, number: *number, secret })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_back_and_nothing_else_is_one() {
        let token = JoinToken::new([7; 32]).expect("random bytes");
        let text = token.to_text();
        assert_eq!(text.parse(), Ok(token.clone()));
        assert_eq!(format!(" {text}\n").parse(), Ok(token.clone()));
        assert!(token.has_secret(&token.secret_hash()));
        let other = JoinToken::new([7; 32]).expect("random bytes");
        assert!(!token.has_secret(&other.secret_hash()) && token.number() != other.number());
        for wrong in ["", "gmj1.", &text[1..], &text[..text.len() - 1], &format!("{text}AA"), "gmj2.AAAA"] {
            assert_eq!(wrong.parse::<JoinToken>(), Err(JoinTokenError), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_shown_of_a_token_has_no_secret() {
        let token = JoinToken::new([7; 32]).expect("random bytes");
        let text = token.to_text();
        let secret = &text[text.len() - 32..];
        assert!(!format!("{token:?}").contains(secret));
        assert!(!token.secret_hash().contains(secret));
    }
}
