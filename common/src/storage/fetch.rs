//! Ranges of objects in stores, pinned: what comes is what was planned, whole, or a failure that names
//! the object. Tries again where a body broke off, with full jitter and out of one budget for the
//! process, so that a store in trouble is not asked ever more. Waits on the stores' runtime.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use futures::TryStreamExt as _;
use object_store::{Error, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStoreExt as _};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::backoff::Backoff;
use crate::failure::{Disposition, Failure, FailureCode};
use crate::naming::Uri;
use crate::storage::stores::{StoreAt, StoreError, Stores};
use crate::task::InputObject;
use crate::windowed::{PendingRange, RangeBytes, RangeSource};

/// The most ranges that a process fetches at once. More fills lines with long ways, fewer spares stores
/// and memory.
const MAX_FETCHES: usize = 64;

/// How often one range is fetched before that counts as a failure. What the store answers with an error
/// is tried again below this; here it is what came and was not whole.
const MAX_TRIES: u32 = 5;

/// How long a body may stand still.
const STALL: Duration = Duration::from_secs(10);

/// Waits between tries.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(5) };

/// What a range that came adds to the budget of tries, and what another try takes from it: in the long
/// run, one range in ten may have to be fetched twice.
const EARNED: i64 = 1;
const SPENT: i64 = 10;

/// The most tries that are saved up: a store that fails for a moment is asked again as often.
const MAX_BUDGET: i64 = 100 * SPENT;

/// The largest object that is taken from a server without ranges: each task reads it from its beginning.
const MAX_WITHOUT_RANGES: u64 = 1 << 30;

/// Fetches ranges for the attempts of one process.
#[derive(Debug, Clone)]
pub struct Fetcher {
    stores: Stores,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    permits: Semaphore,
    budget: AtomicI64,
}

impl Fetcher {
    /// A fetcher from these stores.
    pub fn new(stores: Stores) -> Self {
        let shared = Shared { permits: Semaphore::new(MAX_FETCHES), budget: AtomicI64::new(MAX_BUDGET) };
        Self { stores, shared: Arc::new(shared) }
    }

    /// The same for a job with other options.
    #[must_use]
    pub fn with_stores(&self, stores: Stores) -> Self {
        Self { stores, shared: Arc::clone(&self.shared) }
    }

    /// The stores it fetches from.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// The bytes of a range of an object that still is what was planned. Dropping it gives it up.
    ///
    /// # Errors
    ///
    /// `INPUT_CHANGED` if it is not, `INPUT_UNREADABLE` if it cannot be read from here.
    pub async fn fetch(&self, object: &InputObject, range: Range<u64>) -> Result<Vec<u8>, Failure> {
        let at = self.stores.at(&object.uri).map_err(|error| closed(&object.uri, &error))?;
        let _permit = self.shared.permits.acquire().await.expect("it is never closed");
        let mut tries = 0;
        loop {
            let Trouble { failure, again } = match try_once(&at, object, &range).await {
                Ok(bytes) => {
                    self.earn();
                    return Ok(bytes);
                }
                Err(trouble) => trouble,
            };
            tries += 1;
            if !again || tries >= MAX_TRIES || !self.spend() {
                return Err(explain(&at, object, failure).await);
            }
            tokio::time::sleep(BACKOFF.delay(tries - 1, random())).await;
        }
    }

    fn earn(&self) {
        let earned = |budget: i64| Some((budget + EARNED).min(MAX_BUDGET));
        // The closure always gives a value.
        let _ = self.shared.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earned);
    }

    fn spend(&self) -> bool {
        let spent = |budget: i64| (budget >= SPENT).then_some(budget - SPENT);
        self.shared.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent).is_ok()
    }
}

/// Spreads waits.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Why a try came to nothing, and whether another one may do better.
struct Trouble {
    failure: Failure,
    again: bool,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self { failure, again: false }
    }
}

async fn try_once(at: &StoreAt, object: &InputObject, range: &Range<u64>) -> Result<Vec<u8>, Trouble> {
    let whole = *range == (0..object.size);
    let options = GetOptions {
        if_match: object.etag.as_deref().and_then(strong_tag),
        range: (!whole).then(|| GetRange::Bounded(range.clone())),
        ..GetOptions::default()
    };
    match at.store.get_opts(&at.path, options.clone()).await {
        Ok(result) => {
            check(object, &result.meta)?;
            collect(object, result, range.clone(), 0).await
        }
        Err(Error::NotSupported { .. }) if !whole && is_plain_http(&object.uri) => {
            // A server without ranges answers with all of it, which the client takes for a refusal.
            let result = at.store.get_opts(&at.path, GetOptions { range: None, ..options }).await;
            let result = result.map_err(|error| failure_of(object, &error))?;
            check(object, &result.meta)?;
            if object.size > MAX_WITHOUT_RANGES {
                let message = format!(
                    "cannot read input {}: its server has no ranges, and it is larger than 1 GiB (download it first)",
                    object.uri
                );
                let failure = Failure::new(FailureCode::InputUnreadable, message);
                return Err(Failure { disposition: Disposition::Abort, ..failure }.into());
            }
            collect(object, result, range.clone(), range.start).await
        }
        Err(error) => Err(failure_of(object, &error).into()),
    }
}

/// The bytes of a range from a body that begins `skip` bytes before it.
async fn collect(object: &InputObject, result: GetResult, range: Range<u64>, skip: u64) -> Result<Vec<u8>, Trouble> {
    let broken = |how: String| Trouble {
        failure: unreadable(object, &format!("bytes {}..{} broke off: {how}", range.start, range.end)),
        again: true,
    };
    let want = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(want).map_err(|error| Trouble::from(unreadable(object, &error.to_string())))?;
    let mut skip = skip;
    let mut body = result.into_stream();
    while bytes.len() < want {
        let next = tokio::time::timeout(STALL, body.try_next()).await;
        let next = next.map_err(|_| broken(format!("nothing came for {} s", STALL.as_secs())))?;
        let Some(piece) = next.map_err(|error| broken(error.to_string()))? else { break };
        let from = skip.min(piece.len() as u64);
        skip -= from;
        let piece = &piece[usize::try_from(from).unwrap_or(usize::MAX)..];
        bytes.extend_from_slice(&piece[..piece.len().min(want - bytes.len())]);
    }
    if bytes.len() < want {
        return Err(broken(format!("{} of {want} bytes came", bytes.len())));
    }
    Ok(bytes)
}

/// Whether this is an object behind a plain web server.
fn is_plain_http(uri: &Uri) -> bool {
    matches!(uri.scheme(), "http" | "https")
}

/// Checks what a store says of an object against its pin.
fn check(object: &InputObject, meta: &ObjectMeta) -> Result<(), Failure> {
    if meta.size != object.size {
        return Err(changed(object, &format!("it had {} bytes and now has {}", object.size, meta.size)));
    }
    match (&object.etag, &meta.e_tag) {
        (Some(planned), Some(now)) if !same_tag(planned, now) => Err(changed(object, "its entity tag is another")),
        (None, None) if object.modified_micros.is_some_and(|at| at != meta.last_modified.timestamp_micros()) => {
            Err(changed(object, "its modification time is another"))
        }
        _ => Ok(()),
    }
}

/// Whether two entity tags are the same. Listings of some stores leave the quotes out.
fn same_tag(one: &str, other: &str) -> bool {
    let bare = |tag: &str| tag.trim_start_matches("W/").trim_matches('"').to_owned();
    bare(one) == bare(other)
}

/// The tag as a condition; a weak one is none (RFC 9110, 13.1.1).
fn strong_tag(tag: &str) -> Option<String> {
    (!tag.starts_with("W/")).then(|| format!("\"{}\"", tag.trim_matches('"')))
}

/// What a store's refusal means.
fn failure_of(object: &InputObject, error: &Error) -> Failure {
    match error {
        Error::NotFound { .. } => changed(object, "it is gone"),
        Error::Precondition { .. } | Error::NotModified { .. } => changed(object, "its entity tag is another"),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            unreadable(object, &format!("permission denied ({error})"))
        }
        error => unreadable(object, &error.to_string()),
    }
}

/// The failure of a range that cannot be had. A store that has no tags to ask for refuses ranges of an
/// object that shrank; what it says of the object tells.
async fn explain(at: &StoreAt, object: &InputObject, failure: Failure) -> Failure {
    if failure.code != FailureCode::InputUnreadable || object.etag.is_some() {
        return failure;
    }
    match tokio::time::timeout(STALL, at.store.head(&at.path)).await {
        Ok(Ok(meta)) => check(object, &meta).err().unwrap_or(failure),
        Ok(Err(Error::NotFound { .. })) => changed(object, "it is gone"),
        _ => failure,
    }
}

fn changed(object: &InputObject, what: &str) -> Failure {
    let message = format!("input {} changed since the job was planned: {what}", object.uri);
    Failure::new(FailureCode::InputChanged, message)
}

fn unreadable(object: &InputObject, why: &str) -> Failure {
    Failure::new(FailureCode::InputUnreadable, format!("cannot read input {}: {why}", object.uri))
}

/// What it means for an attempt that the store of an input cannot be opened here: another worker may have
/// what is missing.
fn closed(uri: &Uri, error: &StoreError) -> Failure {
    let mut failure = Failure::new(FailureCode::InputUnreadable, format!("cannot read input {uri}: {error}"));
    if matches!(error, StoreError::BadLocation { .. }) {
        failure.disposition = Disposition::Abort;
    }
    failure
}

impl RangeSource for Fetcher {
    fn begin(&self, object: &InputObject, range: Range<u64>) -> Box<dyn PendingRange> {
        let (done, result) = sync_channel(1);
        let runtime = match self.stores.runtime() {
            Ok(runtime) => runtime,
            Err(error) => {
                // The channel has room for it.
                let _ = done.send(Err(closed(&object.uri, &error)));
                return Box::new(Fetching { result, task: None });
            }
        };
        let (fetcher, object) = (self.clone(), object.clone());
        let task = runtime.handle().spawn(async move {
            // Whoever gave it up does not want it any more.
            let _ = done.send(fetcher.fetch(&object, range).await);
        });
        Box::new(Fetching { result, task: Some(task.abort_handle()) })
    }
}

/// A range that is being fetched.
struct Fetching {
    result: Receiver<Result<Vec<u8>, Failure>>,
    task: Option<AbortHandle>,
}

impl PendingRange for Fetching {
    fn wait(&mut self, patience: Duration) -> Option<Result<Box<dyn RangeBytes>, Failure>> {
        match self.result.recv_timeout(patience) {
            Ok(result) => Some(result.map(|bytes| Box::new(bytes) as Box<dyn RangeBytes>)),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                Some(Err(Failure::new(FailureCode::InputUnreadable, "the threads that read from stores have ended")))
            }
        }
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStore;
    use object_store::memory::InMemory;

    use super::*;
    use crate::objects::ObjectReader as _;
    use crate::size::ByteSize;
    use crate::spec::StoreOptions;
    use crate::storage::StoreEnvironment;
    use crate::windowed::WindowedObjects;

    fn stores() -> (Stores, Arc<InMemory>) {
        let stores = Stores::new(&StoreOptions::default(), StoreEnvironment::default());
        let memory = Arc::new(InMemory::new());
        stores.give("s3://bucket".parse().expect("a URI"), memory.clone(), None);
        (stores, memory)
    }

    /// Puts an object and pins it.
    fn put(stores: &Stores, key: &str, bytes: &[u8]) -> InputObject {
        let uri: Uri = format!("s3://bucket/{key}").parse().expect("a URI");
        let at = stores.at(&uri).expect("given");
        let (store, path, bytes) = (Arc::clone(&at.store), at.path.clone(), bytes.to_vec());
        let meta = at.runtime.wait(async move {
            store.put(&path, bytes.into()).await?;
            store.head(&path).await
        });
        let ObjectMeta { size, e_tag, last_modified, .. } = meta.expect("put");
        InputObject { uri, size, modified_micros: Some(last_modified.timestamp_micros()), etag: e_tag, form: None }
    }

    #[test]
    fn objects_are_read_as_planned_or_not_at_all() {
        let (stores, memory) = stores();
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 253) as u8).collect();
        let planned = put(&stores, "k=v/ö %.txt", &bytes);
        let objects = WindowedObjects::new(Arc::new(Fetcher::new(stores.clone())), ByteSize::mib(5));
        assert_eq!(objects.read_whole(&planned).expect("as planned"), bytes);

        let code = |object: &InputObject| objects.read_whole(object).map(|_| ()).map_err(|failure| failure.code);
        put(&stores, "k=v/ö %.txt", &bytes[1..]);
        assert_eq!(code(&planned), Err(FailureCode::InputChanged));
        let untagged = InputObject { etag: None, modified_micros: None, ..planned.clone() };
        assert_eq!(code(&untagged), Err(FailureCode::InputChanged));
        let at = stores.at(&planned.uri).expect("given");
        let path = at.path.clone();
        at.runtime.wait(async move { memory.delete(&path).await }).expect("deleted");
        assert_eq!(code(&planned), Err(FailureCode::InputChanged));
        let elsewhere = InputObject { uri: "s3://other/x".parse().expect("a URI"), ..planned };
        let failure = objects.read_whole(&elsewhere).expect_err("no credentials");
        assert_eq!(failure.disposition, Disposition::RetryElsewhere);
        let _: &dyn ObjectStore = at.store.as_ref();
    }

    #[test]
    fn tags_are_compared_without_quotes_and_weak_ones_are_no_condition() {
        assert!(same_tag("\"abc\"", "abc") && same_tag("W/\"a\"", "\"a\"") && !same_tag("a", "b"));
        assert_eq!(strong_tag("0x8D").as_deref(), Some("\"0x8D\""));
        assert_eq!(strong_tag("W/\"a\""), None);
    }

    #[test]
    fn tries_come_out_of_one_budget() {
        let fetcher = Fetcher::new(stores().0);
        let tries = std::iter::from_fn(|| fetcher.spend().then_some(())).count();
        assert_eq!(tries as i64, MAX_BUDGET / SPENT);
        (0..SPENT).for_each(|_| fetcher.earn());
        assert!(fetcher.spend() && !fetcher.spend());
    }
}
