//! The place of a job's output in an object store, and what is asked of it there: small objects written
//! on conditions, and uploads that somebody else completes. Decides nothing about whose they are; what
//! an answer means that was lost is for the caller to find out.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt as _};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, UpdateVersion};
use xxhash_rust::xxh3::xxh3_64;

use super::repeated_list::{Resume, list_repeatedly};
use super::stores::{StoreAt, StoreRuntime};
use crate::backoff::Backoff;
use crate::naming::Uri;
use crate::output_name::is_object_of_output;
use crate::task::{OpenUpload, SentUpload};

/// How often a request is made that may be repeated, beyond what the store's client repeats by itself.
/// More outlasts longer troubles, and delays the news of those that last.
pub const TRIES: u32 = 5;

/// How often it is tried to abort an upload only to see whether that may be done. The answer to one may be
/// lost; each that is refused stays behind, without a piece.
const PROOFS: u32 = 2;

/// How long is waited between tries.
pub(super) const WAITS: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(5) };

/// Lists the uploads of a bucket that were begun and neither completed nor aborted, which
/// [`ObjectStore`] cannot.
pub trait UnfinishedUploads: fmt::Debug + Send + Sync {
    /// The key and the id of each whose key begins with `prefix` and a slash.
    fn list<'a>(&'a self, prefix: &'a Path) -> BoxFuture<'a, object_store::Result<Vec<(Path, String)>>>;
}

/// What a store did not do.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {object}")]
pub struct ObjectError {
    /// What was asked for.
    pub action: &'static str,
    /// Of what.
    pub object: Uri,
    /// What it or its client said.
    #[source]
    pub source: Box<Error>,
}

/// The place of a job's output in a store. Paths are relative to it; clones share the client.
#[derive(Clone)]
pub struct OutputStore {
    uri: Uri,
    prefix: Path,
    bucket: Uri,
    objects: Arc<dyn ObjectStore>,
    uploads: Arc<dyn MultipartStore>,
    unfinished: Option<Arc<dyn UnfinishedUploads>>,
    runtime: Arc<StoreRuntime>,
    waits: Backoff,
}

impl OutputStore {
    /// The place at a location of a store; `None` if the store has no uploads by id.
    pub fn new(at: StoreAt, uri: Uri) -> Option<Self> {
        let uploads = at.multipart?;
        #[cfg(feature = "cloud")]
        let unfinished = super::unfinished_s3::BucketUploads::of(&at.access);
        #[cfg(not(feature = "cloud"))]
        let unfinished = None;
        let (objects, runtime) = (at.store, at.runtime);
        Some(Self { uri, prefix: at.path, bucket: at.base, objects, uploads, unfinished, runtime, waits: WAITS })
    }

    /// The same place with another way to list unfinished uploads, and other waits between tries.
    #[must_use]
    pub fn with_terms(self, unfinished: Option<Arc<dyn UnfinishedUploads>>, waits: Backoff) -> Self {
        Self { unfinished, waits, ..self }
    }

    /// The output.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The location of an object of the output.
    pub fn uri_of(&self, path: &str) -> Uri {
        self.uri.join(path)
    }

    /// The key of the output itself; empty if it is a bucket.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The location of a key of the bucket.
    pub fn uri_of_key(&self, key: &Path) -> Uri {
        self.bucket.join(key.as_ref())
    }

    /// Does something on the threads of store requests, and waits for it here.
    pub fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        self.runtime.wait(work)
    }

    /// The key of an object of the output.
    ///
    /// # Errors
    ///
    /// If no key can be like that.
    pub fn key(&self, path: &str) -> Result<Path, Error> {
        Ok(Path::parse(format!("{}/{path}", self.prefix))?)
    }

    /// Puts an object that must not be there. Whether an error means that it was not put has to be found
    /// out by reading it.
    ///
    /// # Errors
    ///
    /// If it is there, or the answer was lost, or the store refuses.
    pub async fn create(&self, path: &str, content: Bytes) -> Result<(), Error> {
        let key = self.key(path)?;
        self.objects.put_opts(&key, content.into(), PutMode::Create.into()).await.map(|_| ())
    }

    /// Puts an object in place of the one that has this version; errors as of [`create`](Self::create).
    ///
    /// # Errors
    ///
    /// If it has another version, or the answer was lost, or the store refuses.
    pub async fn replace(&self, path: &str, content: Bytes, version: UpdateVersion) -> Result<(), Error> {
        let key = self.key(path)?;
        self.objects.put_opts(&key, content.into(), PutMode::Update(version).into()).await.map(|_| ())
    }

    /// Reads an object of at most `limit` bytes, if it is there.
    ///
    /// # Errors
    ///
    /// If the store does not give it, or it is larger.
    pub async fn read(&self, path: &str, limit: u64) -> Result<Option<(Bytes, UpdateVersion)>, ObjectError> {
        let key = self.key(path).map_err(self.failed("read", path))?;
        self.read_key(&key, limit).await.map_err(self.failed("read", path))
    }

    /// [`read`](Self::read) by key.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn read_key(&self, key: &Path, limit: u64) -> Result<Option<(Bytes, UpdateVersion)>, Error> {
        let read = self.repeat(key, || async {
            let found = self.objects.get_opts(key, GetOptions::default()).await?;
            let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
            if found.meta.size > limit {
                let source = format!("it has {} bytes, more than {limit}", found.meta.size).into();
                return Err(Error::NotSupported { source });
            }
            Ok((found.bytes().await?, version))
        });
        absent_is_none(read.await)
    }

    /// Reads some bytes of an object.
    ///
    /// # Errors
    ///
    /// If the store does not give them.
    pub async fn read_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        let failed = self.failed("read", path);
        let key = self.key(path).map_err(&failed)?;
        self.repeat(&key, || self.objects.get_range(&key, range.clone())).await.map_err(failed)
    }

    /// Looks for an object.
    ///
    /// # Errors
    ///
    /// If the store does not tell.
    pub async fn find(&self, path: &str) -> Result<Option<ObjectMeta>, ObjectError> {
        let failed = self.failed("look for", path);
        let key = self.key(path).map_err(&failed)?;
        let found = self.repeat(&key, || self.objects.head(&key)).await;
        absent_is_none(found).map_err(failed)
    }

    /// Whether there is an object under the very name of the output, and nothing below it.
    ///
    /// # Errors
    ///
    /// If that may not be asked.
    pub async fn is_object(&self) -> Result<bool, ObjectError> {
        // Asked first, as it is what some stores take long to refuse to tell of.
        if self.list().next().await.transpose()?.is_some() {
            return Ok(false);
        }
        match self.objects.head(&self.prefix).await {
            Ok(_) => Ok(true),
            // Some stores over a file system refuse to tell of the name of a folder, each time.
            Err(error) if matches!(error, Error::NotFound { .. }) || is_passing(&error) => Ok(false),
            Err(source) => Err(ObjectError { action: "look for", object: self.uri.clone(), source: Box::new(source) }),
        }
    }

    /// Deletes an object, if it is there.
    ///
    /// # Errors
    ///
    /// If the store does not.
    pub async fn delete(&self, path: &str) -> Result<(), ObjectError> {
        let failed = self.failed("delete", path);
        let key = self.key(path).map_err(&failed)?;
        let deleted = self.repeat(&key, || self.objects.delete(&key)).await;
        absent_is_none(deleted).map(|_| ()).map_err(failed)
    }

    /// Every object below the output, by its path there. Objects whose keys are no paths are left out; if
    /// the listing breaks off it begins anew, so that objects may come again.
    pub fn list(&self) -> BoxStream<'_, Result<(String, ObjectMeta), ObjectError>> {
        let below = move |listed: object_store::Result<ObjectMeta>| {
            let answer = match listed {
                Ok(meta) => {
                    let path = meta.location.as_ref().strip_prefix(self.prefix.as_ref());
                    let path = path.and_then(|rest| rest.strip_prefix('/')).filter(|path| !path.is_empty());
                    path.map(|path| Ok((path.to_owned(), meta.clone())))
                }
                Err(source) => {
                    Some(Err(ObjectError { action: "list", object: self.uri.clone(), source: Box::new(source) }))
                }
            };
            std::future::ready(answer)
        };
        let (objects, prefix) = (Arc::clone(&self.objects), self.prefix.clone());
        let begin = move |_: Option<&Path>| objects.list(Some(&prefix));
        list_repeatedly(begin, Resume::Anew, self.waits).filter_map(below).boxed()
    }

    /// Begins an upload of an object.
    ///
    /// # Errors
    ///
    /// If the store does not.
    pub async fn open_upload(&self, path: &str) -> Result<OpenUpload, ObjectError> {
        let failed = self.failed("begin an upload of", path);
        let key = self.key(path).map_err(&failed)?;
        let id = self.repeat(&key, || self.uploads.create_multipart(&key)).await.map_err(failed)?;
        Ok(OpenUpload { object: path.to_owned(), id })
    }

    /// Sends one piece of an upload, numbered from 0 on; sent again, it takes the place of the earlier
    /// one. Returns what the store calls it.
    ///
    /// # Errors
    ///
    /// If the store does not take it.
    pub async fn send_piece(&self, upload: &OpenUpload, number: usize, piece: Bytes) -> Result<String, ObjectError> {
        let failed = self.failed("send to", &upload.object);
        let key = self.key(&upload.object).map_err(&failed)?;
        let sent = self.repeat(&key, || self.uploads.put_part(&key, &upload.id, number, piece.clone().into()));
        Ok(sent.await.map_err(failed)?.content_id)
    }

    /// Makes an upload the object. Whether an error means that it is not has to be found out by looking
    /// at the object.
    ///
    /// # Errors
    ///
    /// If the upload is gone, or the answer was lost, or the store refuses.
    pub async fn complete(&self, path: &str, upload: &SentUpload) -> Result<(), Error> {
        let key = self.key(path)?;
        let piece = |name: &String| PartId { content_id: name.clone() };
        let pieces = upload.pieces.iter().map(piece).collect();
        self.uploads.complete_multipart(&key, &upload.id, pieces).await.map(|_| ())
    }

    /// Throws an upload away, if it is there.
    ///
    /// # Errors
    ///
    /// If the store does not.
    pub async fn abort(&self, upload: &OpenUpload) -> Result<(), ObjectError> {
        let failed = self.failed("abort the upload of", &upload.object);
        let key = self.key(&upload.object).map_err(&failed)?;
        match self.repeat(&key, || self.uploads.abort_multipart(&key, &upload.id)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(Error::PermissionDenied { .. }) if self.is_gone(upload, &key).await? => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether an upload is gone that may not be aborted, says the store: some say so where there is none.
    /// Those that list no uploads either are asked to abort another one of the same object: whoever may do
    /// that may abort all of them.
    async fn is_gone(&self, upload: &OpenUpload, key: &Path) -> Result<bool, ObjectError> {
        if let Some(unfinished) = self.unfinished().await? {
            return Ok(!unfinished.contains(upload));
        }
        for _ in 0..PROOFS {
            let Ok(id) = self.repeat(key, || self.uploads.create_multipart(key)).await else { return Ok(false) };
            if self.repeat(key, || self.uploads.abort_multipart(key, &id)).await.is_ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The unfinished uploads below the output that attempts of a job could have begun; `None` if the
    /// store cannot list them.
    ///
    /// # Errors
    ///
    /// If it can, and does not.
    pub async fn unfinished(&self) -> Result<Option<BTreeSet<OpenUpload>>, ObjectError> {
        let Some(unfinished) = &self.unfinished else { return Ok(None) };
        let listed = match self.repeat(&self.prefix, || unfinished.list(&self.prefix)).await {
            Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => return Ok(None),
            listed => listed.map_err(|source| ObjectError {
                action: "list uploads to",
                object: self.uri.clone(),
                source: Box::new(source),
            })?,
        };
        let ours = |(key, id): (Path, String)| {
            let object = key.as_ref().strip_prefix(self.prefix.as_ref())?.strip_prefix('/')?.to_owned();
            is_object_of_output(&object).then_some(OpenUpload { object, id })
        };
        Ok(Some(listed.into_iter().filter_map(ours).collect()))
    }

    /// How long to wait after so many failures of a request about a key.
    pub async fn pause(&self, key: &str, failures: u32) {
        // Requests of one moment are about different keys, and so spread.
        let spread = xxh3_64(key.as_bytes()).rotate_left(failures);
        tokio::time::sleep(self.waits.delay(failures, spread)).await;
    }

    /// Asks until there is an answer that asking again would not change, or often enough.
    async fn repeat<T, F, R>(&self, key: &Path, mut request: F) -> Result<T, Error>
    where
        F: FnMut() -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let mut failures = 0;
        loop {
            match request().await {
                Err(error) if is_passing(&error) && failures + 1 < TRIES => {
                    self.pause(key.as_ref(), failures).await;
                    failures += 1;
                }
                answer => return answer,
            }
        }
    }

    fn failed(&self, action: &'static str, path: &str) -> impl Fn(Error) -> ObjectError + use<> {
        let object = self.uri_of(path);
        move |source| ObjectError { action, object: object.clone(), source: Box::new(source) }
    }
}

impl fmt::Debug for OutputStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputStore").field("uri", &self.uri).finish_non_exhaustive()
    }
}

/// Whether the same request may be answered otherwise in a moment.
pub fn is_passing(error: &Error) -> bool {
    // What is asked again has no condition, so that a conflict is one of this moment.
    matches!(error, Error::Generic { .. } | Error::JoinError { .. } | Error::AlreadyExists { .. })
}

fn absent_is_none<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
