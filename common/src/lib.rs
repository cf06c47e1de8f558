//! What every part of Gristmill shares.
//!
//! | for | modules |
//! |---|---|
//! | job authors | [`job`], [`input`], [`output`], [`formats`], [`datum`], [`key`], [`combine`], [`partition`], [`setup`], [`program`], [`pipeline`], [`key_values`] |
//! | everyone | [`ids`], [`identity`], [`time`], [`size`], [`spec`], [`task`], [`objects`], [`form`], [`content`], [`failure`], [`record_offset`], [`counters`], [`naming`], [`output_name`], [`text`], [`decimal`], [`codec`], [`backoff`], [`removal`], [`durable`], [`windowed`] |
//! | tests | [`mod@reference`], the sequential oracle |
//! | those who read compressed objects | `compression` (feature `compression`) |
//! | those who wait | `storage` (feature `storage`), `wire` (feature `wire`), `tls` (feature `tls`) |
//!
//! Without its features this crate knows neither tokio nor the network.

pub mod backoff;
pub mod codec;
pub mod combine;
#[cfg(feature = "compression")]
pub mod compression;
pub mod content;
pub mod counters;
pub mod datum;
pub mod decimal;
pub mod durable;
pub mod failure;
pub mod form;
pub mod formats;
mod framing;
mod heading;
pub mod identity;
pub mod ids;
pub mod input;
pub mod job;
mod job_error;
pub mod key;
pub mod key_values;
pub mod naming;
pub mod objects;
pub mod output;
pub mod output_name;
pub mod part_name;
pub mod partition;
pub mod pinned;
pub mod pipeline;
pub mod program;
pub mod record_offset;
pub mod reference;
pub mod removal;
pub mod setup;
pub mod size;
pub mod spec;
#[cfg(feature = "storage")]
pub mod storage;
pub mod task;
pub mod text;
pub mod time;
#[cfg(feature = "tls")]
pub mod tls;
mod values;
pub mod windowed;
#[cfg(feature = "wire")]
pub mod wire;

/// Everything a job author names, in one `use`.
pub mod prelude {
    pub use crate::combine::{Combine, First, FoldError, Max, Min, NoCombine, Sum};
    pub use crate::datum::{Datum, Maybe, Pair, Triple, Value};
    pub use crate::formats::{
        Commas, Csv, Date, Delimited, Fields, Fixed, Headerless, Instant, JsonLines, Parquet, Shape, Tabs, Warc,
        WarcRecord, WholeFile,
    };
    pub use crate::input::{Block, FixedLength, Input, Lines, Located, OneOf, Provenance, RecordError, Utf8Lines};
    pub use crate::job::{
        Emit, Grouping, JobError, KeptValues, MapOnly, MapReduce, PartOrder, Result, Sink, Values, words,
    };
    pub use crate::key::Key;
    pub use crate::key_values::{KeyValue, KeyValues};
    pub use crate::output::{Output, Raw, Text, TextField};
    pub use crate::partition::EncodedKey;
    pub use crate::pipeline::{Pipeline, Plan, Rounds, SoFar, Source, Stage};
    pub use crate::program::{InputSample, JobVisitor, OptionError, Program};
    pub use crate::setup::TaskContext;
}
