//! Which role a call needs, by its path. Says nothing about whose job it is about.

use gristmill_common::identity::Role;
use gristmill_common::tls::Needed;

const WORKERS: Needed = (|role| role == Role::Worker, "a worker's");
const ADMINS: Needed = (|role| role == Role::Admin, "an admin's");
const PEOPLE: Needed = (is_person, "a submitter's, a viewer's or an admin's");
const CALLERS: Needed = (|role| role != Role::Master, "a worker's, a submitter's, a viewer's or an admin's");

/// What a call needs; `None` if it needs no certificate, which is so for `Join` alone.
pub(super) fn rule(path: &str) -> Option<Needed> {
    match path {
        "/gristmill.v1.Members/Join" => None,
        "/gristmill.v1.Members/CreateJoinTokens" => Some(ADMINS),
        "/gristmill.v1.Members/Renew" | "/gristmill.v1.Control/Session" => Some(WORKERS),
        "/gristmill.v1.Files/Download" => Some(CALLERS),
        _ => Some(PEOPLE),
    }
}

fn is_person(role: Role) -> bool {
    match role {
        Role::Submitter | Role::Viewer | Role::Admin => true,
        Role::Master | Role::Worker => false,
    }
}
