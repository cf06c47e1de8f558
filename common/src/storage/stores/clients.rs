//! What the clients of all schemes have in common: timeouts, retries, connections on the stores' own
//! runtime, and the proof that credentials can be had.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use object_store::client::SpawnedReqwestConnector;
use object_store::{BackoffConfig, ClientOptions, CredentialProvider, RetryConfig};

use super::{StoreAt, StoreEnvironment, StoreError, StoreRuntime};
use crate::naming::Uri;
use crate::spec::StoreOptions;

/// How long a store may take to accept a connection. Longer waits for hosts that are not there,
/// shorter gives up on ones that are far away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a store may send nothing. There is no limit for a request as a whole, which large parts
/// over a slow line would meet.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a request of an upload may take until its answer begins: the client counts from where it begins
/// to send, so this bounds how long a piece may be on its way. As long as a signature stays valid.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(300);

/// How long an idle connection is kept: S3 closes its end after some 20 seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// How often one request is sent again if the store cannot serve it, and for how long. More rides out
/// longer outages, fewer tells of them sooner.
const RETRIES: usize = 8;

/// As [`RETRIES`]; credentials of a request stay valid for five minutes.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long whoever issues credentials may take.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_millis(1500);

/// What a client is made of.
pub(super) struct Request<'a> {
    pub(super) options: &'a StoreOptions,
    pub(super) environment: &'a StoreEnvironment,
    pub(super) runtime: &'a Arc<StoreRuntime>,
    pub(super) bucket: &'a str,
    pub(super) uri: &'a Uri,
}

impl Request<'_> {
    pub(super) fn connector(&self) -> SpawnedReqwestConnector {
        SpawnedReqwestConnector::new(self.runtime.handle().clone())
    }

    /// Options that allow plain HTTP only at an endpoint that asks for it by name.
    pub(super) fn client_options(&self, endpoint: Option<&str>) -> ClientOptions {
        client_options(endpoint.is_some_and(|url| url.starts_with("http://")))
    }

    /// Why there is no client, in the words of whoever tried to make one.
    pub(super) fn misconfigured(&self, error: &object_store::Error) -> StoreError {
        StoreError::Misconfigured { object: self.uri.to_string(), reason: error.to_string() }
    }

    /// The endpoint that the options or the variables tell, checked.
    pub(super) fn endpoint(&self, variables: &[&str]) -> Result<Option<String>, StoreError> {
        let given = self.options.endpoint.as_deref().or_else(|| Some(self.environment.first(variables)?.1));
        given.map(|url| self.checked_endpoint(url)).transpose()
    }

    /// An endpoint as it is shown, kept with jobs and asked: it must not hold what nobody else may know.
    pub(super) fn checked_endpoint(&self, url: &str) -> Result<String, StoreError> {
        let refused = |reason: String| Err(StoreError::Misconfigured { object: self.uri.to_string(), reason });
        if url.contains(['@', '?', '#']) {
            let reason = "the endpoint may hold no user, password or signature: credentials come from the environment";
            return refused(reason.to_owned());
        }
        let known = url.starts_with("http://") || url.starts_with("https://");
        match url::Url::parse(url) {
            Ok(parsed) if known && parsed.has_host() => Ok(url.trim_end_matches('/').to_owned()),
            _ => refused(format!("the endpoint {url:?} is no URL such as http://127.0.0.1:9000")),
        }
    }
}

/// Timeouts that suit long reads.
pub(super) fn client_options(allow_http: bool) -> ClientOptions {
    ClientOptions::new()
        .with_timeout_disabled()
        .with_read_timeout(READ_TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_pool_idle_timeout(IDLE_TIMEOUT)
        .with_allow_http(allow_http)
}

/// The same, where what is sent takes the time.
pub(super) fn upload_options(options: ClientOptions) -> ClientOptions {
    options.with_read_timeout(UPLOAD_TIMEOUT)
}

pub(super) fn retries() -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(50), max_backoff: Duration::from_secs(5), base: 2.0 };
    RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT }
}

type Proof = Pin<Box<dyn Future<Output = Result<(), object_store::Error>> + Send>>;

/// Asks for credentials once; the client keeps what it got.
pub(super) type Probe = Box<dyn Fn() -> Proof + Send + Sync>;

/// A probe of credentials that somebody must issue.
pub(super) fn probe_of<T: Send + Sync + 'static>(provider: &Arc<dyn CredentialProvider<Credential = T>>) -> Probe {
    let provider = Arc::clone(provider);
    Box::new(move || {
        let provider = Arc::clone(&provider);
        Box::pin(async move { provider.get_credential().await.map(|_| ()) })
    })
}

/// Makes sure that the credentials of an open store can be had.
pub(super) fn prove(at: &StoreAt, uri: &Uri) -> Result<(), StoreError> {
    let Some(probe) = &at.access.probe else { return Ok(()) };
    let proof = probe();
    let proven = at.runtime.wait(async move { tokio::time::timeout(CREDENTIALS_TIMEOUT, proof).await });
    let reason = match proven {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {CREDENTIALS_TIMEOUT:?}"),
    };
    Err(StoreError::CredentialsRefused { object: uri.to_string(), origin: at.access.credentials.clone(), reason })
}
