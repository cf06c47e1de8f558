//! Any object store behind `object_store`'s trait. Which schemes have one is decided in
//! `listing.rs`; credentials and retries are the store's own.

use std::fmt;
use std::io;
use std::sync::Arc;

use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};
use tokio::runtime::{Builder, Runtime};

use crate::naming::Uri;
use crate::storage::error::InputError;
use crate::storage::listing::{Entry, Listing};
use crate::storage::pattern::NamesBelow;
use crate::task::InputObject;

/// Lists one bucket. Waits on a runtime of its own, so it must not be used on a thread of another.
pub struct ObjectStoreListing {
    store: Arc<dyn ObjectStore>,
    base: Uri,
    runtime: Runtime,
}

impl fmt::Debug for ObjectStoreListing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStoreListing").field("store", &self.store).field("base", &self.base).finish()
    }
}

impl ObjectStoreListing {
    /// A listing of `store`, whose root is the location `base` (`s3://bucket`).
    ///
    /// # Errors
    ///
    /// If the operating system gives no runtime.
    pub fn new(store: Arc<dyn ObjectStore>, base: Uri) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().build()?;
        Ok(Self { store, base, runtime })
    }

    /// The key of a location. `Path::parse` keeps it as it is, where `Path::from` would encode it.
    fn key(&self, uri: &Uri) -> Result<Path, InputError> {
        let key = if self.base.contains(uri) { &uri.rest()[self.base.rest().len()..] } else { uri.rest() };
        Path::parse(key).map_err(|source| InputError::store(uri.to_string(), source.into()))
    }

    fn object(&self, meta: ObjectMeta) -> InputObject {
        InputObject {
            uri: self.base.join(meta.location.as_ref()),
            size: meta.size,
            modified_micros: Some(meta.last_modified.timestamp_micros()),
            etag: meta.e_tag,
            form: None,
        }
    }
}

impl Listing for ObjectStoreListing {
    fn find(&self, uri: &Uri) -> Result<Entry, InputError> {
        let key = self.key(uri)?;
        let failed = |error| InputError::store(uri.to_string(), error);
        self.runtime.block_on(async {
            if !key.as_ref().is_empty() {
                match self.store.head(&key).await {
                    Ok(meta) => return Ok(Entry::Object(self.object(meta))),
                    Err(object_store::Error::NotFound { .. }) => {}
                    Err(error) => return Err(failed(error)),
                }
            }
            let first = self.store.list(Some(&key)).try_next().await.map_err(failed)?;
            Ok(if first.is_some() { Entry::Folder } else { Entry::Missing })
        })
    }

    fn list(
        &self,
        folder: &Uri,
        names: &NamesBelow,
        take: &mut dyn FnMut(InputObject) -> Result<(), InputError>,
    ) -> Result<(), InputError> {
        let key = self.key(folder)?;
        let failed = |error| InputError::store(folder.to_string(), error);
        self.runtime.block_on(async {
            let mut listed = self.store.list(Some(&key));
            while let Some(meta) = listed.try_next().await.map_err(failed)? {
                let below = meta.location.as_ref().strip_prefix(key.as_ref()).unwrap_or_default();
                if names.matches(below) && !below.is_empty() {
                    take(self.object(meta))?;
                }
            }
            Ok(())
        })
    }
}
