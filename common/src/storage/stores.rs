//! Object stores by location: [`Stores`] opens each bucket once and hands out its client, so that all
//! readers and writers of a process share connections and credentials. Which credentials those are is
//! decided here and before anything is asked of a store; nothing here reads or writes an object.
//!
//! | file | responsibility |
//! |---|---|
//! | `stores/environment.rs` | what a process knows of stores: variables, home folder, the machine's kind |
//! | `stores/error.rs` | why a store cannot be opened |
//! | `stores/runtime.rs` | the one runtime on which store requests wait, and the way back from it |
//! | `stores/profile.rs` | the files in which the AWS tools keep keys; pure |
//! | `stores/s3.rs`, `gcs.rs`, `azure.rs`, `http.rs` | a client for each scheme, and its credentials |

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use object_store::ObjectStore;
use object_store::multipart::MultipartStore;
use object_store::path::Path;

use crate::naming::Uri;
use crate::spec::StoreOptions;

#[cfg(feature = "cloud")]
mod azure;
#[cfg(feature = "cloud")]
mod clients;
mod environment;
mod error;
#[cfg(feature = "cloud")]
mod gcs;
#[cfg(feature = "cloud")]
mod http;
#[cfg(feature = "cloud")]
mod profile;
mod runtime;
#[cfg(feature = "cloud")]
mod s3;

pub use environment::{Machine, StoreEnvironment};
pub use error::StoreError;
pub use runtime::StoreRuntime;
#[cfg(feature = "cloud")]
pub use s3::{S3RequestError, S3Requests};

/// The most buckets whose clients are kept. More saves opening connections anew where a job reads very
/// many buckets; fewer saves the memory of idle ones.
#[cfg(feature = "cloud")]
const MAX_OPEN_STORES: usize = 64;

/// All object stores that a process can reach. Cheap to clone; clones share clients.
///
/// `file` locations are none of its business: they are read and written through `std`.
#[derive(Clone)]
pub struct Stores {
    shared: Arc<Shared>,
    options: Arc<StoreOptions>,
}

struct Shared {
    environment: StoreEnvironment,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    runtime: Option<Arc<StoreRuntime>>,
    /// The most recently opened last.
    #[cfg(feature = "cloud")]
    open: Vec<(Arc<StoreOptions>, OpenStore)>,
    /// Stores that stand for themselves, whatever the options: those of tests.
    given: Vec<OpenStore>,
    #[cfg(feature = "cloud")]
    http: Option<object_store::client::HttpClient>,
}

/// A bucket that is open.
#[derive(Clone)]
struct OpenStore {
    base: Uri,
    store: Arc<dyn ObjectStore>,
    multipart: Option<Arc<dyn MultipartStore>>,
    access: Arc<StoreAccess>,
}

/// A location in an open store.
#[derive(Clone)]
pub struct StoreAt {
    /// The bucket's client.
    pub store: Arc<dyn ObjectStore>,
    /// The same client as one of uploads by id, where the store has such.
    pub multipart: Option<Arc<dyn MultipartStore>>,
    /// The location's key, byte for byte as in the URI; empty at the bucket itself.
    pub path: Path,
    /// The bucket (`s3://bucket`). A key of it is at `base.join(key)`.
    pub base: Uri,
    /// How the store is reached.
    pub access: Arc<StoreAccess>,
    /// Where to wait for what the store is asked.
    pub runtime: Arc<StoreRuntime>,
}

/// How a store is reached: what a user is told about it, and what its client does not offer. Holds no
/// secret that it shows.
#[derive(Default)]
pub struct StoreAccess {
    /// Where its credentials come from, in words; never the credentials.
    pub credentials: String,
    /// The URL that requests go to, where it is not the provider's own.
    pub endpoint: Option<String>,
    /// The region, where the store has such.
    pub region: Option<String>,
    /// Signed requests beyond what [`ObjectStore`] offers, for S3.
    #[cfg(feature = "cloud")]
    pub s3: Option<S3Requests>,
    #[cfg(feature = "cloud")]
    probe: Option<clients::Probe>,
}

impl Stores {
    /// The stores that are reached in this way by whoever has this environment. Opens nothing, starts no
    /// thread, and asks nobody: that is left to the first [`at`](Self::at).
    pub fn new(options: &StoreOptions, environment: StoreEnvironment) -> Self {
        let shared = Shared { environment, state: Mutex::default() };
        Self { shared: Arc::new(shared), options: Arc::new(options.clone()) }
    }

    /// Stores for whoever has no environment: those that are [given](Self::give), and none that asks for
    /// credentials.
    pub fn without_environment() -> Self {
        Self::new(&StoreOptions::default(), StoreEnvironment::default())
    }

    /// The same stores for a job with other options; shares clients where the options are equal.
    #[must_use]
    pub fn with_options(&self, options: &StoreOptions) -> Self {
        Self { shared: Arc::clone(&self.shared), options: Arc::new(options.clone()) }
    }

    /// How the stores are reached.
    pub fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// From now on, what lies below `base` is in this store. For tests and stores in memory.
    pub fn give(&self, base: Uri, store: Arc<dyn ObjectStore>, multipart: Option<Arc<dyn MultipartStore>>) {
        let access = StoreAccess { credentials: "given by the program".to_owned(), ..StoreAccess::default() };
        self.state().given.push(OpenStore { base, store, multipart, access: Arc::new(access) });
    }

    /// The runtime on which requests wait; starts it.
    ///
    /// # Errors
    ///
    /// If the operating system gives no threads.
    pub fn runtime(&self) -> Result<Arc<StoreRuntime>, StoreError> {
        self.state().runtime()
    }

    /// Opens the store of a location, or finds it open. Only looks at the environment and at files that
    /// it names; sends no request.
    ///
    /// # Errors
    ///
    /// If the scheme is not built in or is `file`, the location is malformed, or there are no credentials.
    pub fn at(&self, uri: &Uri) -> Result<StoreAt, StoreError> {
        let mut state = self.state();
        let runtime = state.runtime()?;
        let given = state.given.iter().find(|open| open.base.contains(uri)).cloned();
        let open = match given {
            Some(open) => open,
            None => self.open(&mut state, &runtime, uri)?,
        };
        let key = uri.rest()[open.base.rest().len()..].trim_start_matches('/');
        let path = Path::parse(key)
            .map_err(|error| StoreError::BadLocation { object: uri.to_string(), reason: error.to_string() })?;
        let OpenStore { base, store, multipart, access } = open;
        Ok(StoreAt { store, multipart, path, base, access, runtime })
    }

    /// Opens the store of a location and makes sure that its credentials can be had: asks whoever issues
    /// them, for at most two seconds, where they are not simply there.
    ///
    /// # Errors
    ///
    /// As [`at`](Self::at), and if no credentials are issued in that time.
    pub fn prepare(&self, uri: &Uri) -> Result<StoreAt, StoreError> {
        let at = self.at(uri)?;
        #[cfg(feature = "cloud")]
        clients::prove(&at, uri)?;
        Ok(at)
    }

    #[cfg(feature = "cloud")]
    fn open(&self, state: &mut State, runtime: &Arc<StoreRuntime>, uri: &Uri) -> Result<OpenStore, StoreError> {
        if matches!(uri.scheme(), "http" | "https") {
            return http::open(uri, runtime, &mut state.http);
        }
        let base = bucket_of(uri)?;
        let known = state.open.iter().find(|(options, open)| open.base == base && *options == self.options);
        if let Some((_, open)) = known {
            return Ok(open.clone());
        }
        let request = clients::Request {
            options: &self.options,
            environment: &self.shared.environment,
            runtime,
            bucket: base.rest(),
            uri,
        };
        let open = match uri.scheme() {
            "s3" => s3::open(&request),
            "gs" => gcs::open(&request),
            "az" => azure::open(&request),
            scheme => Err(StoreError::NotBuiltIn { scheme: scheme.to_owned(), object: uri.to_string() }),
        }?;
        let open = OpenStore { base, ..open };
        if state.open.len() >= MAX_OPEN_STORES {
            state.open.remove(0);
        }
        state.open.push((Arc::clone(&self.options), open.clone()));
        Ok(open)
    }

    #[cfg(not(feature = "cloud"))]
    fn open(&self, _state: &mut State, _runtime: &Arc<StoreRuntime>, uri: &Uri) -> Result<OpenStore, StoreError> {
        let _ = (bucket_of(uri)?, &self.shared.environment);
        Err(StoreError::NotBuiltIn { scheme: uri.scheme().to_owned(), object: uri.to_string() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn runtime(&mut self) -> Result<Arc<StoreRuntime>, StoreError> {
        if let Some(runtime) = &self.runtime {
            return Ok(Arc::clone(runtime));
        }
        let runtime = StoreRuntime::start().map_err(|source| StoreError::Runtime { source })?;
        let runtime = Arc::new(runtime);
        self.runtime = Some(Arc::clone(&runtime));
        Ok(runtime)
    }
}

/// The bucket of a location: its scheme and the first component.
fn bucket_of(uri: &Uri) -> Result<Uri, StoreError> {
    let bucket = uri.rest().split('/').next().unwrap_or_default();
    if uri.scheme() == "file" {
        return Err(StoreError::NotBuiltIn { scheme: "file".to_owned(), object: uri.to_string() });
    }
    let malformed = |reason: &str| StoreError::BadLocation { object: uri.to_string(), reason: reason.to_owned() };
    if bucket.is_empty() {
        return Err(malformed("it names no bucket"));
    }
    format!("{}://{bucket}", uri.scheme()).parse().map_err(|_| malformed("it names no bucket"))
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").field("options", &self.options).finish_non_exhaustive()
    }
}

impl fmt::Debug for StoreAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreAt").field("base", &self.base).field("path", &self.path).finish_non_exhaustive()
    }
}

impl fmt::Debug for StoreAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("StoreAccess");
        shown.field("credentials", &self.credentials).field("endpoint", &self.endpoint);
        shown.field("region", &self.region).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;
    use object_store::memory::InMemory;

    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().expect("a URI")
    }

    #[test]
    fn keys_are_the_bytes_of_their_uri() {
        let stores = Stores::new(&StoreOptions::default(), StoreEnvironment::default());
        let memory = Arc::new(InMemory::new());
        stores.give(uri("s3://bucket"), memory.clone(), Some(memory));
        for key in ["a b", "100%25", "100%", "k=v/x+y", "é/ü#?*[1].txt", "~!'()&;:@$"] {
            let at = stores.at(&uri("s3://bucket").join(key)).expect("given");
            assert_eq!((at.path.as_ref(), at.base.join(at.path.as_ref())), (key, uri("s3://bucket").join(key)));
            let store = Arc::clone(&at.store);
            let path = at.path.clone();
            let listed = at.runtime.wait(async move {
                store.put(&path, "x".into()).await?;
                store.head(&path).await
            });
            assert_eq!(listed.expect("put").location.as_ref(), key);
        }
        assert_eq!(stores.at(&uri("s3://bucket")).expect("the bucket").path, Path::ROOT);
    }

    #[test]
    fn malformed_locations_and_local_ones_are_refused() {
        let stores = Stores::new(&StoreOptions::default(), StoreEnvironment::default());
        let error = |text: &str| stores.at(&uri(text)).expect_err(text).to_string();
        assert_eq!(error("s3://"), "s3:// is no location in a store: it names no bucket");
        assert_eq!(error("/a"), "cannot open /a: nothing here reaches file:// stores");
    }

    #[cfg(feature = "cloud")]
    #[test]
    fn an_endpoint_with_a_secret_in_it_is_refused_and_not_shown() {
        for endpoint in
            ["http://user:hidden@host:9000", "user:hidden@host", "https://host/?sig=hidden", "https://host#hidden"]
        {
            let options = StoreOptions { endpoint: Some(endpoint.to_owned()), ..StoreOptions::default() };
            let variables = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];
            let stores = Stores::new(&options, StoreEnvironment::from_variables(variables, Machine::Other));
            let error = stores.at(&uri("s3://bucket/x")).expect_err(endpoint).to_string();
            assert!(error.contains("may hold no user, password or signature") && !error.contains("hidden"), "{error}");
        }
    }
}
