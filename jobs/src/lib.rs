//! The ready-made jobs, one file each: the options a user gives, the job they make, and its tests.
//! A job knows the job API and nothing of engines, clusters or the command line.
//!
//! | name | type | output lines |
//! |---|---|---|
//! | `word-count` | [`WordCount`] | `word TAB count` |
//! | `grep` | [`Grep`] | the matching lines; with `--count` `match TAB count` |
//! | `distinct` | [`Distinct`] | each different line once |
//! | `inverted-index` | [`InvertedIndex`] | `term TAB file,file,…` |
//! | `tera-sort` | [`TeraSort`] | records of 100 bytes by their first 10, in order over all parts |
//! | `sort-lines` | [`SortLines`] | the lines, in order over all parts |
//! | `copy` | [`Copy`](struct@Copy) | the lines |

mod copy;
mod distinct;
mod grep;
mod inverted_index;
mod scan;
mod sort_lines;
mod tera_sort;
mod word_count;

#[cfg(test)]
mod oracle;

pub use copy::Copy;
pub use distinct::Distinct;
pub use grep::Grep;
pub use inverted_index::InvertedIndex;
pub use sort_lines::SortLines;
pub use tera_sort::TeraSort;
pub use word_count::WordCount;
