//! From a job spec and the listing of its inputs to the job's tasks. Pure: reads no storage and no
//! clock, and knows nothing of threads, slots or machines, so equal inputs always give equal plans.
//!
//! | file | responsibility |
//! |---|---|
//! | `splits.rs` | one object becomes splits of even size |
//! | `packing.rs` | many small objects become one split |
//! | `job_plan.rs` | checks, map tasks, reduce tasks, warnings |

mod job_plan;
mod packing;
mod splits;

pub use job_plan::{MAX_DERIVED_REDUCERS, MAX_MAP_TASKS, PlanError, plan_inputs, plan_job};
pub use splits::Cut;
