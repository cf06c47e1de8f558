//! Tables, in delimited text and in JSON lines, as jobs read and write them. Knows rows, fields and
//! columns, and nothing of what a job does with them.
//!
//! | file | responsibility |
//! |---|---|
//! | `options.rs` | the flags that every job over delimited tables has; which columns there are |
//! | `format.rs` | the flags of jobs that read JSON lines too; which of both an input is |
//! | `hive.rs` | rows divided among folders by the values of columns |
//! | `rows.rs` | the rows of a block, and the fields that are wanted of each |
//! | `json.rs` | the wanted fields of one JSON object, and JSON values written |
//! | `types.rs` | kinds of columns, as they are asked for or seen |
//! | `quotient.rs` | a decimal number divided by a count |

mod format;
mod hive;
mod json;
mod options;
mod quotient;
mod rows;
mod types;

pub(crate) use format::{Format, FormatOptions, is_json_input};
pub(crate) use hive::{FolderName, Folders};
pub(crate) use json::{values as json_values, write_json, write_string as write_json_string};
pub(crate) use options::{Header, Table, TableOptions, without_mark};
pub(crate) use quotient::{MAX_QUOTIENT_SCALE, Quotient};
pub(crate) use rows::{Row, Rows};
pub(crate) use types::{TableLines, Types, columns_of_objects, top_columns, write_values};

pub(crate) use gristmill_common::decimal::Decimal;
pub(crate) use gristmill_common::formats::Dialect;
