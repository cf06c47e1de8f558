//! The server's answer to those who showed no certificate that counts: a status that says why, and nothing
//! else. What those may do who showed one, the [`Gate`] decides by role alone; finer rules come behind it.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use futures::future::{Either, Ready, ready};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tower::Layer;

use super::moment::WallSource;
use super::peer::{Connection, Proof};
use super::problem::CertificateProblem;
use crate::identity::Role;

/// Who may make a call.
#[derive(Debug, Clone, Copy)]
pub enum Access {
    /// Everybody, without a certificate too.
    Anybody,
    /// Those whose certificate is of a role.
    Holders {
        /// Which roles may.
        allowed: fn(Role) -> bool,
        /// Whose certificate that is, with an article.
        needed: &'static str,
    },
    /// Nobody: for calls of which nothing is known.
    Nobody,
}

/// Who may make a call, by its path.
pub type Rule = fn(&str) -> Access;

/// Stands in front of all services of a server that encrypts. Without a rule it lets everything through, for
/// servers that do not.
#[derive(Debug, Clone)]
pub struct Gate(Option<Arc<Rules>>);

#[derive(Debug)]
struct Rules {
    rule: Rule,
    clock: WallSource,
}

impl Gate {
    /// Lets everything through.
    pub fn open() -> Self {
        Self(None)
    }

    /// Lets through what the rule allows.
    pub fn new(rule: Rule, clock: WallSource) -> Self {
        Self(Some(Arc::new(Rules { rule, clock })))
    }

    fn check<B>(&self, request: &Request<B>) -> Result<(), CertificateProblem> {
        let Some(rules) = &self.0 else { return Ok(()) };
        let access = (rules.rule)(request.uri().path());
        if let Access::Anybody = access {
            return Ok(());
        }
        // A request without a connection came past the acceptor: nothing is known of it.
        let proof = Connection::of(request.extensions()).map(|connection| &connection.proof);
        match proof.ok_or(CertificateProblem::Missing)? {
            Proof::Nobody => Err(CertificateProblem::Missing),
            Proof::Refused(problem) => Err(problem.clone()),
            Proof::Proven { peer, expires } => {
                let (whose, now) = (peer.identity.to_string(), rules.clock.now());
                if *expires < now {
                    return Err(CertificateProblem::Expired { whose, end: *expires, now });
                }
                match access {
                    Access::Holders { allowed, .. } if allowed(peer.identity.role()) => Ok(()),
                    Access::Holders { needed, .. } => Err(CertificateProblem::WrongRole { whose, needed }),
                    Access::Anybody | Access::Nobody => Err(CertificateProblem::NoRule { whose }),
                }
            }
        }
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { gate: self.clone(), inner }
    }
}

/// A service behind a [`Gate`].
#[derive(Debug, Clone)]
pub struct Gated<S> {
    gate: Gate,
    inner: S,
}

impl<S, B> Service<Request<B>> for Gated<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.gate.check(&request) {
            Ok(()) => self.inner.call(request).left_future(),
            Err(problem) => {
                let connection = Connection::of(request.extensions());
                let remote = connection.and_then(|connection| connection.remote).map(|remote| remote.to_string());
                let (call, reason) = (request.uri().path(), problem.word());
                tracing::warn!(remote, call, reason, %problem, "call refused");
                ready(Ok(refusal(&problem).into_http())).right_future()
            }
        }
    }
}

/// How a caller is told.
fn refusal(problem: &CertificateProblem) -> Status {
    match problem {
        CertificateProblem::WrongRole { .. } | CertificateProblem::NoRule { .. } => {
            Status::permission_denied(problem.to_string())
        }
        _ => Status::unauthenticated(problem.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::time::WallTime;
    use crate::tls::PeerIdentity;

    fn rule(path: &str) -> Access {
        match path {
            "/open" => Access::Anybody,
            "/a" => Access::Holders { allowed: |role| role == Role::Worker, needed: "a worker's" },
            _ => Access::Nobody,
        }
    }

    #[test]
    fn nobody_passes_but_those_the_rule_allows() {
        let clock = WallSource::new(|| WallTime { unix_millis: 5000 });
        let gate = Gate::new(rule, clock);
        let check = |path: &str, proof: Option<Proof>, expect: Option<&str>| {
            let mut request = Request::builder().uri(path).body(()).expect("a request");
            if let Some(proof) = proof.clone() {
                request.extensions_mut().insert(Connection { remote: None, proof });
            }
            let word = gate.check(&request).err().map(|problem| problem.word());
            assert_eq!(word, expect, "{path} {proof:?}");
            assert!(Gate::open().check(&request).is_ok());
        };
        let proven = |role, millis| Proof::Proven {
            peer: PeerIdentity { identity: Identity::new(role, "x").expect("a name"), serial: "1".to_owned() },
            expires: WallTime { unix_millis: millis },
        };
        check("/a", None, Some("missing"));
        check("/a", Some(Proof::Nobody), Some("missing"));
        check("/a", Some(Proof::Refused(CertificateProblem::NoIdentity)), Some("no-identity"));
        check("/a", Some(proven(Role::Admin, 9000)), Some("wrong-role"));
        check("/a", Some(proven(Role::Worker, 9000)), None);
        check("/a", Some(proven(Role::Worker, 4999)), Some("expired"));
        check("/unknown", Some(Proof::Nobody), Some("missing"));
        check("/unknown", Some(proven(Role::Admin, 9000)), Some("no-rule"));
        check("/open", Some(Proof::Nobody), None);
        check("/open", None, None);
    }
}
