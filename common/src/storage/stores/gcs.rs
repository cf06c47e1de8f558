//! Buckets of Google Cloud Storage: where their credentials come from, in the order of Google's
//! tools, and their clients.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder, GoogleConfigKey};

use super::clients::{self, Request};
use super::environment::Machine;
use super::{OpenStore, StoreAccess, StoreError};

/// Variables that name a file with a service account's key.
const ACCOUNT_FILES: [&str; 3] = ["GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "SERVICE_ACCOUNT"];

/// Where a request's credentials come from.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    Anonymous,
    /// A setting of the client, and where it comes from.
    Setting {
        key: GoogleConfigKey,
        value: String,
        from: String,
    },
    /// The machine's host gives them.
    Instance,
}

/// Opens a bucket.
pub(super) fn open(request: &Request<'_>) -> Result<OpenStore, StoreError> {
    let source = if request.options.anonymous { Source::Anonymous } else { find_source(request)? };
    let endpoint = request.endpoint(&["GOOGLE_BASE_URL"])?;
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_client_options(request.client_options(endpoint.as_deref()))
        .with_retry(clients::retries())
        .with_bucket_name(request.bucket)
        .with_http_connector(request.connector());
    if let Some(endpoint) = &endpoint {
        builder = builder.with_base_url(endpoint);
    }
    let credentials = match &source {
        Source::Anonymous => "none (anonymous)".to_owned(),
        Source::Setting { from, .. } => from.clone(),
        Source::Instance => "the service account of this Compute Engine machine".to_owned(),
    };
    builder = match &source {
        // With credentials given, the client does not look for a file of its own.
        Source::Anonymous => builder
            .with_skip_signature(true)
            .with_credentials(Arc::new(StaticCredentialProvider::new(GcpCredential { bearer: String::new() }))),
        Source::Setting { key, value, .. } => builder.with_config(*key, value),
        Source::Instance => builder,
    };
    let refused = |error: object_store::Error| StoreError::BadCredentials {
        object: request.uri.to_string(),
        origin: credentials.clone(),
        reason: error.to_string(),
    };
    let store = Arc::new(builder.clone().build().map_err(refused)?);
    let options = request.client_options(endpoint.as_deref());
    let uploads =
        builder.with_client_options(clients::upload_options(options)).with_credentials(Arc::clone(store.credentials()));
    let uploads = Arc::new(uploads.build().map_err(refused)?);
    let is_static = matches!(&source, Source::Anonymous)
        || matches!(&source, Source::Setting { key, .. } if *key == GoogleConfigKey::BearerToken);
    let access = StoreAccess {
        credentials,
        endpoint,
        probe: (!is_static).then(|| clients::probe_of(store.credentials())),
        ..StoreAccess::default()
    };
    Ok(OpenStore { base: request.uri.clone(), store, multipart: Some(uploads), access: Arc::new(access) })
}

fn find_source(request: &Request<'_>) -> Result<Source, StoreError> {
    let environment = request.environment;
    let setting =
        |key: GoogleConfigKey, value: &str, from: String| Ok(Source::Setting { key, value: value.to_owned(), from });
    if let Some((name, path)) = environment.first(&ACCOUNT_FILES) {
        return setting(GoogleConfigKey::ServiceAccount, path, format!("{name} ({path})"));
    }
    if let Some(key) = environment.variable("GOOGLE_SERVICE_ACCOUNT_KEY") {
        return setting(GoogleConfigKey::ServiceAccountKey, key, "GOOGLE_SERVICE_ACCOUNT_KEY".to_owned());
    }
    if let Some(token) = environment.variable("GOOGLE_BEARER_TOKEN") {
        return setting(GoogleConfigKey::BearerToken, token, "GOOGLE_BEARER_TOKEN".to_owned());
    }
    if let Some(path) = environment.variable("GOOGLE_APPLICATION_CREDENTIALS") {
        let from = format!("GOOGLE_APPLICATION_CREDENTIALS ({path})");
        return setting(GoogleConfigKey::ApplicationCredentials, path, from);
    }
    let mut looked_for = vec![
        "GOOGLE_SERVICE_ACCOUNT, GOOGLE_SERVICE_ACCOUNT_KEY, GOOGLE_BEARER_TOKEN and \
         GOOGLE_APPLICATION_CREDENTIALS in the environment"
            .to_owned(),
    ];
    let folder = environment.variable("CLOUDSDK_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| Some(environment.home()?.join(".config/gcloud")));
    match folder.map(|folder| folder.join("application_default_credentials.json")) {
        Some(path) if path.is_file() => {
            let path = path.display().to_string();
            return setting(GoogleConfigKey::ApplicationCredentials, &path, path.clone());
        }
        Some(path) => looked_for.push(path.display().to_string()),
        None => looked_for.push("a home folder".to_owned()),
    }
    let named = environment.first(&["GCE_METADATA_HOST", "GCE_METADATA_IP"]).is_some();
    if named || environment.machine() == Machine::Gce {
        return Ok(Source::Instance);
    }
    looked_for.push("a machine's service account (this is no Compute Engine machine)".to_owned());
    Err(StoreError::NoCredentials { object: request.uri.to_string(), looked_for })
}
