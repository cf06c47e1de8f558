//! Objects behind plain HTTP and HTTPS, each a store of its own: their servers have no buckets, list
//! nothing and are only read from. All of them share one client.

use std::sync::Arc;

use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, SpawnedReqwestConnector};
use object_store::http::HttpBuilder;

use super::clients;
use super::{OpenStore, StoreAccess, StoreError, StoreRuntime};
use crate::naming::Uri;

/// Hands out a client that is there already.
#[derive(Debug)]
struct Shared(HttpClient);

impl HttpConnector for Shared {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.0.clone())
    }
}

/// Opens the store of one URL, whose only key is the empty one.
pub(super) fn open(
    uri: &Uri,
    runtime: &Arc<StoreRuntime>,
    client: &mut Option<HttpClient>,
) -> Result<OpenStore, StoreError> {
    let misconfigured =
        |error: object_store::Error| StoreError::Misconfigured { object: uri.to_string(), reason: error.to_string() };
    let options = clients::client_options(true);
    let shared = match client {
        Some(client) => client.clone(),
        None => {
            let connector = SpawnedReqwestConnector::new(runtime.handle().clone());
            client.insert(connector.connect(&options).map_err(misconfigured)?).clone()
        }
    };
    let url = uri.to_string();
    if !url::Url::parse(&url).is_ok_and(|url| url.has_host()) {
        return Err(StoreError::BadLocation { object: url, reason: "it is no URL with a host".to_owned() });
    }
    let store = HttpBuilder::new()
        .with_url(url)
        .with_client_options(options)
        .with_retry(clients::retries())
        .with_http_connector(Shared(shared))
        .build()
        .map_err(misconfigured)?;
    let access = StoreAccess { credentials: "none".to_owned(), ..StoreAccess::default() };
    Ok(OpenStore { base: uri.clone(), store: Arc::new(store), multipart: None, access: Arc::new(access) })
}
