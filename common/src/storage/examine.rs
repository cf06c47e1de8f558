//! What can be done at a location: listing, reading, writing, creating what must not exist, uploads in
//! parts, deleting. Each is tried, in an own folder below the location that is removed again.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path as FilePath;
use std::sync::Arc;

use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};

use crate::naming::Uri;
#[cfg(feature = "cloud")]
use crate::storage::stores::S3RequestError;
use crate::storage::stores::{StoreAt, StoreError, Stores};

/// The most keys that are looked at.
const MAX_KEYS: usize = 1000;

/// What is written.
const CONTENT: &str = "written by gristmill doctor, which removes it again\n";

/// Something that jobs do at a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// See what is there: needed for inputs.
    List,
    /// Read it: needed for inputs.
    Read,
    /// Write an object: needed for outputs.
    Write,
    /// Create an object unless it exists, which is how an output is claimed and finished.
    CreateOnce,
    /// Upload in parts that appear only when that is decided: needed for outputs.
    Multipart,
    /// Find uploads that were begun and not finished, to end them.
    FindUploads,
    /// Delete: needed to undo, and for outputs that replace others.
    Delete,
}

impl Ability {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Ability::List => "list",
            Ability::Read => "read",
            Ability::Write => "write",
            Ability::CreateOnce => "create-once",
            Ability::Multipart => "multipart",
            Ability::FindUploads => "find-uploads",
            Ability::Delete => "delete",
        }
    }
}

/// How a trial went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It works; what was seen.
    Works(String),
    /// It does not; why.
    Fails(String),
    /// It was not tried; why.
    NotTried(String),
}

/// What was found out about a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// Where credentials come from, in words.
    pub credentials: String,
    /// The URL that requests go to, where it is not the provider's own.
    pub endpoint: Option<String>,
    /// The region, where the store has such.
    pub region: Option<String>,
    /// The trials, in the order in which they were made.
    pub trials: Vec<(Ability, Outcome)>,
}

impl Examination {
    /// What does not work.
    pub fn missing(&self) -> impl Iterator<Item = (Ability, &str)> {
        self.trials.iter().filter_map(|(ability, outcome)| match outcome {
            Outcome::Fails(why) => Some((*ability, why.as_str())),
            Outcome::Works(_) | Outcome::NotTried(_) => None,
        })
    }
}

/// Tries everything at a location; `token` makes the name of what is written there one that nobody else
/// has. Writes nothing if `read_only`.
///
/// # Errors
///
/// If the store of the location cannot be reached at all.
pub fn examine(uri: &Uri, stores: &Stores, read_only: bool, token: u64) -> Result<Examination, StoreError> {
    let name = format!("_gristmill-doctor-{token:016x}");
    if let Some(folder) = uri.local_path() {
        let trials = examine_folder(&folder, read_only, &name);
        return Ok(Examination { credentials: "none are needed".to_owned(), endpoint: None, region: None, trials });
    }
    let at = stores.prepare(uri)?;
    let (credentials, endpoint, region) =
        (at.access.credentials.clone(), at.access.endpoint.clone(), at.access.region.clone());
    let runtime = Arc::clone(&at.runtime);
    let plain_http = matches!(uri.scheme(), "http" | "https");
    let trials = runtime.wait(async move {
        let mut bench = Bench { folder: at.path.clone().join(name.as_str()), at, trials: Vec::new(), read: None };
        if plain_http {
            bench.read_url().await;
        } else {
            bench.list().await;
            bench.read().await;
            bench.write_all(read_only).await;
        }
        bench.trials
    });
    Ok(Examination { credentials, endpoint, region, trials })
}

/// The trials at a store.
struct Bench {
    at: StoreAt,
    /// Where it writes.
    folder: Path,
    trials: Vec<(Ability, Outcome)>,
    /// An object to read.
    read: Option<Path>,
}

impl Bench {
    fn note(&mut self, ability: Ability, outcome: Result<String, Error>) {
        let outcome = outcome.map_or_else(|error| Outcome::Fails(in_words(&error)), Outcome::Works);
        self.trials.push((ability, outcome));
    }

    fn skip(&mut self, abilities: &[Ability], why: &str) {
        self.trials.extend(abilities.iter().map(|ability| (*ability, Outcome::NotTried(why.to_owned()))));
    }

    async fn read_url(&mut self) {
        let why = "web servers are only read from";
        self.skip(&[Ability::List], "web servers have no listings");
        let got = self.at.store.get_opts(&self.at.path, first_byte()).await;
        let outcome = match got {
            Ok(result) => Ok(format!("{} bytes, in ranges", result.meta.size)),
            Err(Error::NotSupported { .. }) => {
                let all = self.at.store.get(&self.at.path).await;
                all.map(|result| format!("{} bytes, in one stream: the server has no ranges", result.meta.size))
            }
            Err(error) => Err(error),
        };
        self.note(Ability::Read, outcome);
        self.skip(&[Ability::Write, Ability::CreateOnce, Ability::Multipart, Ability::Delete], why);
    }

    async fn list(&mut self) {
        let mut keys = self.at.store.list(Some(&self.at.path));
        let mut seen = 0;
        let listed = loop {
            match keys.try_next().await {
                Ok(Some(meta)) => {
                    seen += 1;
                    if meta.size > 0 && self.read.is_none() {
                        self.read = Some(meta.location);
                    }
                    if seen == MAX_KEYS {
                        break Ok(format!("{seen} objects or more"));
                    }
                }
                Ok(None) if seen == 0 => break Ok("no objects".to_owned()),
                Ok(None) => break Ok(format!("{seen} objects")),
                Err(error) => break Err(error),
            }
        };
        drop(keys);
        // A bucket answers for itself too, with something that is no object.
        let may_be_object = seen == 0 && !self.at.path.as_ref().is_empty();
        if may_be_object && self.at.store.head(&self.at.path).await.is_ok() {
            self.read = Some(self.at.path.clone());
        }
        self.note(Ability::List, listed);
    }

    async fn read(&mut self) {
        let Some(path) = &self.read else {
            return self.skip(&[Ability::Read], "there is no object to read");
        };
        let outcome = self.at.store.get_opts(path, first_byte()).await;
        let outcome =
            outcome.map(|result| format!("{} ({} bytes)", self.at.base.join(path.as_ref()), result.meta.size));
        self.note(Ability::Read, outcome);
    }

    async fn write_all(&mut self, read_only: bool) {
        let writes = [Ability::Write, Ability::CreateOnce, Ability::Multipart, Ability::FindUploads, Ability::Delete];
        if read_only {
            return self.skip(&writes, "nothing is to be written");
        }
        let plain = self.folder.clone().join("plain");
        let written = self.at.store.put(&plain, PutPayload::from_static(CONTENT.as_bytes())).await;
        let worked = written.is_ok();
        self.note(Ability::Write, written.map(|_| format!("below {}", self.at.base.join(self.folder.as_ref()))));
        if !worked {
            return self.skip(&writes[1..], "nothing can be written");
        }
        let once = self.folder.clone().join("once");
        let created = self.create_twice(&once).await;
        self.note(Ability::CreateOnce, created);
        let parts = self.folder.clone().join("parts");
        self.multipart(&parts).await;
        for (number, path) in [&plain, &once, &parts].into_iter().enumerate() {
            let deleted = match self.at.store.delete(path).await {
                Err(Error::NotFound { .. }) => Ok(()),
                deleted => deleted,
            };
            if number == 0 || deleted.is_err() {
                self.note(Ability::Delete, deleted.map(|()| "what was written is gone".to_owned()));
            }
        }
    }

    /// Two creations of one object at the same time, of which one may succeed.
    async fn create_twice(&self, path: &Path) -> Result<String, Error> {
        let create = || {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            self.at.store.put_opts(path, PutPayload::from_static(CONTENT.as_bytes()), options)
        };
        let (one, other) = futures::future::join(create(), create()).await;
        match (one, other) {
            (Ok(_), Err(Error::AlreadyExists { .. } | Error::Precondition { .. }))
            | (Err(Error::AlreadyExists { .. } | Error::Precondition { .. }), Ok(_)) => {
                Ok("of two creations one succeeded".to_owned())
            }
            (Ok(_), Ok(_)) => Err(wrong("two creations of one object both succeeded".to_owned())),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    async fn multipart(&mut self, path: &Path) {
        let Some(uploads) = self.at.multipart.clone() else {
            return self.skip(&[Ability::Multipart, Ability::FindUploads], "this store has no uploads in parts");
        };
        let id = match uploads.create_multipart(path).await {
            Ok(id) => id,
            Err(error) => return self.note(Ability::Multipart, Err(error)),
        };
        let part = uploads.put_part(path, &id, 0, PutPayload::from_static(CONTENT.as_bytes())).await;
        let found = self.find_upload(path).await;
        let early = self.at.store.head(path).await.is_ok();
        let outcome = match part {
            Ok(_) if early => Err(wrong("an upload is visible before it is completed".to_owned())),
            Ok(part) => uploads.complete_multipart(path, &id, vec![part]).await.map(|_| ()),
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            // What is wrong is told already.
            let _ = uploads.abort_multipart(path, &id).await;
        }
        self.note(Ability::Multipart, outcome.map(|()| "invisible until it was completed".to_owned()));
        self.trials.push((Ability::FindUploads, found));
    }

    #[cfg(feature = "cloud")]
    async fn find_upload(&self, path: &Path) -> Outcome {
        let Some(s3) = &self.at.access.s3 else {
            return Outcome::NotTried("only S3 lists uploads".to_owned());
        };
        let encoded: String = url::form_urlencoded::byte_serialize(path.as_ref().as_bytes()).collect();
        match s3.ask_bucket(&format!("prefix={}&uploads=", encoded.replace('+', "%20"))).await {
            Ok(answer) if answer.contains("<UploadId>") => Outcome::Works("the unfinished one was listed".to_owned()),
            Ok(_) => Outcome::Fails("an unfinished upload was not listed".to_owned()),
            Err(S3RequestError::Refused { status: 501, .. }) => Outcome::NotTried(
                "the store does not list uploads: those of killed jobs stay until it drops them".to_owned(),
            ),
            Err(error) => Outcome::Fails(error.to_string()),
        }
    }

    #[cfg(not(feature = "cloud"))]
    async fn find_upload(&self, _path: &Path) -> Outcome {
        Outcome::NotTried("only S3 lists uploads".to_owned())
    }
}

fn first_byte() -> GetOptions {
    GetOptions { range: Some(GetRange::Bounded(0..1)), ..GetOptions::default() }
}

fn wrong(what: String) -> Error {
    Error::Generic { store: "store", source: what.into() }
}

/// A store's refusal, without the parts that every one has.
fn in_words(error: &Error) -> String {
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => "permission denied".to_owned(),
        Error::NotFound { .. } => "there is no such bucket or object".to_owned(),
        Error::NotImplemented { .. } | Error::NotSupported { .. } => "the store does not offer it".to_owned(),
        Error::Generic { store: "store", source } => source.to_string(),
        error => error.to_string(),
    }
}

/// The trials in a folder of the local file system.
fn examine_folder(folder: &FilePath, read_only: bool, name: &str) -> Vec<(Ability, Outcome)> {
    let said = |outcome: io::Result<String>| match outcome {
        Ok(text) => Outcome::Works(text),
        Err(error) => Outcome::Fails(error.to_string()),
    };
    let is_file = folder.is_file();
    let listed = if is_file { Ok("a file".to_owned()) } else { count(folder) };
    let mut trials = vec![(Ability::List, said(listed))];
    let file = if is_file { Some(folder.to_owned()) } else { first_file(folder) };
    trials.push(match file {
        Some(file) => (Ability::Read, said(fs::File::open(&file).map(|_| file.display().to_string()))),
        None => (Ability::Read, Outcome::NotTried("there is no file to read".to_owned())),
    });
    let writes = [Ability::Write, Ability::CreateOnce, Ability::Delete];
    if read_only || is_file {
        let why = if is_file { "it is a file" } else { "nothing is to be written" };
        trials.extend(writes.map(|ability| (ability, Outcome::NotTried(why.to_owned()))));
        return trials;
    }
    let path = folder.join(name);
    let create = || fs::OpenOptions::new().write(true).create_new(true).open(&path);
    trials.push((
        Ability::Write,
        said(create().and_then(|mut file| file.write_all(CONTENT.as_bytes())).map(|()| path.display().to_string())),
    ));
    trials.push((
        Ability::CreateOnce,
        match create() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Outcome::Works("a second creation was refused".to_owned())
            }
            Ok(_) => Outcome::Fails("two creations of one file both succeeded".to_owned()),
            Err(error) => Outcome::Fails(error.to_string()),
        },
    ));
    trials.push((Ability::Delete, said(fs::remove_file(&path).map(|()| "what was written is gone".to_owned()))));
    trials
}

fn count(folder: &FilePath) -> io::Result<String> {
    let entries = fs::read_dir(folder)?.take(MAX_KEYS).collect::<io::Result<Vec<_>>>()?.len();
    Ok(if entries == MAX_KEYS { format!("{entries} entries or more") } else { format!("{entries} entries") })
}

fn first_file(folder: &FilePath) -> Option<std::path::PathBuf> {
    let entries = fs::read_dir(folder).ok()?.take(MAX_KEYS).filter_map(Result::ok);
    entries.map(|entry| entry.path()).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStore as _;
    use object_store::memory::InMemory;

    use super::*;

    #[test]
    fn everything_works_in_memory_and_in_a_folder_and_leaves_nothing() {
        let stores = Stores::without_environment();
        let memory = Arc::new(InMemory::new());
        let base: Uri = "s3://bucket".parse().expect("a URI");
        stores.give(base.clone(), memory.clone(), Some(memory.clone()));
        let dir = tempfile::tempdir().expect("scratch");
        for uri in [base.join("some folder"), Uri::from_path(dir.path())] {
            let seen = examine(&uri, &stores, false, 7).expect("reachable");
            assert_eq!(seen.missing().collect::<Vec<_>>(), [], "{seen:?}");
            let works = |ability| {
                seen.trials.iter().any(|(tried, outcome)| *tried == ability && matches!(outcome, Outcome::Works(_)))
            };
            for ability in [Ability::List, Ability::Write, Ability::CreateOnce, Ability::Delete] {
                assert!(works(ability), "{ability:?} of {uri}: {seen:?}");
            }
        }
        let left = stores.at(&base).expect("given").runtime.wait({
            let memory = memory.clone();
            async move { memory.list_with_delimiter(None).await }
        });
        assert!(left.is_ok_and(|left| left.objects.is_empty() && left.common_prefixes.is_empty()));
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);

        let seen = examine(&base, &stores, true, 7).expect("reachable");
        assert!(seen.trials.iter().all(|(_, outcome)| !matches!(outcome, Outcome::Fails(_))), "{seen:?}");
        let missing = Uri::from_path(&dir.path().join("none"));
        let seen = examine(&missing, &stores, false, 7).expect("reachable");
        assert!(seen.missing().count() >= 2, "{seen:?}");
    }
}
