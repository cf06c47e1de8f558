//! Panics of user code: caught, with their message and place, and not printed, because the failure
//! of the attempt tells them.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::runs::shown;

thread_local! {
    /// Whether this thread is inside an attempt.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    /// Where the last panic inside an attempt happened.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
    /// The key group that the last panic inside an attempt had in hand.
    static KEY: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Names a key group in the message of a panic. Costs nothing where there is none.
pub(super) struct KeyInHand<'k>(pub(super) &'k [u8]);

impl KeyInHand<'_> {
    /// The group is done with.
    pub(super) fn done(self) {
        std::mem::forget(self);
    }
}

impl Drop for KeyInHand<'_> {
    /// Reached by unwinding alone.
    fn drop(&mut self) {
        KEY.set(Some(shown(self.0)));
    }
}

/// Lets panics inside attempts be reported as failures rather than printed; others are printed as
/// before. Calling it again does nothing.
pub fn install_panic_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if INSIDE.get() {
                PLACE.set(info.location().map(ToString::to_string));
            } else {
                before(info);
            }
        }));
    });
}

/// Runs an attempt, or a record within one; an error is the message of its panic, with its place if the
/// hook is installed.
pub(super) fn catch<T>(attempt: impl FnOnce() -> T) -> Result<T, String> {
    let before = INSIDE.replace(true);
    // What a panic leaves half done belongs to the attempt, or the record, alone and is dropped with it.
    let result = catch_unwind(AssertUnwindSafe(attempt));
    INSIDE.set(before);
    result.map_err(|panic| {
        let place = PLACE.take().map(|place| format!(" ({place})")).unwrap_or_default();
        let key = KEY.take().map(|key| format!(" for key {key}")).unwrap_or_default();
        format!("{}{place}{key}", message(&*panic))
    })
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_their_message_and_place() {
        install_panic_hook();
        assert_eq!(catch(|| 7), Ok(7));
        let in_hand = catch(|| {
            KeyInHand(b"fox").done();
            let _key = KeyInHand(b"dog");
            panic!("no luck");
        });
        assert!(in_hand.expect_err("it panics").ends_with(") for key \"dog\""));
        let message = catch(|| panic!("no {}", "luck")).expect_err("it panics");
        assert!(message.starts_with("no luck (worker/src/engine/panics.rs:"), "{message}");
        assert!(catch(|| std::panic::panic_any(3)).expect_err("it panics").starts_with("no message ("));
        let outer = catch(|| {
            let inner = catch(|| panic!("inner"));
            panic!("outer after {}", inner.expect_err("it panics").split(' ').next().expect("a word"));
        });
        assert!(outer.expect_err("it panics").starts_with("outer after inner (worker/src/engine/panics.rs:"));
    }
}
