//! The storage boundary: which objects a job reads, wherever they are kept.
//!
//! | file | responsibility |
//! |---|---|
//! | `list_file.rs` | `@list.txt` on the command line becomes the inputs it lists |
//! | `listing.rs` | inputs (objects, folders, globs) become pinned objects in canonical order |
//! | `pattern.rs`, `name_pattern.rs` | what a glob means; pure |
//! | `local.rs` | the local file system, through `std` |
//! | `object_stores.rs` | any [`object_store::ObjectStore`] |
//! | `repeated_list.rs` | listings that go on where one broke off |
//! | `stores.rs` | opens buckets by location, and finds their credentials |
//! | `output_store.rs` | the place of a job's output in a store: small objects and uploads |
//! | `pieces.rs` | how an upload is divided; pure |
//! | `unfinished_s3.rs` | which uploads of a bucket nobody completed |
//! | `sample.rs` | the first record of an input, for jobs that look before they start |
//! | `fetch.rs` | ranges of pinned objects, fetched from stores |
//! | `reader.rs` | the reader that a job's attempts get |
//! | `examine.rs` | what can be done at a location |
//! | `content.rs` | files known by what they hold, in a folder of bounded size |
//! | `error.rs` | what can be wrong with inputs |
//!
//! Local folders are listed through `std`, not through `object_store::local`: that one leaves out
//! names such as `data#1`, links to nothing and what vanishes meanwhile without a word, and an
//! engine that promises to lose nothing must read them or refuse. It also keeps a local run free of
//! a runtime. Everything here blocks; call it from a thread that may wait.

mod content;
mod error;
mod examine;
mod fetch;
mod list_file;
mod listing;
mod local;
mod name_pattern;
mod object_stores;
mod output_store;
mod pattern;
mod pieces;
mod reader;
mod repeated_list;
mod sample;
mod stores;
#[cfg(feature = "cloud")]
mod unfinished_s3;

pub use content::{ContentError, ContentStore, HeldContent, IncomingContent, content_of};
pub use error::{BadPattern, InputError};
pub use examine::{Ability, Examination, Outcome, examine};
pub use fetch::Fetcher;
pub use list_file::expand_list_files;
pub use listing::{Entry, Listing, list_inputs, listing_for};
pub use local::LocalListing;
pub use object_stores::ObjectStoreListing;
pub use output_store::{ObjectError, OutputStore, TRIES, UnfinishedUploads, is_passing};
pub use pattern::{NamesBelow, Pattern, Progress};
pub use pieces::{pieces, whole_tag};
pub use reader::reader_for;
pub use sample::sample_input;
pub use stores::{Machine, StoreAccess, StoreAt, StoreEnvironment, StoreError, StoreRuntime, Stores};
#[cfg(feature = "cloud")]
pub use stores::{S3RequestError, S3Requests};
