//! The service `Members`: certificates for workers, for a token or for the certificate before. Decides who
//! gets one by the [`JoinTokens`] and by who the caller is; whether the caller may ask at all was decided
//! in front of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gristmill_common::identity::{Identity, Role};
use gristmill_common::time::WallTime;
use gristmill_common::tls::{
    CertificateFacts, Credentials, FolderError, JoinToken, PeerIdentity, Subject, key_fingerprint, read_request,
};
use gristmill_common::wire::v1;
use tonic::{Request, Response, Status};

use super::refusal::with_hint;
use crate::runtime::{JoinTokens, TokensError, describe};

/// How long a worker's certificate lasts. Raised, a stolen one is of use for longer; lowered, workers that
/// were cut off for that long have to join again.
pub(super) const WORKER_LIFE: Duration = Duration::from_secs(24 * 3600);

/// The longest that a token may wait.
const MAX_TOKEN_LIFE: Duration = Duration::from_secs(30 * 86_400);

/// The most tokens of one request.
const MAX_TOKENS_AT_ONCE: usize = 1000;

/// Gives certificates to workers.
#[derive(Debug, Clone)]
pub(super) struct MembersService {
    /// `None` if this master does not encrypt.
    issuing: Option<Issuing>,
}

#[derive(Debug, Clone)]
struct Issuing {
    credentials: Arc<Credentials>,
    tokens: Arc<Mutex<JoinTokens>>,
}

impl MembersService {
    pub(super) fn new(credentials: Option<Arc<Credentials>>, tokens: JoinTokens) -> Self {
        let tokens = Arc::new(Mutex::new(tokens));
        Self { issuing: credentials.map(|credentials| Issuing { credentials, tokens }) }
    }

    /// Does what waits for the disk, beside the runtime.
    async fn beside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Issuing) -> Result<T, Status> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let Some(issuing) = self.issuing.clone() else {
            let refused = Status::failed_precondition("this master has no certificates, so nobody needs one here");
            return Err(with_hint(refused, Some("start it with --certs DIR")));
        };
        let done = tokio::task::spawn_blocking(move || work(&issuing)).await;
        done.map_err(|error| Status::internal(error.to_string()))?.map(Response::new)
    }
}

#[tonic::async_trait]
impl v1::members_server::Members for MembersService {
    async fn create_join_tokens(
        &self,
        request: Request<v1::CreateJoinTokensRequest>,
    ) -> Result<Response<v1::CreateJoinTokensReply>, Status> {
        let by = peer(&request);
        let request = request.into_inner();
        self.beside(move |issuing| issuing.create(&request, by.as_ref())).await
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::CertificateReply>, Status> {
        let request = request.into_inner();
        self.beside(move |issuing| issuing.join(&request)).await
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::CertificateReply>, Status> {
        let peer = peer(&request).filter(|peer| peer.identity.role() == Role::Worker);
        let peer = peer.ok_or_else(|| Status::unauthenticated("only a worker with a certificate gets a new one"))?;
        let request = request.into_inner();
        self.beside(move |issuing| {
            let reply = issuing.certify(&peer.identity, &request.request)?;
            tracing::info!(worker = %peer.identity, serial = peer.serial, "certificate renewed");
            Ok(reply)
        })
        .await
    }
}

fn peer<T>(request: &Request<T>) -> Option<PeerIdentity> {
    PeerIdentity::of(request.extensions()).cloned()
}

impl Issuing {
    fn create(
        &self,
        request: &v1::CreateJoinTokensRequest,
        by: Option<&PeerIdentity>,
    ) -> Result<v1::CreateJoinTokensReply, Status> {
        let now = self.now();
        let life = Duration::from_secs(request.life_s);
        if request.names.is_empty() || request.names.len() > MAX_TOKENS_AT_ONCE {
            return Err(Status::invalid_argument(format!("tokens are made 1 to {MAX_TOKENS_AT_ONCE} at once")));
        }
        if life.is_zero() || life > MAX_TOKEN_LIFE {
            return Err(Status::invalid_argument("a token lasts from one second to 30 days"));
        }
        // A token that nobody could use is not given out.
        self.credentials.signer().map_err(|error| no_issuer(&error))?;
        let authority = self.credentials.current();
        let authority = authority.authority.certificates().first().expect("an authority has a certificate");
        let pin = CertificateFacts::read(authority).map_err(|error| Status::internal(error.to_string()))?.fingerprint;
        let mut tokens = Vec::new();
        for name in &request.names {
            let name = Some(name.clone()).filter(|name| !name.is_empty());
            if let Some(name) = &name {
                Identity::new(Role::Worker, name).map_err(|error| Status::invalid_argument(error.to_string()))?;
            }
            tokens.push((JoinToken::new(pin).map_err(|_| Status::internal("no random bytes"))?, name));
        }
        let ends = WallTime { unix_millis: now.unix_millis.saturating_add(request.life_s * 1000) };
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).add(&tokens, ends, now).map_err(|error| {
            let status = match error {
                TokensError::TooMany => Status::resource_exhausted(describe(&error)),
                _ => Status::internal(describe(&error)),
            };
            with_hint(status, None)
        })?;
        for (token, name) in &tokens {
            let by = by.map(|by| by.identity.to_string());
            tracing::info!(by, token = token.number(), name, %ends, "token to join with given out");
        }
        Ok(v1::CreateJoinTokensReply { tokens: tokens.iter().map(|(token, _)| token.to_text()).collect() })
    }

    fn join(&self, request: &v1::JoinRequest) -> Result<v1::CertificateReply, Status> {
        let token: JoinToken =
            request.token.parse().map_err(|error| Status::unauthenticated(format!("wrong token: {error}")))?;
        // What can fail fails before the token is used up.
        self.credentials.signer().map_err(|error| no_issuer(&error))?;
        let key = read_request(&request.request).map_err(|error| Status::invalid_argument(describe(&error)))?;
        let key = key_fingerprint(&key);
        let redeemed = {
            let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.redeem(&token, &key, &request.machine, self.now())
        };
        let redeemed = redeemed.map_err(|error| Status::internal(describe(&error)))?;
        let worker = redeemed.map_err(|refusal| {
            tracing::warn!(token = token.number(), %refusal, "token refused");
            with_hint(
                Status::unauthenticated(refusal.to_string()),
                Some("an admin makes one with: gristmill certs join-token"),
            )
        })?;
        let reply = self.certify(&worker, &request.request)?;
        tracing::info!(%worker, token = token.number(), "worker joined");
        Ok(reply)
    }

    /// A certificate that the key in `request` is this worker's.
    fn certify(&self, worker: &Identity, request: &[u8]) -> Result<v1::CertificateReply, Status> {
        let signer = self.credentials.signer().map_err(|error| no_issuer(&error))?;
        let key = read_request(request).map_err(|error| Status::invalid_argument(describe(&error)))?;
        let subject = Subject { identity: worker, hosts: &[] };
        let certificate = signer.certify(subject, &key, WORKER_LIFE, self.now());
        let certificate = certificate.map_err(|error| Status::failed_precondition(describe(&error)))?;
        let authority = self.credentials.current();
        Ok(v1::CertificateReply {
            chain: vec![certificate.to_vec(), signer.certificate().to_vec()],
            authority: authority.authority.certificates().iter().map(|der| der.to_vec()).collect(),
        })
    }

    fn now(&self) -> WallTime {
        self.credentials.clock().now()
    }
}

fn no_issuer(error: &FolderError) -> Status {
    let refused = Status::failed_precondition(format!("this master issues no certificates: {}", describe(error)));
    with_hint(refused, Some("certs init and certs issue master/NAME put an issuer.pem beside the master's certificate"))
}
