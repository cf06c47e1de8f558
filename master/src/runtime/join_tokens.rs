//! The tokens to join with that a master has given out, and which of them were used. Kept in one file of the
//! state folder, so that a token is used once whatever becomes of the master; holds no secrets.
//!
//! ```text
//! state/join-tokens.json   {"version": 1, "tokens": [{"number", "secret_hash", "name", "ends", "used"}]}
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gristmill_common::identity::{Identity, Role};
use gristmill_common::time::WallTime;
use gristmill_common::tls::{FolderError, JoinToken, replace_file};
use serde::{Deserialize, Serialize};

/// Tokens that are remembered. Raised, the file that is written with each change is longer.
const MAX_TOKENS: usize = 1000;

/// How long it is remembered that a token is over, so that this can be said to whoever shows it.
const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);

/// The version of the file.
const VERSION: u32 = 1;

/// Why a token lets nobody in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// This master has not given it out.
    #[error("wrong token: this master has not given it out, or long ago")]
    Unknown,
    /// It is over.
    #[error("expired token: it ended at {end}, and it is {now}")]
    Expired {
        /// When it ended.
        end: WallTime,
        /// The time by which that was judged.
        now: WallTime,
    },
    /// Somebody has used it.
    #[error("used token: {name} joined with it at {when}")]
    Used {
        /// Who.
        name: String,
        /// When.
        when: WallTime,
    },
}

/// Why the tokens cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system reports.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} does not hold tokens to join with: {what}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] FolderError),
    /// There are too many.
    #[error("there are {MAX_TOKENS} tokens to join with that nobody has used")]
    TooMany,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Token {
    number: String,
    secret_hash: String,
    /// Of the worker, if it was chosen when the token was made.
    name: Option<String>,
    ends: u64,
    used: Option<Use>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Use {
    worker: Identity,
    /// The SHA-256 of the key that the certificate is for.
    key: String,
    when: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    version: u32,
    tokens: Vec<Token>,
}

/// The tokens of one master.
#[derive(Debug)]
pub struct JoinTokens {
    path: PathBuf,
    tokens: Vec<Token>,
}

impl JoinTokens {
    /// Reads what earlier masters have kept at `path`.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is something else.
    pub fn open(path: &Path) -> Result<Self, TokensError> {
        let tokens = match std::fs::read(path) {
            Ok(bytes) => {
                let damaged = |what: String| TokensError::Damaged { path: path.to_owned(), what };
                let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
                if stored.version != VERSION {
                    return Err(damaged(format!("its version is {}", stored.version)));
                }
                stored.tokens
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => vec![],
            Err(source) => return Err(TokensError::Read { path: path.to_owned(), source }),
        };
        Ok(Self { path: path.to_owned(), tokens })
    }

    /// Takes note of new tokens, each with the name of a worker if that is chosen already. They are on disk
    /// when this returns.
    ///
    /// # Errors
    ///
    /// If there are too many, or they cannot be written; then none of them is one.
    pub fn add(
        &mut self,
        new: &[(JoinToken, Option<String>)],
        ends: WallTime,
        now: WallTime,
    ) -> Result<(), TokensError> {
        let forgotten = WallTime { unix_millis: now.unix_millis.saturating_sub(REMEMBERED.as_millis() as u64) };
        let mut tokens: Vec<Token> =
            self.tokens.iter().filter(|token| token.ends >= forgotten.unix_millis).cloned().collect();
        tokens.extend(new.iter().map(|(token, name)| Token {
            number: token.number(),
            secret_hash: token.secret_hash(),
            name: name.clone(),
            ends: ends.unix_millis,
            used: None,
        }));
        let open = tokens.iter().filter(|token| token.used.is_none() && token.ends > now.unix_millis).count();
        if open > MAX_TOKENS {
            return Err(TokensError::TooMany);
        }
        // Those that are over are forgotten first when there are many.
        let surplus = tokens.len().saturating_sub(MAX_TOKENS);
        let mut left = surplus;
        tokens.retain(|token| {
            let over = token.used.is_some() || token.ends <= now.unix_millis;
            let goes = over && left > 0;
            left -= usize::from(goes);
            !goes
        });
        self.store(tokens)
    }

    /// Uses a token for this key, and tells which worker has it. Asked once more for the same key, for an
    /// answer that was lost, it says the same. That it is used is on disk when this returns.
    ///
    /// # Errors
    ///
    /// The outer one if that cannot be written, and then it is not used; the inner one if it lets nobody in.
    pub fn redeem(
        &mut self,
        token: &JoinToken,
        key: &str,
        machine: &str,
        now: WallTime,
    ) -> Result<Result<Identity, TokenRefusal>, TokensError> {
        let (number, end) = (token.number(), |ends| WallTime { unix_millis: ends });
        let mut tokens = self.tokens.clone();
        // Whoever knows the number of another one's token is told nothing about it.
        let found = tokens.iter_mut().find(|known| known.number == number && token.has_secret(&known.secret_hash));
        let Some(found) = found else { return Ok(Err(TokenRefusal::Unknown)) };
        match &found.used {
            Some(used) if used.key == key && found.ends > now.unix_millis => return Ok(Ok(used.worker.clone())),
            Some(used) => {
                let (name, when) = (used.worker.to_string(), end(used.when));
                return Ok(Err(TokenRefusal::Used { name, when }));
            }
            None if found.ends <= now.unix_millis => {
                return Ok(Err(TokenRefusal::Expired { end: end(found.ends), now }));
            }
            None => {}
        }
        let name = found.name.clone().unwrap_or_else(|| chosen_name(machine, &number));
        let worker = Identity::new(Role::Worker, &name).expect("names were checked or made when they were chosen");
        found.used = Some(Use { worker: worker.clone(), key: key.to_owned(), when: now.unix_millis });
        self.store(tokens)?;
        Ok(Ok(worker))
    }

    fn store(&mut self, tokens: Vec<Token>) -> Result<(), TokensError> {
        let stored = Stored { version: VERSION, tokens };
        let text = serde_json::to_string(&stored).expect("tokens are plain data");
        replace_file(&self.path, &text)?;
        self.tokens = stored.tokens;
        Ok(())
    }
}

/// A name for a worker of a machine that no other has: that of the machine, and the number of its token.
fn chosen_name(machine: &str, number: &str) -> String {
    let allowed = |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '-' };
    let machine: String = machine.chars().take(64).map(allowed).collect::<String>().to_ascii_lowercase();
    let machine = machine.trim_matches('-');
    format!("{}-{}", if machine.is_empty() { "worker" } else { machine }, &number[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> WallTime {
        WallTime { unix_millis: seconds * 1000 }
    }

    fn token() -> JoinToken {
        JoinToken::new([1; 32]).expect("random bytes")
    }

    fn open(dir: &Path) -> JoinTokens {
        JoinTokens::open(&dir.join("join-tokens.json")).expect("readable")
    }

    #[test]
    fn a_token_lets_one_key_in_once_whatever_becomes_of_the_master() {
        let dir = tempfile::tempdir().expect("scratch");
        let (named, unnamed, other) = (token(), token(), token());
        let list = [(named.clone(), Some("w1".to_owned())), (unnamed.clone(), None)];
        open(dir.path()).add(&list, at(100), at(0)).expect("written");
        let check = |token: &JoinToken, key: &str, now: u64, expect: &str| {
            let told = open(dir.path()).redeem(token, key, "Node_1.example", at(now)).expect("kept");
            let told = told.map_or_else(|refusal| refusal.to_string(), |worker| worker.to_string());
            assert!(told.starts_with(expect), "{told}");
        };
        check(&other, "k", 1, "wrong token");
        check(&named, "k1", 100, "expired token");
        check(&named, "k1", 99, "worker/w1");
        check(&named, "k1", 99, "worker/w1");
        check(&named, "k2", 99, "used token: worker/w1 joined with it at 1970-01-01T00:01:39Z");
        check(&named, "k1", 101, "used token");
        check(&unnamed, "k1", 50, &format!("worker/node_1.example-{}", &unnamed.number()[..8]));
    }

    #[test]
    fn the_number_of_a_token_is_not_enough() {
        let dir = tempfile::tempdir().expect("scratch");
        let token = token();
        open(dir.path()).add(&[(token.clone(), None)], at(100), at(0)).expect("written");
        let path = dir.path().join("join-tokens.json");
        let text = std::fs::read_to_string(&path).expect("readable");
        let tampered = text.replace(&token.secret_hash(), &"0".repeat(64));
        std::fs::write(&path, tampered).expect("written");
        assert_eq!(open(dir.path()).redeem(&token, "k", "m", at(1)).expect("kept"), Err(TokenRefusal::Unknown));
        assert!(!text.contains(&token.to_text()[60..]), "{text}");
    }

    #[test]
    fn there_are_only_so_many_and_those_that_are_over_go_first() {
        let dir = tempfile::tempdir().expect("scratch");
        let mut tokens = open(dir.path());
        let many = |count| (0..count).map(|_| (token(), None)).collect::<Vec<_>>();
        let first = many(MAX_TOKENS);
        tokens.add(&first, at(100), at(0)).expect("written");
        assert!(matches!(tokens.add(&many(1), at(100), at(1)), Err(TokensError::TooMany)));
        tokens.add(&many(2), at(200), at(150)).expect("the first are over");
        assert_eq!(tokens.tokens.len(), MAX_TOKENS);
        let old = tokens.redeem(&first[MAX_TOKENS - 1].0, "k", "m", at(150)).expect("kept");
        assert!(matches!(old, Err(TokenRefusal::Expired { .. })), "{old:?}");
        tokens.add(&[], at(0), at(200 + REMEMBERED.as_secs() + 1)).expect("written");
        assert!(tokens.tokens.is_empty());
    }

    #[test]
    fn a_damaged_file_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("join-tokens.json");
        for text in ["", "{}", "{\"version\": 2, \"tokens\": []}"] {
            std::fs::write(&path, text).expect("written");
            let error = JoinTokens::open(&path).expect_err(text).to_string();
            assert!(error.contains("does not hold tokens to join with"), "{error}");
        }
    }
}
