//! From a job spec to a job that can start: checked, planned, its output claimed. Synchronous and
//! without a master, so that embedded runs do the very same.

use std::sync::Arc;

use gristmill_common::failure::Failure;
use gristmill_common::ids::JobId;
use gristmill_common::spec::{JobShape, JobSpec, SpecError};
use gristmill_common::storage::{InputError, Stores, list_inputs, reader_for};
use gristmill_common::task::JobPlan;
use gristmill_common::time::Clock;

use super::look::pin_forms;
use super::output::{OutputClaim, OutputError};
use super::random::random_u64;
use super::shipped::ShippedError;
use crate::plan::{PlanError, plan_inputs};
use crate::scheduler::JobRequest;

/// A job that can start.
#[derive(Debug)]
pub struct PreparedJob {
    /// Its id.
    pub job: JobId,
    /// What was asked for.
    pub spec: Arc<JobSpec>,
    /// Its tasks.
    pub plan: Arc<JobPlan>,
    /// Its hold on the output. Dropping it gives the output up and removes what was staged.
    pub claim: OutputClaim,
    /// What the scheduler must know of it.
    pub request: Arc<JobRequest>,
}

/// Whose fault a refusal is, and so which exit code follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalClass {
    /// The request itself cannot be.
    Usage,
    /// Inputs or output do not allow it.
    Rejected,
}

/// Why a job cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// A setting that no job can run with.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The inputs cannot be listed.
    #[error(transparent)]
    Input(#[from] InputError),
    /// An input cannot be read.
    #[error("{failure}")]
    Look {
        /// Why.
        failure: Box<Failure>,
    },
    /// There is no plan for it.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The output cannot be claimed.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// It came without its binary, or another of its files.
    #[error(transparent)]
    Files(#[from] ShippedError),
    /// Planning it ended with a panic.
    #[error("planning the job failed: {reason}")]
    Broken {
        /// What is known of it.
        reason: String,
    },
}

impl SubmitError {
    /// Whose fault it is.
    pub fn class(&self) -> RefusalClass {
        match self {
            SubmitError::Spec(_)
            | SubmitError::Plan(PlanError::Spec { .. })
            | SubmitError::Input(InputError::BadPattern { .. } | InputError::BadArgument { .. }) => RefusalClass::Usage,
            SubmitError::Plan(_)
            | SubmitError::Input(_)
            | SubmitError::Look { .. }
            | SubmitError::Output(_)
            | SubmitError::Files(_)
            | SubmitError::Broken { .. } => RefusalClass::Rejected,
        }
    }

    /// What to try, where there is something to say.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            SubmitError::Input(error) => error.hint(),
            SubmitError::Plan(error) => error.hint(),
            SubmitError::Output(error) => error.hint(),
            SubmitError::Files(_) => Some("submit the job again: what it needs is sent along"),
            SubmitError::Spec(_) | SubmitError::Look { .. } | SubmitError::Broken { .. } => None,
        }
    }
}

/// Draws a job id. Whoever keeps jobs checks that it is not in use.
pub fn fresh_job_id(clock: &Clock) -> JobId {
    JobId::new(clock.wall().unix_millis / 1000, (random_u64() & 0xffff) as u16)
}

/// Lists the inputs of a spec, looks at large ones that do not tell their form, and plans its job. Claims and
/// changes nothing.
///
/// # Errors
///
/// The first reason why the job cannot run.
pub fn list_and_plan(spec: &JobSpec, stores: &Stores) -> Result<JobPlan, SubmitError> {
    spec.validate()?;
    let stores = stores.with_options(&spec.store);
    // Side inputs first, so that a reducer has seen all of a key's rows of them when the others come.
    let mut inputs = Vec::new();
    for (role, uris) in spec.mapped_side_inputs() {
        inputs.push((role, list_inputs(&uris, &stores)?));
    }
    inputs.push((0, list_inputs(&spec.inputs, &stores)?));
    let reader = reader_for(spec, &stores);
    for (_, objects) in &mut inputs {
        let pinned = pin_forms(spec, objects, reader.as_ref());
        pinned.map_err(|failure| SubmitError::Look { failure: Box::new(failure) })?;
    }
    Ok(plan_inputs(spec, inputs)?)
}

/// Plans a job and claims its output. Blocks as long as listing the inputs takes.
///
/// # Errors
///
/// The first reason why the job cannot run; then nothing is left behind.
pub fn prepare(mut spec: JobSpec, job: JobId, stores: &Stores) -> Result<PreparedJob, SubmitError> {
    let plan = list_and_plan(&spec, stores)?;
    // What the plan says is what runs: a task may ask how many others there are.
    spec.reducers = Some(plan.reducers).filter(|_| spec.shape == JobShape::MapReduce);
    let claim = OutputClaim::acquire(&spec, job, stores)?;
    let request = JobRequest::of(&spec, &plan);
    Ok(PreparedJob { job, spec: Arc::new(spec), plan: Arc::new(plan), claim, request: Arc::new(request) })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use gristmill_common::naming::Uri;

    use super::*;

    fn spec(dir: &Path) -> JobSpec {
        fs::create_dir_all(dir.join("in")).expect("created");
        fs::write(dir.join("in/a.txt"), "one\ntwo\n").expect("written");
        let uri = |name: &str| Uri::from_path(&dir.join(name));
        JobSpec { reducers: Some(2), ..JobSpec::new("copy", JobShape::MapReduce, vec![uri("in")], uri("out")) }
    }

    #[test]
    fn a_prepared_job_holds_its_output() {
        let dir = tempfile::tempdir().expect("scratch");
        let spec = spec(dir.path());
        let first = prepare(spec.clone(), JobId(1), &Stores::without_environment()).expect("nothing forbids it");
        assert_eq!((&first.request.split_bytes[..], first.request.reducers, first.plan.objects), (&[8][..], 2, 1));
        let error = prepare(spec.clone(), JobId(2), &Stores::without_environment()).expect_err("claimed");
        assert!(matches!(error, SubmitError::Output(OutputError::Held { .. })), "{error}");
        drop(first);
        prepare(spec, JobId(3), &Stores::without_environment()).expect("free again");
    }

    #[test]
    fn refusals_say_whose_fault_they_are() {
        let dir = tempfile::tempdir().expect("scratch");
        let check = |spoil: &dyn Fn(&mut JobSpec), class: RefusalClass, text: &str| {
            let mut spec = spec(dir.path());
            spoil(&mut spec);
            let error = prepare(spec, JobId(1), &Stores::without_environment()).expect_err(text);
            assert_eq!(error.class(), class, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        };
        let input = |name: &str| vec![Uri::from_path(&dir.path().join(name))];
        check(&|spec| spec.reducers = Some(0), RefusalClass::Usage, "0 reducers");
        check(&|spec| spec.inputs = input("in/[a"), RefusalClass::Usage, "is not closed");
        check(&|spec| spec.inputs = input("missing"), RefusalClass::Rejected, "no such input");
        check(&|spec| spec.output = Uri::from_path(&dir.path().join("in/x")), RefusalClass::Rejected, "inside input");
        check(&|spec| spec.output = Uri::from_path(dir.path()), RefusalClass::Rejected, "inside output");
        fs::create_dir_all(dir.path().join("full/x")).expect("created");
        check(&|spec| spec.output = Uri::from_path(&dir.path().join("full")), RefusalClass::Rejected, "not empty");
        let elsewhere = |text: &str| text.parse::<Uri>().expect("a URI");
        check(&|spec| spec.output = elsewhere("http://h/out"), RefusalClass::Rejected, "http:// is read-only");
    }
}
