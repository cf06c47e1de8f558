//! Panics of an engine that reads a damaged file become errors. The program's panic hook must let
//! them pass: it asks [`panic_is_contained`].

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread, now, is caught and becomes an error. A panic hook that ends the
/// program, or reports a bug, stays out of it then.
pub fn panic_is_contained() -> bool {
    CONTAINED.get()
}

/// Runs `work`; its panic is the error. What it worked on is to be used no more after that.
pub(super) fn contain<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = CONTAINED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(before);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason is known").to_owned()
    })
}
