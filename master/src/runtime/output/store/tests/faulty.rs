//! A store in memory that does to some requests what networks do: fails before it has done what it was
//! asked for, or after. It knows its unfinished uploads, as S3 does.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt as _};
use gristmill_common::storage::UnfinishedUploads;
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not carried out, and nobody knows.
    Before,
    /// It is carried out, and nobody knows.
    After,
    /// It is refused.
    Denied,
}

/// Says what happens to each request, numbered from 1 on.
pub(super) type Schedule = Box<dyn Fn(u64) -> Option<Fault> + Send + Sync>;

/// The store.
pub(super) struct FaultyStore {
    pub(super) memory: InMemory,
    uploads: Mutex<BTreeMap<String, Path>>,
    requests: AtomicU64,
    schedule: Mutex<Arc<Schedule>>,
    /// Listings yet to break off, behind their first object.
    breaking: AtomicU64,
    /// Whether uploads that are gone may not be asked about, rather than being said to be gone.
    forbids: AtomicBool,
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

impl FaultyStore {
    /// An empty store without faults.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            memory: InMemory::new(),
            uploads: Mutex::default(),
            requests: AtomicU64::new(0),
            schedule: Mutex::new(Arc::new(Box::new(|_| None))),
            breaking: AtomicU64::new(0),
            forbids: AtomicBool::new(false),
        })
    }

    /// From now on, requests are counted anew and suffer this.
    pub(super) fn suffer(&self, schedule: impl Fn(u64) -> Option<Fault> + Send + Sync + 'static) {
        *self.schedule.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Box::new(schedule));
        self.requests.store(0, Ordering::SeqCst);
    }

    /// So many listings to come break off in the middle.
    pub(super) fn break_off_listings(&self, count: u64) {
        self.breaking.store(count, Ordering::SeqCst);
    }

    /// From now on, what is asked of an upload that is gone is refused as not allowed, as by s3s-fs.
    pub(super) fn forbid_what_is_gone(&self) {
        self.forbids.store(true, Ordering::SeqCst);
    }

    fn no_such_upload(&self, id: &MultipartId) -> Error {
        let (path, source) = (id.clone(), "no such upload".into());
        match self.forbids.load(Ordering::SeqCst) {
            true => Error::PermissionDenied { path, source },
            false => Error::NotFound { path, source },
        }
    }

    /// Requests since then.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// Every object, by key.
    pub(super) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let listed = now(self.memory.list(None).collect::<Vec<_>>());
        let read = |meta: Result<ObjectMeta>| {
            let location = meta.expect("memory").location;
            let bytes = now(async { self.memory.get(&location).await?.bytes().await });
            (location.to_string(), bytes.expect("memory").to_vec())
        };
        listed.into_iter().map(read).collect()
    }

    /// The keys of unfinished uploads.
    pub(super) fn open_uploads(&self) -> Vec<String> {
        self.lock().values().map(Path::to_string).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Path>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask<T>(&self, request: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let schedule = Arc::clone(&self.schedule.lock().unwrap_or_else(PoisonError::into_inner));
        match schedule(number) {
            Some(Fault::Before) => Err(trouble()),
            Some(Fault::Denied) => Err(Error::PermissionDenied { path: String::new(), source: "on purpose".into() }),
            Some(Fault::After) => {
                request.await?;
                Err(trouble())
            }
            None => request.await,
        }
    }
}

/// Waits for what memory does at once.
pub(super) fn now<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("no threads").block_on(work)
}

fn trouble() -> Error {
    Error::Generic { store: "Faulty", source: "on purpose".into() }
}

#[tonic::async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.ask(self.memory.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.memory.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.ask(self.memory.get_opts(location, options)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let fault = self.schedule.lock().unwrap_or_else(PoisonError::into_inner)(number);
        let memory = self.memory.clone();
        let delete = move |location: Result<Path>| {
            let memory = memory.clone();
            async move {
                let location = location?;
                if !matches!(fault, Some(Fault::Before | Fault::Denied)) {
                    memory.delete(&location).await?;
                }
                match fault {
                    None => Ok(location),
                    Some(Fault::Denied) => Err(Error::PermissionDenied { path: String::new(), source: "no".into() }),
                    Some(Fault::Before | Fault::After) => Err(trouble()),
                }
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        match self.schedule.lock().unwrap_or_else(PoisonError::into_inner)(number) {
            None => {
                let breaks = self.breaking.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
                match breaks {
                    Ok(_) => self.memory.list(prefix).take(1).chain(futures::stream::iter([Err(trouble())])).boxed(),
                    Err(_) => self.memory.list(prefix),
                }
            }
            Some(_) => futures::stream::iter([Err(trouble())]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.memory.copy_opts(from, to, options).await
    }
}

#[tonic::async_trait]
impl MultipartStore for FaultyStore {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.ask(async {
            let id = self.memory.create_multipart(path).await?;
            self.lock().insert(id.clone(), path.clone());
            Ok(id)
        })
        .await
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, number: usize, data: PutPayload) -> Result<PartId> {
        self.ask(async {
            if !self.lock().contains_key(id) {
                return Err(self.no_such_upload(id));
            }
            self.memory.put_part(path, id, number, data).await
        })
        .await
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        self.ask(async {
            if self.lock().remove(id).is_none() {
                return Err(self.no_such_upload(id));
            }
            self.memory.complete_multipart(path, id, parts).await
        })
        .await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.ask(async {
            if self.lock().remove(id).is_none() {
                return Err(self.no_such_upload(id));
            }
            self.memory.abort_multipart(path, id).await
        })
        .await
    }
}

impl UnfinishedUploads for FaultyStore {
    fn list<'a>(&'a self, prefix: &'a Path) -> BoxFuture<'a, Result<Vec<(Path, String)>>> {
        let listed = async move {
            let uploads = self.lock();
            let below = uploads.iter().filter(|(_, key)| key.as_ref().starts_with(prefix.as_ref()));
            Ok(below.map(|(id, key)| (key.clone(), id.clone())).collect())
        };
        Box::pin(self.ask(listed))
    }
}
