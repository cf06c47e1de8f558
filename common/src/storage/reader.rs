//! Which reader a job's attempts get where they run in a process with credentials of its own.

use std::sync::Arc;

use crate::objects::{LocalObjects, ObjectReader};
use crate::spec::JobSpec;
use crate::storage::fetch::Fetcher;
use crate::storage::stores::Stores;
use crate::windowed::WindowedObjects;

/// A reader of all inputs of a job. One that reads local files alone needs no store.
pub fn reader_for(spec: &JobSpec, stores: &Stores) -> Arc<dyn ObjectReader> {
    let sides = spec.side_inputs.iter().map(|side| &side.uri);
    if spec.inputs.iter().chain(sides).all(|uri| uri.local_path().is_some()) {
        return LocalObjects::shared();
    }
    let fetcher = Fetcher::new(stores.with_options(&spec.store));
    Arc::new(WindowedObjects::new(Arc::new(fetcher), spec.attempt_bytes))
}
