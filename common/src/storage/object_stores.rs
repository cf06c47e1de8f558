//! Listing a bucket: one request where it is small, several stretches of its keys at the same time
//! where it is large. Credentials and retries are the store's own.
//!
//! A glob is listed from its longest literal prefix, also where that ends inside a name. Folders as some
//! tools mark them, by an empty object whose key ends in `/`, are no inputs.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ListResult, ObjectMeta, ObjectStore, ObjectStoreExt as _};
use tokio::sync::mpsc::{self, Sender};

use crate::naming::Uri;
use crate::storage::error::InputError;
use crate::storage::listing::{Entry, Listing};
use crate::storage::output_store::{TRIES, WAITS, is_passing};
use crate::storage::pattern::NamesBelow;
use crate::storage::repeated_list::{Listed, Resume, list_repeatedly};
use crate::storage::stores::{StoreAt, StoreError};
use crate::task::InputObject;

/// Keys that are listed in one go before anything is done at the same time: those of one request.
const FIRST_KEYS: usize = 1000;

/// The most stretches of keys that are listed at the same time, and requests about single ones.
const AT_ONCE: usize = 16;

/// Objects that are handed over together.
const BATCH: usize = 1000;

/// Batches that wait for whoever takes them.
const WAITING_BATCHES: usize = 8;

/// How many empty objects of one listing are looked at, whether they only mark a folder. Beyond, all
/// count as objects, which costs a request for each as well when they are read.
const MAX_MARKERS: usize = 10_000;

/// Lists the store of one location.
pub struct ObjectStoreListing {
    at: StoreAt,
}

impl fmt::Debug for ObjectStoreListing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStoreListing").field("base", &self.at.base).finish_non_exhaustive()
    }
}

impl ObjectStoreListing {
    /// A listing of the store that is open at a location.
    pub fn new(at: StoreAt) -> Self {
        Self { at }
    }

    /// Whether its servers have no listings.
    fn is_plain_http(&self) -> bool {
        matches!(self.at.base.scheme(), "http" | "https")
    }

    /// The key of a location. `Path::parse` keeps it as it is, where `Path::from` would encode it.
    fn key(&self, uri: &Uri) -> Result<Path, InputError> {
        let key = if self.at.base.contains(uri) { &uri.rest()[self.at.base.rest().len()..] } else { uri.rest() };
        let malformed = |error: object_store::path::Error| {
            InputError::Access(StoreError::BadLocation { object: uri.to_string(), reason: error.to_string() })
        };
        Path::parse(key.trim_start_matches('/')).map_err(malformed)
    }
}

/// The object that a store describes.
fn object(base: &Uri, meta: ObjectMeta) -> InputObject {
    let key = meta.location.as_ref();
    InputObject {
        uri: if key.is_empty() { base.clone() } else { base.join(key) },
        size: meta.size,
        modified_micros: Some(meta.last_modified.timestamp_micros()),
        etag: meta.e_tag,
        form: None,
    }
}

impl Listing for ObjectStoreListing {
    fn find(&self, uri: &Uri) -> Result<Entry, InputError> {
        let (key, store, base) = (self.key(uri)?, Arc::clone(&self.at.store), self.at.base.clone());
        let (is_http, is_folder) = (self.is_plain_http(), uri.rest().ends_with('/'));
        let named = uri.to_string();
        let found: Result<Entry, Error> = self.at.runtime.wait(async move {
            if is_http {
                return Ok(match look_at_url(store.as_ref(), &key).await? {
                    Some(meta) => Entry::Object(object(&base, meta)),
                    None => Entry::Missing,
                });
            }
            if key.as_ref().is_empty() {
                // What is wrong with a bucket shows when it is listed.
                first_of(&store, None).await?;
                return Ok(Entry::Folder);
            }
            let named = if is_folder { None } else { Some(store.head(&key).await) };
            if let Some(Ok(meta)) = named {
                return Ok(Entry::Object(object(&base, meta)));
            }
            if first_of(&store, Some(key)).await?.is_some() {
                // Some stores over a file system refuse to tell of the name of a folder.
                return Ok(Entry::Folder);
            }
            match named {
                Some(Err(error)) if !matches!(error, Error::NotFound { .. }) => Err(error),
                _ => Ok(Entry::Missing),
            }
        });
        found.map_err(|error| InputError::store(named, error))
    }

    fn list(
        &self,
        folder: &Uri,
        names: &NamesBelow,
        take: &mut dyn FnMut(InputObject) -> Result<(), InputError>,
    ) -> Result<(), InputError> {
        if self.is_plain_http() {
            return Err(InputError::NoListing { object: folder.to_string() });
        }
        let (batches, mut received) = mpsc::channel(WAITING_BATCHES);
        // Directory buckets of S3 list in no order.
        let is_ordered = !self.at.base.rest().ends_with("--x-s3");
        let walk = Walk {
            store: Arc::clone(&self.at.store),
            folder: self.key(folder)?,
            names: names.clone(),
            has_offsets: is_ordered && matches!(self.at.base.scheme(), "s3" | "gs"),
            is_ordered,
        };
        let walked = self.at.runtime.handle().spawn(async move { walk.run(&batches).await });
        let mut result = Ok(());
        while let Some(metas) = received.blocking_recv() {
            result = metas.into_iter().try_for_each(|meta| take(object(&self.at.base, meta)));
            if result.is_err() {
                walked.abort();
                break;
            }
        }
        result?;
        let walked = self.at.runtime.wait(walked);
        let walked = walked.expect("a listing neither panics nor is ended but by its taker");
        walked.map_err(|error| InputError::store(folder.to_string(), error))
    }
}

/// The first object that a store lists below a key.
async fn first_of(store: &Arc<dyn ObjectStore>, key: Option<Path>) -> Result<Option<ObjectMeta>, Error> {
    let store = Arc::clone(store);
    list_repeatedly(move |_: Option<&Path>| store.list(key.as_ref()), Resume::Anew, WAITS).try_next().await
}

/// What is behind a URL; `None` if nothing is. Servers that do not answer HEAD, which the client takes for
/// nothing being there, may answer a GET of a range or of all of it.
async fn look_at_url(store: &dyn ObjectStore, key: &Path) -> Result<Option<ObjectMeta>, Error> {
    if let Ok(meta) = store.head(key).await {
        return Ok(Some(meta));
    }
    let first_byte = GetOptions { range: Some(GetRange::Bounded(0..1)), ..GetOptions::default() };
    let got = match store.get_opts(key, first_byte).await {
        Err(Error::NotFound { .. }) => return Ok(None),
        Err(_) => store.get_opts(key, GetOptions::default()).await,
        got => got,
    };
    match got {
        Ok(result) => Ok(Some(result.meta)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// One listing of a folder.
struct Walk {
    store: Arc<dyn ObjectStore>,
    folder: Path,
    names: NamesBelow,
    /// Whether the store can begin a listing at any key, rather than leave out what comes before it.
    has_offsets: bool,
    /// Whether the store lists keys in their order.
    is_ordered: bool,
}

/// Why a walk ends before its end: nobody takes any more.
struct NobodyTakes;

impl Walk {
    async fn run(self, batches: &Sender<Vec<ObjectMeta>>) -> Result<(), Error> {
        let mut batch = Batch { walk: &self, batches, metas: Vec::new(), empty: Vec::new() };
        match self.walk(&mut batch).await {
            Ok(ControlFlow::Continue(())) => batch.finish().await,
            Ok(ControlFlow::Break(NobodyTakes)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn walk(&self, batch: &mut Batch<'_>) -> Result<ControlFlow<NobodyTakes>, Error> {
        let prefix = self.names.literal_prefix();
        let after = prefix.as_deref().and_then(|prefix| self.just_before(prefix)).filter(|_| self.has_offsets);
        let mut keys = self.keys(after.clone());
        // Where the prefix ends there is nothing more to find.
        let is_past = |meta: &ObjectMeta| {
            let below = self.below(&meta.location);
            after.is_some() && prefix.as_deref().is_some_and(|prefix| below > prefix && !below.starts_with(prefix))
        };
        let mut first = Vec::new();
        while first.len() < FIRST_KEYS {
            match keys.try_next().await? {
                Some(meta) if is_past(&meta) => return batch.add_all(first).await,
                Some(meta) => first.push(meta),
                None => return batch.add_all(first).await,
            }
        }
        if self.has_offsets && after.is_none() && first.iter().any(|meta| self.below(&meta.location).contains('/')) {
            drop(keys);
            return self.walk_stretches(batch).await;
        }
        if batch.add_all(first).await?.is_break() {
            return Ok(ControlFlow::Break(NobodyTakes));
        }
        while let Some(meta) = keys.try_next().await? {
            if is_past(&meta) {
                break;
            }
            if batch.add(meta).await?.is_break() {
                return Ok(ControlFlow::Break(NobodyTakes));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The objects below the folder, behind a key if one is given. If that breaks off it goes on.
    fn keys(&self, after: Option<Path>) -> Listed {
        let (store, folder) = (Arc::clone(&self.store), self.folder.clone());
        let begin = move |last: Option<&Path>| match last.or(after.as_ref()) {
            Some(after) => store.list_with_offset(Some(&folder), after),
            None => store.list(Some(&folder)),
        };
        if self.is_ordered { list_repeatedly(begin, Resume::BehindLast, WAITS) } else { begin(None) }
    }

    /// Lists the folders of the folder in stretches of neighbours, several at the same time.
    async fn walk_stretches(&self, batch: &mut Batch<'_>) -> Result<ControlFlow<NobodyTakes>, Error> {
        let top = self.folders().await?;
        if batch.add_all(top.objects).await?.is_break() {
            return Ok(ControlFlow::Break(NobodyTakes));
        }
        let start = self.names.start();
        let goes_on = |folder: &Path| self.names.step(&start, self.below(folder)).goes_on();
        let mut folders: Vec<Path> = top.common_prefixes.into_iter().filter(goes_on).collect();
        // In the order of the keys that lie in them.
        folders.sort_unstable_by_key(|folder| format!("{folder}/"));
        let stretches: Vec<(Path, Path)> = folders
            .chunks(folders.len().div_ceil(AT_ONCE).max(1))
            .filter_map(|folders| Some((folders.first()?.clone(), folders.last()?.clone())))
            .collect();
        let listed = stream::iter(stretches).map(|(first, last)| self.stretch(first, last));
        let mut listed = listed.flatten_unordered(AT_ONCE);
        while let Some(meta) = listed.try_next().await? {
            if batch.add(meta).await?.is_break() {
                return Ok(ControlFlow::Break(NobodyTakes));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// What lies right in the folder.
    async fn folders(&self) -> Result<ListResult, Error> {
        let mut failures = 0;
        loop {
            match self.store.list_with_delimiter(Some(&self.folder)).await {
                Err(error) if is_passing(&error) && failures + 1 < TRIES => {
                    tokio::time::sleep(WAITS.delay(failures, u64::MAX / 2)).await;
                    failures += 1;
                }
                listed => return listed,
            }
        }
    }

    /// What lies in the folders from the first to the last of a stretch, but for what lies between them.
    fn stretch(
        &self,
        first: Path,
        last: Path,
    ) -> impl futures::Stream<Item = Result<ObjectMeta, Error>> + Unpin + use<'_> {
        // `.` is what comes before `/`: a folder beside, such as `a-b` of `a`, lies before this.
        let before = Path::parse(format!("{first}.{}", char::MAX)).unwrap_or(first);
        let keys = self.keys(Some(before));
        let last = format!("{last}/");
        let ends = move |meta: &ObjectMeta| {
            let location = meta.location.as_ref();
            location > last.as_str() && !location.starts_with(&last)
        };
        let keys = keys.try_take_while(move |meta| std::future::ready(Ok(!ends(meta))));
        // Objects beside the folders have been handed over.
        Box::pin(keys.try_filter(|meta| std::future::ready(self.below(&meta.location).contains('/'))))
    }

    /// A key before all whose names below the folder begin like this, and after most others.
    fn just_before(&self, prefix: &str) -> Option<Path> {
        let last = prefix.chars().next_back()?;
        let before = char::from_u32(u32::from(last) - 1).filter(|before| *before >= ' ' && *before != '/')?;
        let head = &prefix[..prefix.len() - last.len_utf8()];
        let folder = self.folder.as_ref();
        let slash = if folder.is_empty() { "" } else { "/" };
        Path::parse(format!("{folder}{slash}{head}{before}{}", char::MAX)).ok()
    }

    /// What follows the folder in a key.
    fn below<'k>(&self, key: &'k Path) -> &'k str {
        key.as_ref().strip_prefix(self.folder.as_ref()).unwrap_or_default().trim_start_matches('/')
    }
}

/// Objects on their way to whoever takes them.
struct Batch<'a> {
    walk: &'a Walk,
    batches: &'a Sender<Vec<ObjectMeta>>,
    metas: Vec<ObjectMeta>,
    /// Those without a byte, which may be the marks of folders.
    empty: Vec<ObjectMeta>,
}

impl Batch<'_> {
    async fn add(&mut self, meta: ObjectMeta) -> Result<ControlFlow<NobodyTakes>, Error> {
        let below = self.walk.below(&meta.location);
        if below.is_empty() || !self.walk.names.matches(below) {
            return Ok(ControlFlow::Continue(()));
        }
        if meta.size == 0 && self.empty.len() < MAX_MARKERS {
            self.empty.push(meta);
            return Ok(ControlFlow::Continue(()));
        }
        self.metas.push(meta);
        if self.metas.len() < BATCH {
            return Ok(ControlFlow::Continue(()));
        }
        let sent = self.batches.send(std::mem::take(&mut self.metas)).await;
        Ok(if sent.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(NobodyTakes) })
    }

    async fn add_all(&mut self, metas: Vec<ObjectMeta>) -> Result<ControlFlow<NobodyTakes>, Error> {
        for meta in metas {
            if self.add(meta).await?.is_break() {
                return Ok(ControlFlow::Break(NobodyTakes));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Hands the rest over, without the marks of folders: a key that ends in `/` is listed without that,
    /// and nothing has the name that is left, or something else.
    async fn finish(self) -> Result<(), Error> {
        let Self { walk, batches, mut metas, empty } = self;
        let looked = stream::iter(empty).map(|meta| async move {
            match walk.store.head(&meta.location).await {
                Ok(now) => Ok((now.size == 0).then_some(meta)),
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        });
        let objects: Vec<Option<ObjectMeta>> = looked.buffer_unordered(AT_ONCE).try_collect().await?;
        metas.extend(objects.into_iter().flatten());
        // Whoever takes no more needs no more.
        let _ = batches.send(metas).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use object_store::memory::InMemory;

    use super::*;
    use crate::spec::StoreOptions;
    use crate::storage::{StoreEnvironment, Stores, list_inputs};

    /// A store with these keys, four bytes each.
    fn filled<'k>(keys: impl IntoIterator<Item = &'k String>) -> Stores {
        let stores = Stores::new(&StoreOptions::default(), StoreEnvironment::default());
        let memory = Arc::new(InMemory::new());
        let base: Uri = "s3://bucket".parse().expect("a URI");
        stores.give(base.clone(), memory.clone(), None);
        let paths: Vec<Path> = keys.into_iter().map(|key| Path::parse(key).expect("a key")).collect();
        let put = async move {
            for path in paths {
                memory.put(&path, "text".into()).await.expect("memory takes all");
            }
        };
        stores.at(&base).expect("given").runtime.wait(put);
        stores
    }

    #[test]
    fn large_listings_in_stretches_miss_and_repeat_nothing() {
        // Names that sort otherwise as folders than as parts of keys, and objects between the folders.
        let folders = ["a", "a-b", "a.b", "a0", "b", "c=1", "\u{e9}", "z z"];
        let mut keys = BTreeSet::new();
        for folder in folders {
            keys.extend((0..300).map(|n| format!("data/{folder}/{:03}/{n:04}.txt", n % 7)));
        }
        keys.extend(["data/a.txt", "data/b", "data/b.txt", "data/zz", "other/x.txt"].map(str::to_owned));
        let stores = filled(&keys);
        let check = |input: &str, expect: &dyn Fn(&str) -> bool| {
            let listed = list_inputs(&[format!("s3://bucket/{input}").parse().expect("a URI")], &stores);
            let listed: Vec<String> =
                listed.expect(input).iter().map(|object| object.uri.rest()["bucket/".len()..].to_owned()).collect();
            let expect: Vec<String> = keys.iter().filter(|key| expect(key)).cloned().collect();
            // All of it would be too long to read.
            let differs = listed.iter().zip(&expect).find(|(listed, expect)| listed != expect);
            assert_eq!((listed.len(), differs), (expect.len(), None), "{input}");
        };
        check("data", &|key| key.starts_with("data/"));
        check("data/", &|key| key.starts_with("data/"));
        check("", &|_| true);
        check("data/*/003/*", &|key| key.contains("/003/"));
        check("data/a*/**/*.txt", &|key| key.starts_with("data/a") && key[5..].contains('/'));
        check("data/a.*/**", &|key| key.starts_with("data/a."));
        check("data/[bz]*", &|key| key.starts_with("data/b") || key.starts_with("data/z"));
        check("data/*.txt", &|key| key.starts_with("data/") && key.ends_with(".txt") && !key[5..].contains('/'));
    }

    #[test]
    fn a_key_that_is_an_object_is_that_and_with_a_slash_its_folder() {
        let keys = ["a", "a/b", "a/c"].map(str::to_owned);
        let stores = filled(&keys);
        let list = |input: &str| -> Vec<String> {
            let listed = list_inputs(&[format!("s3://bucket/{input}").parse().expect("a URI")], &stores);
            listed.expect(input).iter().map(|object| object.uri.to_string()).collect()
        };
        assert_eq!(list("a"), ["s3://bucket/a"]);
        assert_eq!(list("a/"), ["s3://bucket/a/b", "s3://bucket/a/c"]);
        assert_eq!(list("").len(), 3);
    }
}
