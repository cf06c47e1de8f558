//! Formats of records beyond lines: what a job reads and writes by name and type.
//!
//! | file | responsibility |
//! |---|---|
//! | `delimited.rs`, `fields.rs` | delimited text (RFC 4180) |
//! | `json_lines.rs` | a JSON object a line |
//! | `whole_file.rs`, `warc.rs` | objects as they are, and web archives |
//! | `parquet/` | Parquet files (feature `parquet`), and the type of their records |
//! | `row.rs` | rows as they travel through the engine |
//! | `schema.rs`, `coerce.rs` | kinds of columns, and what values become in them |
//! | `ser.rs`, `de.rs`, `probe.rs`, `types.rs` | rows and serde: out, in, which columns, and types that serde has not |
//! | `text.rs`, `calendar.rs` | values as text |
//! | `written.rs` | outputs typed by serde |
//!
//! What each format can do is told in `docs/data.md`, why it is as it is in `docs/adr/0020-formats.md`.

pub mod calendar;
pub mod coerce;
mod de;
mod delimited;
mod fields;
mod json_lines;
pub mod parquet;
mod probe;
pub mod row;
pub mod schema;
mod ser;
pub mod text;
mod types;
pub mod warc;
mod whole_file;
mod written;

pub use self::de::{NoValue, from_row};
pub use self::delimited::{Commas, Csv, Delimited, Fields, Headerless, Shape, Tabs};
pub use self::fields::{Dialect, FieldError, Place};
pub use self::json_lines::JsonLines;
pub use self::parquet::Parquet;
pub use self::probe::{fields_of, schema_of};
pub use self::ser::{NoRow, write_row};
pub use self::types::{Date, Fixed, Instant, NoSuchValue};
pub use self::warc::{Warc, WarcRecord};
pub use self::whole_file::WholeFile;
