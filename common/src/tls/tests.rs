//! Certificates that are made, judged and refused, without a network.

use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::issue::{KeyPair, new_key};
use super::*;
use crate::identity::Identity;
use crate::time::WallTime;

const DAY: Duration = Duration::from_secs(86_400);

/// A day in 2026.
const NOW: WallTime = WallTime { unix_millis: 1_796_000_000_000 };

fn after(days: u32) -> WallTime {
    moment::later(NOW, days * DAY)
}

fn identity(text: &str) -> Identity {
    text.parse().expect("an identity")
}

fn authority() -> Signer {
    Signer::authority("test", 100 * DAY, NOW).expect("made").0
}

fn issued(signer: &Signer, whose: &str, hosts: &[Host], days: u32) -> (CertificateDer<'static>, KeyPair) {
    let key = new_key().expect("random bytes");
    let subject = Subject { identity: &identity(whose), hosts };
    (signer.certify(subject, &key, days * DAY, NOW).expect("issued"), key)
}

fn trusted(signer: &Signer) -> Authority {
    Authority::new(vec![signer.certificate().clone()]).expect("an authority")
}

#[test]
fn certificates_count_for_what_they_were_issued_for_and_as_long_as_they_were() {
    let (ours, other) = (authority(), authority());
    let issuer = ours.issuer("test", 50 * DAY, NOW).expect("made").0;
    let foreign_issuer = other.issuer("test", 50 * DAY, NOW).expect("made").0;
    let trust = trusted(&ours);
    let check = |whose: &str, signer: &Signer, via: Option<&Signer>, usage: Usage, now: WallTime, expect: &str| {
        let (leaf, _) = issued(signer, whose, &[], 20);
        let chain: Vec<_> = std::iter::once(leaf).chain(via.map(|via| via.certificate().clone())).collect();
        match trust.judge(&chain, usage, now) {
            Ok((peer, end)) => {
                assert_eq!((peer.identity.to_string().as_str(), "ok", end), (whose, expect, after(20)));
                assert_eq!(peer.serial.len(), 32, "{}", peer.serial);
            }
            Err(problem) => assert_eq!(problem.word(), expect, "{whose}: {problem}"),
        }
    };
    for role in ["submitter/a", "viewer/a", "admin/a", "worker/a"] {
        check(role, &ours, None, Usage::Client, NOW, "ok");
        check(role, &other, None, Usage::Client, NOW, "foreign");
        check(role, &ours, None, Usage::Client, after(21), "expired");
        check(role, &ours, None, Usage::Client, WallTime { unix_millis: 0 }, "not-yet-valid");
    }
    check("master/a", &ours, None, Usage::Server, NOW, "ok");
    check("master/a", &ours, None, Usage::Client, NOW, "unusable");
    check("worker/a", &ours, None, Usage::Server, NOW, "ok");
    check("admin/a", &ours, None, Usage::Server, NOW, "unusable");
    // By way of an issuer there are workers and nobody else.
    check("worker/a", &issuer, Some(&issuer), Usage::Client, NOW, "ok");
    check("worker/a", &issuer, None, Usage::Client, NOW, "foreign");
    check("worker/a", &foreign_issuer, Some(&foreign_issuer), Usage::Client, NOW, "foreign");
    for role in ["admin/a", "submitter/a", "viewer/a"] {
        check(role, &issuer, Some(&issuer), Usage::Client, NOW, "foreign");
    }
    check("master/a", &issuer, Some(&issuer), Usage::Server, NOW, "foreign");
}

#[test]
fn nobody_vouches_for_others_without_having_been_made_for_it() {
    let ours = authority();
    let (worker, key) = issued(&ours, "worker/a", &[], 20);
    assert!(Authority::new(vec![worker.clone()]).is_err());
    assert!(Authority::new(vec![]).is_err());
    assert!(Signer::load(worker, key).is_err());
    let (_, foreign_key) = issued(&ours, "worker/b", &[], 20);
    assert!(Signer::load(ours.certificate().clone(), foreign_key).is_err());
}

#[test]
fn certificates_end_no_later_than_what_vouches_for_them() {
    let ours = authority();
    let (leaf, _) = issued(&ours, "worker/a", &[], 1000);
    assert_eq!(CertificateFacts::read(&leaf).expect("readable").end, ours.end());
    let key = new_key().expect("random bytes");
    let subject = Subject { identity: &identity("worker/a"), hosts: &[] };
    let error = ours.certify(subject, &key, DAY, after(101)).expect_err("over").to_string();
    assert!(error.contains("vouches for nobody any more"), "{error}");
}

#[test]
fn a_pinned_authority_is_taken_and_no_other() {
    let (ours, other) = (authority(), authority());
    let shown = [ours.certificate().clone()];
    let facts = CertificateFacts::read(&shown[0]).expect("readable");
    assert!(Authority::pinned(&facts.fingerprint, &shown).is_ok());
    let shown = [other.certificate().clone()];
    let problem = Authority::pinned(&facts.fingerprint, &shown).expect_err("another one");
    assert_eq!(problem, CertificateProblem::WrongAuthority);
}

#[test]
fn hosts_are_names_and_addresses() {
    let hosts: Vec<Host> = ["node-1", "10.1.2.3", "::1"].map(|host| host.parse().expect("a host")).into();
    let (leaf, _) = issued(&authority(), "master/m", &hosts, 20);
    let facts = CertificateFacts::read(&leaf).expect("readable");
    assert_eq!(facts.hosts, ["node-1", "10.1.2.3", "::1"]);
    let check = |host: &str, expect: bool| {
        let name = rustls::pki_types::ServerName::try_from(host.to_owned()).expect("a name");
        assert_eq!(authority::check_host(&leaf, &name).is_ok(), expect, "{host}");
    };
    check("node-1", true);
    check("10.1.2.3", true);
    check("::1", true);
    check("node-2", false);
    check("10.1.2.4", false);
    for wrong in ["", "a b", "https://x", "x:1"] {
        assert!(wrong.parse::<Host>().is_err(), "{wrong:?}");
    }
}

#[test]
fn requests_are_taken_with_the_key_that_signed_them() {
    let key = new_key().expect("random bytes");
    let mut der = request(&key).expect("signed");
    let taken = read_request(&der).expect("a request");
    assert_eq!(rcgen::PublicKeyData::der_bytes(&taken), rcgen::PublicKeyData::der_bytes(&key));
    let last = der.len() - 1;
    der[last] ^= 1;
    assert!(read_request(&der).is_err());
    assert!(read_request(&[]).is_err());
    let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("random bytes");
    let error = read_request(&request(&other).expect("signed")).err().expect("of another kind").to_string();
    assert!(error.contains("not on the curve P-256"), "{error}");
}

/// A folder with a certificate of this signer.
fn folder(signer: &Signer, whose: &str, days: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("scratch");
    let (leaf, key) = issued(signer, whose, &[], days);
    write_new(&dir.path().join(AUTHORITY_CERTIFICATE), &to_pem(&[signer.certificate().clone()])).expect("written");
    write_new(&dir.path().join(IDENTITY), &format!("{}{}", key.serialize_pem(), to_pem(&[leaf]))).expect("written");
    dir
}

fn fixed() -> WallSource {
    WallSource::new(|| NOW)
}

#[test]
fn a_changed_file_is_taken_up_and_a_damaged_one_is_not() {
    let signer = authority();
    let dir = folder(&signer, "worker/a", 20);
    let credentials = Credentials::open(dir.path(), fixed()).expect("usable");
    let before = credentials.current();
    assert!(before.check(NOW).is_ok() && before.check(after(21)).is_err());
    let path = dir.path().join(IDENTITY);
    replace_file(&path, "nothing").expect("written");
    assert_eq!(credentials.current().facts, before.facts);
    let (leaf, key) = issued(&signer, "worker/a", &[], 40);
    // A key that belongs to another certificate is no identity.
    let (_, foreign_key) = issued(&signer, "worker/a", &[], 40);
    replace_file(&path, &format!("{}{}", foreign_key.serialize_pem(), to_pem(std::slice::from_ref(&leaf))))
        .expect("written");
    assert_eq!(credentials.current().facts, before.facts);
    replace_file(&path, &format!("{}{}", key.serialize_pem(), to_pem(&[leaf]))).expect("written");
    assert_eq!(credentials.current().facts.end, after(40));
}

#[test]
fn keys_that_others_can_read_are_refused_and_files_are_not_written_over() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = folder(&authority(), "worker/a", 20);
    let path = dir.path().join(IDENTITY);
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("allowed");
    let check = |refused: bool| {
        let error = Credentials::open(dir.path(), fixed()).err().map(|error| error.to_string());
        assert_eq!(error.is_some_and(|error| error.starts_with("others can read")), refused);
    };
    assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    check(false);
    mode(0o640);
    check(false);
    mode(0o644);
    check(true);
    mode(0o660);
    check(true);
    assert!(matches!(write_new(&path, ""), Err(FolderError::Exists { .. })));
}
