//! What attempts write into the job's output: records in large pieces, counted and hashed on the way.
//!
//! | file | responsibility |
//! |---|---|
//! | `part.rs` | the part of the main output, and with it all that the attempt stages |
//! | `named.rs` | parts of named outputs: many of them, in little memory and few open files |
//! | `coding.rs` | how parts are stored: as they are, or compressed |
//! | `rows.rs` | rows in the format that the job is asked for |
//! | `sink.rs` | what user code puts records into |

mod coding;
mod named;
mod part;
mod rows;
mod sink;

pub(super) use self::part::PartWriter;
pub(super) use self::rows::RowFormat;
pub(super) use self::sink::{PartSink, write_record};
