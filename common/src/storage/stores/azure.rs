//! Containers of Azure Blob Storage: the account, where its credentials come from, and their clients.

use std::sync::Arc;

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};

use super::clients::{self, Request};
use super::environment::{Machine, StoreEnvironment};
use super::{OpenStore, StoreAccess, StoreError};

const ACCOUNTS: [&str; 2] = ["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"];
const KEYS: [&str; 3] = ["AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_KEY"];
const SIGNATURES: [&str; 2] = ["AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"];
const CLIENTS: [&str; 2] = ["AZURE_CLIENT_ID", "AZURE_STORAGE_CLIENT_ID"];
const TENANTS: [&str; 2] = ["AZURE_TENANT_ID", "AZURE_STORAGE_TENANT_ID"];
const SECRETS: [&str; 2] = ["AZURE_CLIENT_SECRET", "AZURE_STORAGE_CLIENT_SECRET"];
const IDENTITIES: [&str; 4] = ["IDENTITY_ENDPOINT", "AZURE_IDENTITY_ENDPOINT", "MSI_ENDPOINT", "AZURE_MSI_ENDPOINT"];

/// Where a request's credentials come from: settings of the client, in words, and whether somebody
/// must be asked for them.
#[derive(Debug, Default)]
struct Source {
    settings: Vec<(AzureConfigKey, String)>,
    from: String,
    is_issued: bool,
}

/// What a connection string says.
#[derive(Debug, Default)]
struct Connection {
    account: Option<String>,
    key: Option<String>,
    signature: Option<String>,
    endpoint: Option<String>,
}

impl Connection {
    fn of(environment: &StoreEnvironment) -> Self {
        let mut found = Self::default();
        let text = environment.variable("AZURE_STORAGE_CONNECTION_STRING").unwrap_or_default();
        for (name, value) in text.split(';').filter_map(|pair| pair.split_once('=')) {
            let value = Some(value.to_owned());
            match name.trim().to_ascii_lowercase().as_str() {
                "accountname" => found.account = value,
                "accountkey" => found.key = value,
                "sharedaccesssignature" => found.signature = value,
                "blobendpoint" => found.endpoint = value,
                _ => {}
            }
        }
        found
    }
}

/// Opens a container.
pub(super) fn open(request: &Request<'_>) -> Result<OpenStore, StoreError> {
    let environment = request.environment;
    let connection = Connection::of(environment);
    let endpoint = match request.endpoint(&["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"])? {
        None => connection.endpoint.as_deref().map(|url| request.checked_endpoint(url)).transpose()?,
        endpoint => endpoint,
    };
    let account = environment.first(&ACCOUNTS).map(|(_, name)| name.to_owned()).or(connection.account.clone());
    let account = account.or_else(|| endpoint.as_deref().and_then(account_of)).ok_or_else(|| {
        let looked_for =
            vec![format!("the account's name in {} or AZURE_STORAGE_CONNECTION_STRING", ACCOUNTS.join(", "))];
        StoreError::NoCredentials { object: request.uri.to_string(), looked_for }
    })?;
    let source = match request.options.anonymous {
        true => Source {
            settings: vec![(AzureConfigKey::SkipSignature, "true".to_owned())],
            from: "none (anonymous)".to_owned(),
            is_issued: false,
        },
        false => find_source(request, &connection)?,
    };
    let mut builder = MicrosoftAzureBuilder::new()
        .with_client_options(request.client_options(endpoint.as_deref()))
        .with_retry(clients::retries())
        .with_account(account)
        .with_container_name(request.bucket)
        .with_http_connector(request.connector());
    if let Some(endpoint) = &endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    for (key, value) in &source.settings {
        builder = builder.with_config(*key, value);
    }
    let refused = |error: object_store::Error| StoreError::BadCredentials {
        object: request.uri.to_string(),
        origin: source.from.clone(),
        reason: error.to_string(),
    };
    let store = Arc::new(builder.clone().build().map_err(refused)?);
    let options = request.client_options(endpoint.as_deref());
    let uploads =
        builder.with_client_options(clients::upload_options(options)).with_credentials(Arc::clone(store.credentials()));
    let uploads = Arc::new(uploads.build().map_err(refused)?);
    let access = StoreAccess {
        credentials: source.from,
        endpoint,
        probe: source.is_issued.then(|| clients::probe_of(store.credentials())),
        ..StoreAccess::default()
    };
    Ok(OpenStore { base: request.uri.clone(), store, multipart: Some(uploads), access: Arc::new(access) })
}

/// The account that an endpoint names: `https://ACCOUNT.blob.core.windows.net`, or in the path, as with
/// emulators.
fn account_of(endpoint: &str) -> Option<String> {
    let url = url::Url::parse(endpoint).ok()?;
    let host = url.host_str()?;
    let in_host = host.split_once('.').filter(|(_, rest)| rest.contains(".core.") || rest.contains("fabric"));
    let in_path = || url.path_segments()?.next().filter(|name| !name.is_empty());
    in_host.map(|(account, _)| account).or_else(in_path).map(str::to_owned)
}

fn find_source(request: &Request<'_>, connection: &Connection) -> Result<Source, StoreError> {
    let environment = request.environment;
    let source = |settings: Vec<(AzureConfigKey, &str)>, from: &str, is_issued: bool| {
        let settings = settings.into_iter().map(|(key, value)| (key, value.to_owned())).collect();
        Ok(Source { settings, from: from.to_owned(), is_issued })
    };
    if let Some(token) = environment.variable("AZURE_STORAGE_TOKEN") {
        return source(vec![(AzureConfigKey::Token, token)], "AZURE_STORAGE_TOKEN", false);
    }
    if let Some((name, key)) = environment.first(&KEYS) {
        return source(vec![(AzureConfigKey::AccessKey, key)], name, false);
    }
    if let Some((name, signature)) = environment.first(&SIGNATURES) {
        return source(vec![(AzureConfigKey::SasKey, signature)], name, false);
    }
    let from = "AZURE_STORAGE_CONNECTION_STRING";
    if let Some(key) = &connection.key {
        return source(vec![(AzureConfigKey::AccessKey, key)], from, false);
    }
    if let Some(signature) = &connection.signature {
        return source(vec![(AzureConfigKey::SasKey, signature)], from, false);
    }
    let client = environment.first(&CLIENTS);
    if let (Some((name, client)), Some((_, tenant))) = (client, environment.first(&TENANTS)) {
        let who = vec![(AzureConfigKey::ClientId, client), (AzureConfigKey::AuthorityId, tenant)];
        if let Some(file) = environment.variable("AZURE_FEDERATED_TOKEN_FILE") {
            let settings = [who, vec![(AzureConfigKey::FederatedTokenFile, file)]].concat();
            return source(settings, &format!("{name} and AZURE_FEDERATED_TOKEN_FILE"), true);
        }
        if let Some((secret_name, secret)) = environment.first(&SECRETS) {
            let settings = [who, vec![(AzureConfigKey::ClientSecret, secret)]].concat();
            return source(settings, &format!("{name} and {secret_name}"), true);
        }
    }
    let identity = environment.first(&IDENTITIES);
    if identity.is_some() || environment.machine() == Machine::Azure {
        let endpoint = identity.map(|(_, url)| (AzureConfigKey::MsiEndpoint, url));
        let client = client.map(|(_, id)| (AzureConfigKey::ClientId, id));
        let settings = endpoint.into_iter().chain(client).collect();
        return source(settings, "the managed identity of this machine", true);
    }
    let looked_for = vec![
        format!("{}, {}, AZURE_STORAGE_TOKEN and {from} in the environment", KEYS.join(", "), SIGNATURES.join(", ")),
        "AZURE_CLIENT_ID and AZURE_TENANT_ID with AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE".to_owned(),
        "a managed identity (no IDENTITY_ENDPOINT is set and this is no Azure machine)".to_owned(),
    ];
    Err(StoreError::NoCredentials { object: request.uri.to_string(), looked_for })
}
