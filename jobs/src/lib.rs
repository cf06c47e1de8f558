//! The ready-made jobs, a file or folder each: the options a user gives, the job they make, and its tests.
//! A job knows the job API and nothing of engines, clusters or the command line.
//!
//! | name | type | output lines |
//! |---|---|---|
//! | `word-count` | [`WordCount`] | `word TAB count` |
//! | `grep` | [`Grep`] | the matching lines; with `--count` `match TAB count` |
//! | `distinct` | [`Distinct`] | each different line once |
//! | `inverted-index` | [`InvertedIndex`] | `term TAB file,file,…`; with `--documents` `term TAB id,id,…` |
//! | `group-by` | [`GroupBy`] | a table: group columns, aggregates |
//! | `join` | [`Join`] | a table: left columns, right columns without the key |
//! | `top` | [`Top`] | rows of a table in ranking order |
//! | `tera-sort` | [`TeraSort`] | records of 100 bytes by their first 10, in order over all parts |
//! | `sort-lines` | [`SortLines`] | the lines, in order over all parts |
//! | `copy` | [`Copy`](struct@Copy) | the lines |
//! | `streaming` | [`Streaming`] | what commands write |
//! | `page-rank` | [`PageRank`], a pipeline | `node TAB rank` |

mod copy;
mod distinct;
mod documents;
mod grep;
mod group_by;
mod inverted_index;
mod join;
mod page_rank;
mod scan;
mod sort_lines;
mod streaming;
mod table;
mod tera_sort;
mod top;
mod word_count;

#[cfg(test)]
mod oracle;

pub use copy::Copy;
pub use distinct::Distinct;
pub use grep::Grep;
pub use group_by::GroupBy;
pub use inverted_index::InvertedIndex;
pub use join::Join;
pub use page_rank::PageRank;
pub use sort_lines::SortLines;
pub use streaming::{Streaming, split_command};
pub use tera_sort::TeraSort;
pub use top::Top;
pub use word_count::WordCount;
