//! A master that encrypts: who gets in, who is told why not, and how workers get certificates.

use std::path::Path;
use std::sync::Mutex;

use gristmill_common::identity::Identity;
use gristmill_common::time::WallTime;
use gristmill_common::tls::{
    AUTHORITY_CERTIFICATE, CertificateFacts, Dialer, FirstContact, Host, IDENTITY, ISSUER, JoinToken, Signer, Subject,
    WallSource, new_key, replace_file, request, to_pem,
};
use gristmill_common::wire::v1::members_client::MembersClient;
use tonic::Status;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

/// A clock that a test sets.
#[derive(Clone)]
struct SetClock(Arc<Mutex<u64>>);

impl SetClock {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(1_796_000_000_000)))
    }

    fn pass(&self, time: Duration) {
        *self.0.lock().expect("no panic") += time.as_millis() as u64;
    }

    fn now(&self) -> WallTime {
        WallTime { unix_millis: *self.0.lock().expect("no panic") }
    }

    fn source(&self) -> WallSource {
        let clock = self.clone();
        WallSource::new(move || clock.now())
    }
}

/// An authority and a folder for certificates.
struct Place {
    dir: tempfile::TempDir,
    authority: Signer,
    clock: SetClock,
}

impl Place {
    fn new() -> Self {
        let clock = SetClock::new();
        let authority = Signer::authority("test", 1000 * DAY, clock.now()).expect("made").0;
        Self { dir: tempfile::tempdir().expect("scratch"), authority, clock }
    }

    /// A folder with a certificate that lasts so many days, trusting this authority.
    fn folder(&self, name: &str, signer: &Signer, whose: &str, days: u32) -> PathBuf {
        let folder = self.dir.path().join(name);
        fs::create_dir_all(&folder).expect("created");
        let key = new_key().expect("random bytes");
        let identity: Identity = whose.parse().expect("an identity");
        let hosts: Vec<Host> = vec!["127.0.0.1".parse().expect("a host")];
        let subject = Subject { identity: &identity, hosts: &hosts };
        let leaf = signer.certify(subject, &key, days * DAY, self.clock.now()).expect("issued");
        let put = |name: &str, text: &str| replace_file(&folder.join(name), text).expect("written");
        put(AUTHORITY_CERTIFICATE, &to_pem(&[self.authority.certificate().clone()]));
        put(IDENTITY, &format!("{}{}", key.serialize_pem(), to_pem(&[leaf])));
        folder
    }

    fn open(&self, folder: &Path) -> Arc<Credentials> {
        Credentials::open(folder, self.clock.source()).expect("usable")
    }

    fn dialer(&self, whose: &str) -> Dialer {
        let folder = self.folder(&whose.replace('/', "-"), &self.authority, whose, 100);
        Dialer::new(self.open(&folder))
    }

    async fn master(&self) -> Cluster {
        let folder = self.folder("master", &self.authority, "master/m", 100);
        let (issuer, key) = self.authority.issuer("test", 500 * DAY, self.clock.now()).expect("made");
        let text = format!("{}{}", key.serialize_pem(), to_pem(&[issuer.certificate().clone()]));
        replace_file(&folder.join(ISSUER), &text).expect("written");
        let credentials = Some(self.open(&folder));
        let started = Cluster::start_certified(folder_with_input(), "127.0.0.1:0", OpenJobs::Keep, credentials).await;
        started.map_err(|(_, error)| error).expect("it serves")
    }
}

async fn listed(dialer: &Dialer, url: &str) -> Result<(), String> {
    let client = soon("the connection", JobsClient::connect_with(dialer, url, Duration::ZERO)).await;
    let client = client.map_err(|error| error.to_string())?;
    soon("the answer", client.list()).await.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn only_certificates_of_the_clusters_authority_get_in_and_others_are_told_why() {
    let place = Place::new();
    let cluster = place.master().await;
    assert!(cluster.url.starts_with("https://"), "{}", cluster.url);
    let foreign = Signer::authority("other", 1000 * DAY, place.clock.now()).expect("made").0;
    for whose in ["admin/a", "submitter/a", "viewer/a"] {
        assert_eq!(listed(&place.dialer(whose), &cluster.url).await, Ok(()), "{whose}");
    }
    let check = async |dialer: &Dialer, expect: &str| {
        let error = listed(dialer, &cluster.url).await.expect_err(expect);
        assert!(error.contains(expect), "{expect}: {error}");
    };
    check(&Dialer::plain(), "takes certificates, and none was given").await;
    check(&place.dialer("worker/w"), "wrong role: the certificate is that of worker/w").await;
    let folder = place.folder("forged", &foreign, "admin/a", 100);
    check(&Dialer::new(place.open(&folder)), "the certificate of admin/a is foreign").await;
    let short = Dialer::new(place.open(&place.folder("short", &place.authority, "admin/a", 1)));
    assert_eq!(listed(&short, &cluster.url).await, Ok(()));
    place.clock.pass(2 * DAY);
    check(&short, "the certificate of admin/a has expired").await;
    // Renewed on disk, it is taken by the next connection.
    place.folder("short", &place.authority, "admin/a", 50);
    assert_eq!(listed(&short, &cluster.url).await, Ok(()));
    place.clock.pass(99 * DAY);
    let late = Dialer::new(place.open(&place.folder("late", &place.authority, "admin/a", 100)));
    check(&late, "the certificate of master/m has expired").await;
    place.folder("master", &place.authority, "master/m", 100);
    assert_eq!(listed(&late, &cluster.url).await, Ok(()));
    cluster.stop().await;
}

#[tokio::test]
async fn a_server_that_skips_its_own_checks_of_a_client_is_not_what_keeps_it_out() {
    // Without its own checks a client learns of the server's from the status.
    let place = Place::new();
    let cluster = place.master().await;
    let facts = CertificateFacts::read(place.authority.certificate()).expect("readable");
    let contact = FirstContact::new(facts.fingerprint, place.clock.source());
    let channel = soon("the connection", contact.connect(&cluster.url)).await.expect("it serves");
    let mut jobs = v1::jobs_client::JobsClient::new(channel);
    let status = soon("the answer", jobs.list(v1::ListRequest {})).await.expect_err("nobody");
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    assert!(status.message().contains("a certificate is missing"), "{}", status.message());
    let other = FirstContact::new([0; 32], place.clock.source());
    let error = soon("the refusal", other.connect(&cluster.url)).await.expect_err("another cluster");
    assert!(error.to_string().contains("the master is of another cluster"), "{error}");
    cluster.stop().await;
}

async fn tokens(place: &Place, url: &str, life_s: u64) -> Result<JoinToken, Status> {
    let channel = place.dialer("admin/a").connect_to_master(url).await.expect("it serves");
    let request = v1::CreateJoinTokensRequest { names: vec!["w1".to_owned()], life_s };
    let reply = MembersClient::new(channel).create_join_tokens(request).await?.into_inner();
    Ok(reply.tokens[0].parse().expect("a token"))
}

async fn join(place: &Place, url: &str, token: &JoinToken, der: Vec<u8>) -> Result<v1::CertificateReply, Status> {
    let contact = FirstContact::new(*token.pin(), place.clock.source());
    let channel = soon("the connection", contact.connect(url)).await.expect("it serves");
    let request = v1::JoinRequest { token: token.to_text(), request: der, machine: "m".to_owned() };
    soon("the answer", MembersClient::new(channel).join(request)).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_token_makes_one_worker_which_renews_its_certificate_with_it() {
    let place = Place::new();
    let cluster = place.master().await;
    let token = tokens(&place, &cluster.url, 3600).await.expect("given out");
    let key = new_key().expect("random bytes");
    let der = request(&key).expect("signed");
    let reply = join(&place, &cluster.url, &token, der.clone()).await.expect("let in");
    let facts = CertificateFacts::read(&reply.chain[0]).expect("readable");
    assert_eq!(facts.whose(), "worker/w1");
    assert!(facts.end.unix_millis - place.clock.now().unix_millis <= DAY.as_millis() as u64);
    // The answer may have been lost; another key is another worker.
    join(&place, &cluster.url, &token, der).await.expect("the same worker");
    let other = request(&new_key().expect("random bytes")).expect("signed");
    let status = join(&place, &cluster.url, &token, other.clone()).await.expect_err("used");
    assert!(status.message().starts_with("used token: worker/w1"), "{}", status.message());
    let short = tokens(&place, &cluster.url, 1).await.expect("given out");
    place.clock.pass(Duration::from_secs(2));
    let status = join(&place, &cluster.url, &short, other.clone()).await.expect_err("expired");
    assert!(status.message().starts_with("expired token"), "{}", status.message());
    let made_up = JoinToken::new(*token.pin()).expect("random bytes");
    let status = join(&place, &cluster.url, &made_up, other.clone()).await.expect_err("made up");
    assert!(status.message().starts_with("wrong token"), "{}", status.message());

    let folder = place.dir.path().join("joined");
    fs::create_dir(&folder).expect("created");
    let chain: Vec<_> = reply.chain.into_iter().map(gristmill_common::tls::CertificateDer::from).collect();
    replace_file(&folder.join(AUTHORITY_CERTIFICATE), &to_pem(&[place.authority.certificate().clone()]))
        .expect("written");
    replace_file(&folder.join(IDENTITY), &format!("{}{}", key.serialize_pem(), to_pem(&chain))).expect("written");
    let worker = Dialer::new(place.open(&folder));
    let channel = soon("the connection", worker.connect_to_master(&cluster.url)).await.expect("let in");
    let mut members = MembersClient::new(channel);
    place.clock.pass(Duration::from_secs(16 * 3600));
    let renewed =
        soon("the answer", members.renew(v1::RenewRequest { request: other.clone() })).await.expect("renewed");
    let renewed = CertificateReply::facts(&renewed.into_inner());
    assert_eq!(renewed.whose(), "worker/w1");
    assert!(renewed.end > facts.end);
    // A connection outlives the certificate with which it was made, but no call is taken on it.
    place.clock.pass(Duration::from_secs(9 * 3600));
    let status = soon("the answer", members.renew(v1::RenewRequest { request: other })).await.expect_err("over");
    assert!(status.message().contains("the certificate of worker/w1 has expired"), "{}", status.message());
    cluster.stop().await;
}

/// What the certificate in an answer says.
struct CertificateReply;

impl CertificateReply {
    fn facts(reply: &v1::CertificateReply) -> CertificateFacts {
        CertificateFacts::read(&reply.chain[0]).expect("readable")
    }
}
