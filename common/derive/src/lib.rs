//! `#[derive(Key)]`: order-preserving keys from user types. Members are encoded one after the other,
//! an enum's variant by its position first, so encoded keys sort as `#[derive(PartialOrd, Ord)]`
//! sorts the values. The derive writes code only; the encodings are those of `gristmill::key`.
//!
//! | module | for |
//! |---|---|
//! | `shape` | what the type looks like: members, variants, the lifetime it lends with |
//! | `logical` | a member's type as the key traits know it: `str` for `&'a str` |
//! | `expand` | the code that is written |

mod expand;
mod logical;
mod shape;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `Key` for a struct or an enum, so that it can be what records are grouped and sorted
/// by. Encoded keys sort as the derived `Ord` does: members in the order of their declaration,
/// variants in the order of theirs.
///
/// A type without a lifetime parameter must also be `Serialize + DeserializeOwned`; it is emitted
/// and handed to `reduce` as itself:
///
/// ```
/// # use gristmill_derive::Key;
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize, Key)]
/// # #[key(crate = "gristmill_common")]
/// struct Day {
///     year: i32,
///     month: u8,
///     day: u8,
/// }
/// ```
///
/// A type with one lifetime parameter lends: nothing is allocated to emit or to decode it. The key
/// of the job is then `Visit<'static>`; `map` emits and `reduce` is given a `Visit<'_>`. It must not
/// derive serde's `Deserialize`.
///
/// ```
/// # use gristmill_derive::Key;
/// #[derive(Key)]
/// # #[key(crate = "gristmill_common")]
/// struct Visit<'a> {
///     host: &'a str,
///     at: u64,
///     referrer: Option<&'a [u8]>,
/// }
/// ```
///
/// Members may be anything that is itself a key; borrowed ones may be references (`&'a str`,
/// `&'a [u8]`), lending types, and options or tuples (of two or three) of such.
///
/// `#[key(crate = "path")]` names the crate that holds the modules `key` and `datum`; by default
/// `::gristmill`.
#[proc_macro_derive(Key, attributes(key))]
pub fn derive_key(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    match shape::Shape::of(&input) {
        Ok(shape) => expand::key_impls(&shape).into(),
        Err(error) => error.to_compile_error().into(),
    }
}
