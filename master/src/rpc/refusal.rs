//! Refusals on the wire: which gRPC status an error becomes. The hint travels beside the message,
//! so that the client can set it apart.

use gristmill_common::ids::JobId;
use gristmill_common::wire::WireError;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::runtime::{MasterGone, RefusalClass, SubmitRefusal, describe};

/// The metadata key of hints; `-bin` allows any text.
const HINT_KEY: &str = "gristmill-hint-bin";

/// The status of a submission that was not taken on.
pub(super) fn of_submission(refusal: &SubmitRefusal) -> Status {
    match refusal {
        SubmitRefusal::Rejected(error) => {
            let code = match error.class() {
                RefusalClass::Usage => Code::InvalidArgument,
                RefusalClass::Rejected => Code::FailedPrecondition,
            };
            with_hint(Status::new(code, describe(error.as_ref())), error.hint())
        }
        SubmitRefusal::Busy { .. } => {
            with_hint(Status::resource_exhausted(refusal.to_string()), Some("submit it again when some are over"))
        }
        SubmitRefusal::Gone(gone) => of_gone(*gone),
    }
}

/// The status of a request that came while the master shuts down.
pub(super) fn of_gone(gone: MasterGone) -> Status {
    Status::unavailable(gone.to_string())
}

/// The status of a message that has no meaning.
pub(super) fn of_wire(error: &WireError) -> Status {
    Status::invalid_argument(format!("cannot understand the message: {error}"))
}

/// The status of a question about a job that nobody knows.
pub(super) fn of_unknown(job: JobId) -> Status {
    with_hint(
        Status::not_found(format!("unknown job {job}")),
        Some("a master remembers the newest 1000 jobs that are over, on the same --state folder"),
    )
}

/// The hint in a status.
pub(crate) fn hint_of(status: &Status) -> Option<String> {
    let bytes = status.metadata().get_bin(HINT_KEY)?.to_bytes().ok()?;
    String::from_utf8(bytes.to_vec()).ok()
}

/// The status with something to try beside its message.
pub(super) fn with_hint(mut status: Status, hint: Option<&str>) -> Status {
    if let Some(hint) = hint {
        status.metadata_mut().insert_bin(HINT_KEY, MetadataValue::from_bytes(hint.as_bytes()));
    }
    status
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gristmill_common::spec::SpecError;
    use gristmill_common::storage::{InputError, StoreError};

    use super::*;
    use crate::runtime::SubmitError;

    #[test]
    fn refusals_keep_their_class_text_and_hint() {
        let check = |error: SubmitError, code: Code, text: &str, hint: Option<&str>| {
            let status = of_submission(&SubmitRefusal::Rejected(Arc::new(error)));
            assert_eq!((status.code(), status.message(), hint_of(&status).as_deref()), (code, text, hint));
        };
        let spec = SubmitError::Spec(SpecError::NoInputs);
        check(spec, Code::InvalidArgument, "a job needs at least one input", None);
        let missing = SubmitError::Input(InputError::NotFound { object: "/a".into() });
        check(missing, Code::FailedPrecondition, "no such input: /a", None);
        let uri = "s3://b/k".to_owned();
        let looked_for = vec!["the environment".to_owned(), "a profile".to_owned()];
        let closed = SubmitError::Input(StoreError::NoCredentials { object: uri, looked_for }.into());
        let text = "no credentials for s3://b/k: looked for the environment; a profile";
        let hint = "--anonymous reaches buckets that are open to everybody";
        check(closed, Code::FailedPrecondition, text, Some(hint));
    }
}
