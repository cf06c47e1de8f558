//! Buckets of S3 and of stores that speak its protocol: where their credentials come from, in the
//! order of the AWS tools, and their clients.
//!
//! The instance metadata service is asked only on a machine that has one: elsewhere its address leads
//! nowhere, and waiting for it would take minutes.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures::TryStreamExt as _;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector as _, HttpRequestBody};

use super::clients::{self, Request};
use super::environment::Machine;
use super::profile::{Settings, settings_of};
use super::{OpenStore, StoreAccess, StoreError};

/// The region of requests if nothing tells another; stores other than Amazon's take any.
const DEFAULT_REGION: &str = "us-east-1";

/// The most bytes of an answer to a request of [`S3Requests`].
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// Where a request's credentials come from.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    /// None are sent.
    Anonymous,
    /// They are there.
    Keys { id: String, secret: String, token: Option<String>, from: String },
    /// A token in a file is exchanged for them.
    WebIdentity { token_file: String, role: String, from: String },
    /// The container's host gives them.
    Container { key: AmazonS3ConfigKey, uri: String, token_file: Option<String> },
    /// The machine's host gives them.
    Instance,
}

impl Source {
    fn describe(&self) -> String {
        match self {
            Source::Anonymous => "none (anonymous)".to_owned(),
            Source::Keys { from, .. } => from.clone(),
            Source::WebIdentity { from, .. } => from.clone(),
            Source::Container { .. } => "the container's credentials endpoint".to_owned(),
            Source::Instance => "the EC2 instance's role".to_owned(),
        }
    }

    /// Whether somebody must be asked for them.
    fn is_issued(&self) -> bool {
        matches!(self, Source::WebIdentity { .. } | Source::Container { .. } | Source::Instance)
    }
}

/// The files of profiles, as far as they are there.
#[derive(Debug, Default)]
struct Profile {
    name: String,
    credentials: Option<Settings>,
    config: Option<Settings>,
    credentials_path: Option<PathBuf>,
    config_path: Option<PathBuf>,
}

impl Profile {
    fn of(request: &Request<'_>) -> Result<Self, StoreError> {
        let environment = request.environment;
        let named = environment.first(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]).map(|(_, name)| name);
        let name = named.unwrap_or("default").to_owned();
        let path = |variable: &str, file: &str| {
            let given = environment.variable(variable).map(PathBuf::from);
            given.or_else(|| Some(environment.home()?.join(".aws").join(file)))
        };
        let mut profile = Self {
            credentials_path: path("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
            config_path: path("AWS_CONFIG_FILE", "config"),
            name,
            ..Self::default()
        };
        let read = |path: &Option<PathBuf>, is_config: bool| -> Result<Option<Settings>, StoreError> {
            let Some(path) = path else { return Ok(None) };
            match fs::read_to_string(path) {
                Ok(text) => Ok(settings_of(&text, &profile.name, is_config)),
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    Ok(None)
                }
                Err(error) => Err(StoreError::BadCredentials {
                    object: request.uri.to_string(),
                    origin: path.display().to_string(),
                    reason: error.to_string(),
                }),
            }
        };
        let (credentials, config) = (read(&profile.credentials_path, false)?, read(&profile.config_path, true)?);
        (profile.credentials, profile.config) = (credentials, config);
        Ok(profile)
    }

    /// A setting, from the file of keys first.
    fn setting(&self, name: &str) -> Option<&str> {
        let files = [&self.credentials, &self.config];
        let value = files.into_iter().flatten().find_map(|settings| settings.get(name));
        value.map(String::as_str).filter(|value| !value.is_empty())
    }

    fn shown(&self) -> String {
        let paths = [&self.credentials_path, &self.config_path];
        let paths: Vec<String> = paths.into_iter().flatten().map(|path| path.display().to_string()).collect();
        if paths.is_empty() { "no home folder".to_owned() } else { paths.join(" and ") }
    }
}

/// Opens a bucket.
pub(super) fn open(request: &Request<'_>) -> Result<OpenStore, StoreError> {
    let profile = Profile::of(request)?;
    let source = if request.options.anonymous { Source::Anonymous } else { find_source(request, &profile)? };
    let endpoint = match request.endpoint(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"])? {
        None => profile.setting("endpoint_url").map(|url| request.checked_endpoint(url)).transpose()?,
        endpoint => endpoint,
    };
    let named = request.options.region.as_deref();
    let named = named.or_else(|| Some(request.environment.first(&["AWS_REGION", "AWS_DEFAULT_REGION"])?.1));
    let region = named.or_else(|| profile.setting("region")).unwrap_or(DEFAULT_REGION).to_owned();

    let options = request.client_options(endpoint.as_deref());
    let mut builder = AmazonS3Builder::new().with_client_options(options.clone()).with_retry(clients::retries());
    builder = with_variables(builder, request);
    builder = builder.with_bucket_name(request.bucket).with_region(&region).with_http_connector(request.connector());
    if let Some(endpoint) = &endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    builder = with_source(builder, &source, request);
    let store = Arc::new(builder.clone().build().map_err(|error| request.misconfigured(&error))?);
    // Credentials that are issued are issued once for both.
    let uploads = builder
        .with_client_options(clients::upload_options(options.clone()))
        .with_credentials(Arc::clone(store.credentials()));
    let uploads = Arc::new(uploads.build().map_err(|error| request.misconfigured(&error))?);

    let http = request.connector().connect(&options).map_err(|error| request.misconfigured(&error))?;
    let host = endpoint.clone().unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
    let s3 = S3Requests {
        http,
        credentials: (source != Source::Anonymous).then(|| Arc::clone(store.credentials())),
        region: region.clone(),
        bucket_url: format!("{host}/{}", request.bucket),
    };
    let access = StoreAccess {
        credentials: source.describe(),
        endpoint,
        region: Some(region),
        s3: Some(s3),
        probe: source.is_issued().then(|| clients::probe_of(store.credentials())),
    };
    Ok(OpenStore { base: request.uri.clone(), store, multipart: Some(uploads), access: Arc::new(access) })
}

/// Takes over settings from the environment that say neither who asks nor where: encryption, who pays.
fn with_variables(mut builder: AmazonS3Builder, request: &Request<'_>) -> AmazonS3Builder {
    use AmazonS3ConfigKey as Key;
    for (name, value) in request.environment.variables_of("AWS_") {
        match name.to_ascii_lowercase().parse::<Key>() {
            Ok(
                Key::AccessKeyId
                | Key::SecretAccessKey
                | Key::Token
                | Key::Bucket
                | Key::Endpoint
                | Key::S3Endpoint
                | Key::Region
                | Key::DefaultRegion
                | Key::WebIdentityTokenFile
                | Key::RoleArn
                | Key::ContainerCredentialsRelativeUri
                | Key::ContainerCredentialsFullUri
                | Key::ContainerAuthorizationTokenFile
                | Key::SkipSignature,
            )
            | Err(_) => {}
            Ok(key) => builder = builder.with_config(key, value),
        }
    }
    builder
}

fn with_source(builder: AmazonS3Builder, source: &Source, request: &Request<'_>) -> AmazonS3Builder {
    match source {
        Source::Anonymous => builder.with_skip_signature(true),
        Source::Keys { id, secret, token, .. } => {
            let builder = builder.with_access_key_id(id).with_secret_access_key(secret);
            match token {
                Some(token) => builder.with_token(token),
                None => builder,
            }
        }
        Source::WebIdentity { token_file, role, .. } => {
            let builder = builder.with_config(AmazonS3ConfigKey::WebIdentityTokenFile, token_file);
            builder.with_config(AmazonS3ConfigKey::RoleArn, role)
        }
        Source::Container { key, uri, token_file } => {
            let builder = builder.with_config(*key, uri);
            match token_file {
                Some(file) => builder.with_config(AmazonS3ConfigKey::ContainerAuthorizationTokenFile, file),
                None => builder,
            }
        }
        Source::Instance => match request.environment.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
            Some(endpoint) => builder.with_metadata_endpoint(endpoint),
            None => builder,
        },
    }
}

/// The first of the places in which credentials are, in the order of the AWS tools.
fn find_source(request: &Request<'_>, profile: &Profile) -> Result<Source, StoreError> {
    let environment = request.environment;
    let mut looked_for = Vec::new();
    let bad = |origin: &str, reason: String| {
        Err(StoreError::BadCredentials { object: request.uri.to_string(), origin: origin.to_owned(), reason })
    };

    match (environment.variable("AWS_ACCESS_KEY_ID"), environment.variable("AWS_SECRET_ACCESS_KEY")) {
        (Some(id), Some(secret)) => {
            let token = environment.variable("AWS_SESSION_TOKEN").map(str::to_owned);
            let from = "AWS_ACCESS_KEY_ID in the environment".to_owned();
            return Ok(Source::Keys { id: id.to_owned(), secret: secret.to_owned(), token, from });
        }
        (Some(_), None) => return bad("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY is not set".to_owned()),
        (None, Some(_)) => return bad("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID is not set".to_owned()),
        (None, None) => looked_for.push("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment".to_owned()),
    }

    let origin = format!("the profile \"{}\" in {}", profile.name, profile.shown());
    match (profile.setting("aws_access_key_id"), profile.setting("aws_secret_access_key")) {
        (Some(id), Some(secret)) => {
            let token = profile.setting("aws_session_token").map(str::to_owned);
            return Ok(Source::Keys { id: id.to_owned(), secret: secret.to_owned(), token, from: origin });
        }
        (None, None) => {}
        _ => return bad(&origin, "it has only one of aws_access_key_id and aws_secret_access_key".to_owned()),
    }
    if let (Some(file), Some(role)) = (profile.setting("web_identity_token_file"), profile.setting("role_arn")) {
        return Ok(Source::WebIdentity { token_file: file.to_owned(), role: role.to_owned(), from: origin });
    }
    let others = ["credential_process", "sso_session", "sso_start_url", "source_profile", "login_session"];
    if let Some(other) = others.into_iter().find(|name| profile.setting(name).is_some()) {
        let how = "`aws configure export-credentials --format env` gives keys for the environment";
        return bad(&origin, format!("it says {other}, which is not understood here; {how}"));
    }
    looked_for.push(origin);

    let web = (environment.variable("AWS_WEB_IDENTITY_TOKEN_FILE"), environment.variable("AWS_ROLE_ARN"));
    if let (Some(file), Some(role)) = web {
        let from = "AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN".to_owned();
        return Ok(Source::WebIdentity { token_file: file.to_owned(), role: role.to_owned(), from });
    }
    looked_for.push("AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN".to_owned());
    find_issuer(request, looked_for)
}

/// Whoever gives credentials to a container or a machine, if this is one.
fn find_issuer(request: &Request<'_>, mut looked_for: Vec<String>) -> Result<Source, StoreError> {
    let environment = request.environment;
    if let Some(uri) = environment.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        let key = AmazonS3ConfigKey::ContainerCredentialsRelativeUri;
        return Ok(Source::Container { key, uri: uri.to_owned(), token_file: None });
    }
    let full = environment.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if let (Some(uri), Some(file)) = (full, environment.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")) {
        let key = AmazonS3ConfigKey::ContainerCredentialsFullUri;
        return Ok(Source::Container { key, uri: uri.to_owned(), token_file: Some(file.to_owned()) });
    }
    looked_for.push("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI".to_owned());

    let disabled = environment.variable("AWS_EC2_METADATA_DISABLED").is_some_and(|no| no.eq_ignore_ascii_case("true"));
    let named = environment.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT").is_some();
    if !disabled && (named || environment.machine() == Machine::Ec2) {
        return Ok(Source::Instance);
    }
    let why = if disabled { "AWS_EC2_METADATA_DISABLED is set" } else { "this is no EC2 instance" };
    looked_for.push(format!("an instance role ({why})"));
    Err(StoreError::NoCredentials { object: request.uri.to_string(), looked_for })
}

/// Signed requests about a bucket that `object_store` does not offer.
pub struct S3Requests {
    http: HttpClient,
    credentials: Option<AwsCredentialProvider>,
    region: String,
    bucket_url: String,
}

/// Why a request of [`S3Requests`] has no answer.
#[derive(Debug, thiserror::Error)]
pub enum S3RequestError {
    /// The request cannot be made or signed, or there are no credentials.
    #[error("cannot sign the request: {source}")]
    Unsigned {
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// The query makes no URL.
    #[error("{query:?} is no query: {source}")]
    BadQuery {
        /// The query.
        query: String,
        /// Why.
        #[source]
        source: ::http::Error,
    },
    /// The store did not answer.
    #[error("no answer: {source}")]
    NoAnswer {
        /// Why.
        #[source]
        source: object_store::client::HttpError,
    },
    /// The store refused.
    #[error("the answer is {status}: {body}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it says, cut short.
        body: String,
    },
    /// The answer is longer than any that is asked for.
    #[error("the answer is longer than {MAX_ANSWER_BYTES} bytes")]
    TooLong,
}

impl S3Requests {
    /// The answer to a GET of the bucket with this query, which is percent-encoded already
    /// (`uploads&prefix=out%2F`). Sent once: whoever asks decides about trying again.
    ///
    /// # Errors
    ///
    /// If it cannot be signed, or there is no answer that says success.
    pub async fn ask_bucket(&self, query: &str) -> Result<String, S3RequestError> {
        let request = ::http::Request::builder().method("GET").uri(format!("{}/?{query}", self.bucket_url));
        let request = request.body(HttpRequestBody::empty());
        let mut request = request.map_err(|source| S3RequestError::BadQuery { query: query.to_owned(), source })?;
        if let Some(credentials) = &self.credentials {
            let credential = credentials.get_credential().await;
            let credential = credential.map_err(|source| S3RequestError::Unsigned { source })?;
            let authorizer = AwsAuthorizer::new(&credential, "s3", &self.region);
            authorizer.try_authorize(&mut request, None).map_err(|source| S3RequestError::Unsigned { source })?;
        }
        let no_answer = |source| S3RequestError::NoAnswer { source };
        let answer = self.http.execute(request).await.map_err(no_answer)?;
        let status = answer.status();
        let mut body = Vec::new();
        let mut stream = answer.into_body().bytes_stream();
        while let Some(bytes) = stream.try_next().await.map_err(no_answer)? {
            if body.len() + bytes.len() > MAX_ANSWER_BYTES {
                return Err(S3RequestError::TooLong);
            }
            body.extend_from_slice(&bytes);
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        if status.is_success() {
            return Ok(body);
        }
        let body = body.chars().take(300).collect();
        Err(S3RequestError::Refused { status: status.as_u16(), body })
    }
}
