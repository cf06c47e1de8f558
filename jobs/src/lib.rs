//! The ready-made jobs, one file each: the options a user gives, the job they make, and its tests.
//! A job knows the job API and nothing of engines, clusters or the command line.
//!
//! | name | type | output lines |
//! |---|---|---|
//! | `word-count` | [`WordCount`] | `word TAB count` |
//! | `grep` | [`Grep`] | the matching lines; with `--count` `match TAB count` |
//! | `distinct` | [`Distinct`] | each different line once |
//! | `inverted-index` | [`InvertedIndex`] | `term TAB file,file,…` |
//! | `copy` | [`Copy`](struct@Copy) | the lines |

mod copy;
mod distinct;
mod grep;
mod inverted_index;
mod scan;
mod word_count;

#[cfg(test)]
mod oracle;

pub use copy::Copy;
pub use distinct::Distinct;
pub use grep::Grep;
pub use inverted_index::InvertedIndex;
pub use word_count::WordCount;
