//! Real processes under faults. A [`ChaosOptions`] says what goes wrong, [`campaign`] lets it go wrong
//! while jobs run one after the other, and the [`Verdict`] says what came of it.
//!
//! | module | holds |
//! |---|---|
//! | `options` | what goes wrong and for how long; the command line |
//! | `arena` | the cluster, the links between its processes, and how each fault is done and undone |
//! | `campaign` | jobs against a schedule of faults, and the verdict |
//! | `damage` | random damage to what lies on disks |
//! | `detection` | how long the master takes to notice that a worker is gone |
//! | `disk` | a worker's disk that can be filled up |
//! | `fickle` | a job whose attempts differ, and map outputs that are lost |
//! | `leftovers` | what is left when everything has ended |
//! | `lab` | the crash application of a distributed systems course, many times |
//! | `moments` | a master that is killed at random moments |
//! | `operations` | every file operation of a job, a master or a worker, failed once |
//! | `overload` | whether workers that are slow to answer are given up |
//! | `pace` | how long a job takes disturbed and undisturbed |
//! | `places` | a master that dies at each failpoint, and the next one |
//! | `processes` | process trees and signals |
//! | `proxy` | a network link that misbehaves |
//! | `sharing` | a short job beside a long one, and jobs of different weights |
//! | `stores` | jobs from store to store, on servers that fail, with processes that die |
//!
//! A seed fixes which faults come in which order with which gaps, and not the moment of the job at
//! which each arrives: these are real processes. For runs that replay exactly there is [`crate::sim`].

mod arena;
mod campaign;
mod damage;
mod detection;
mod disk;
mod fickle;
mod lab;
mod leftovers;
mod moments;
mod operations;
mod options;
mod overload;
mod pace;
mod places;
mod processes;
mod proxy;
mod sharing;
pub mod stores;

pub use self::campaign::{Verdict, campaign};
pub use self::damage::{DamageCount, DamageVerdict, damage};
pub use self::detection::{Detection, Detections, Silence, detection};
pub use self::fickle::{FickleRun, fickle_run};
pub use self::lab::{CrashRun, crash_run};
pub use self::moments::{Moments, moments};
pub use self::operations::{
    BadRun, FaultEffect, OperationsOf, OperationsOptions, OperationsVerdict, Struck, operations,
};
pub use self::options::{ChaosOptions, FaultKind};
pub use self::overload::{Overload, overload};
pub use self::pace::{Disturbance, Pace, pace};
pub use self::places::{Errand, PlacesVerdict, WrongRun, places};
pub use self::sharing::{Sharing, sharing};
