//! Which role a call needs, by its path; a call that is not here is nobody's. Says nothing about whose job
//! it is about.

use gristmill_common::identity::Role;
use gristmill_common::tls::Access;

const WORKERS: Access = Access::Holders { allowed: |role| matches!(role, Role::Worker), needed: "a worker's" };
const ADMINS: Access = Access::Holders { allowed: |role| matches!(role, Role::Admin), needed: "an admin's" };
const SUBMITTERS: Access = Access::Holders {
    allowed: |role| matches!(role, Role::Submitter | Role::Admin),
    needed: "a submitter's or an admin's",
};
const PEOPLE: Access = Access::Holders {
    allowed: |role| matches!(role, Role::Submitter | Role::Viewer | Role::Admin),
    needed: "a submitter's, a viewer's or an admin's",
};
/// Workers fetch what they run, and people what they replay.
const CALLERS: Access = Access::Holders {
    allowed: |role| matches!(role, Role::Worker | Role::Submitter | Role::Viewer | Role::Admin),
    needed: "a worker's, a submitter's, a viewer's or an admin's",
};

/// Who may make a call.
pub(super) fn rule(path: &str) -> Access {
    match path.strip_prefix("/gristmill.v1.").unwrap_or_default() {
        "Members/Join" => Access::Anybody,
        "Members/CreateJoinTokens" => ADMINS,
        "Members/Renew" | "Control/Session" => WORKERS,
        "Files/Download" => CALLERS,
        "Files/Missing" | "Files/Upload" | "Jobs/Submit" | "Jobs/Cancel" => SUBMITTERS,
        "Jobs/Status" | "Jobs/Watch" | "Jobs/List" | "Jobs/Workers" => PEOPLE,
        _ => Access::Nobody,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who may make each call, by the letters of W(orker), S(ubmitter), V(iewer), A(dmin), `*` for everybody.
    const EXPECTED: [(&str, &str); 13] = [
        ("Control/Session", "W"),
        ("Jobs/Submit", "SA"),
        ("Jobs/Status", "SVA"),
        ("Jobs/Watch", "SVA"),
        ("Jobs/Cancel", "SA"),
        ("Jobs/List", "SVA"),
        ("Jobs/Workers", "SVA"),
        ("Files/Missing", "SA"),
        ("Files/Upload", "SA"),
        ("Files/Download", "WSVA"),
        ("Members/CreateJoinTokens", "A"),
        ("Members/Join", "*"),
        ("Members/Renew", "W"),
    ];

    /// All calls of the services that a master has, as the protocol declares them.
    fn declared() -> Vec<String> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../common/proto");
        let files = ["control", "jobs", "files", "members"].map(|name| format!("gristmill/v1/{name}.proto"));
        let compiled = protox::compile(files, [folder]).expect("the build compiles them too");
        let services = compiled.file.iter().flat_map(|file| &file.service);
        let calls = services.flat_map(|service| {
            service.method.iter().map(move |method| format!("{}/{}", service.name(), method.name()))
        });
        calls.collect()
    }

    #[test]
    fn every_call_that_is_declared_has_a_rule_and_no_other_one() {
        let mut declared = declared();
        let mut expected = EXPECTED.map(|(call, _)| call.to_owned()).to_vec();
        declared.sort();
        expected.sort();
        assert_eq!(declared, expected);
        for (call, who) in EXPECTED {
            let roles = match rule(&format!("/gristmill.v1.{call}")) {
                Access::Anybody => "*".to_owned(),
                Access::Nobody => String::new(),
                Access::Holders { allowed, .. } => {
                    let letter = |role: Role| role.word()[..1].to_uppercase();
                    assert!(!allowed(Role::Master), "{call}");
                    let roles = [Role::Worker, Role::Submitter, Role::Viewer, Role::Admin];
                    roles.into_iter().filter(|role| allowed(*role)).map(letter).collect()
                }
            };
            assert_eq!(roles, who, "{call}");
        }
        for unknown in ["", "/", "/gristmill.v1.Jobs/Drop", "/gristmill.v1.Members/Join/", "Members/Join", "/health"] {
            assert!(matches!(rule(unknown), Access::Nobody), "{unknown:?}");
        }
    }
}
