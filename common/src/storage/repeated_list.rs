//! Listings that go on where one broke off: the client of a store asks again if a request is refused for
//! the moment, and not if an answer ends in the middle. Keeps nothing but the last key.

use futures::stream::{self, BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{Error, ObjectMeta};

use super::output_store::{TRIES, is_passing};
use crate::backoff::Backoff;

/// What a listing gives.
pub(super) type Listed = BoxStream<'static, Result<ObjectMeta, Error>>;

/// Where a listing goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resume {
    /// Behind the last key, in a store that lists in the order of keys.
    BehindLast,
    /// At its beginning, so that keys may come again, in whatever order the store lists.
    Anew,
}

/// A listing under way.
struct Under<B> {
    begin: B,
    resume: Resume,
    waits: Backoff,
    /// Behind which key it goes on if it has to.
    last: Option<Path>,
    listed: Listed,
    /// Failures since the last progress.
    failures: u32,
    over: bool,
}

/// The objects of a listing that `begin` begins, behind a key if it is given one. It ends with the first
/// error that asking again would not change, or that came [`TRIES`] times in a row.
pub(super) fn list_repeatedly<B>(begin: B, resume: Resume, waits: Backoff) -> Listed
where
    B: Fn(Option<&Path>) -> Listed + Send + 'static,
{
    let listed = begin(None);
    let under = Under { begin, resume, waits, last: None, listed, failures: 0, over: false };
    stream::unfold(under, Under::next).boxed()
}

impl<B: Fn(Option<&Path>) -> Listed> Under<B> {
    async fn next(mut self) -> Option<(Result<ObjectMeta, Error>, Self)> {
        if self.over {
            return None;
        }
        loop {
            match self.listed.next().await? {
                Ok(meta) => {
                    // One that begins anew may break off at the same key for ever: that is no progress.
                    if self.resume == Resume::BehindLast {
                        self.failures = 0;
                        self.last = Some(meta.location.clone());
                    }
                    return Some((Ok(meta), self));
                }
                Err(error) if is_passing(&error) && self.failures + 1 < TRIES => {
                    // Nobody else waits for this listing, so that its waits need no spread.
                    tokio::time::sleep(self.waits.delay(self.failures, u64::MAX / 2)).await;
                    self.failures += 1;
                    self.listed = (self.begin)(self.last.as_ref());
                }
                Err(error) => {
                    self.over = true;
                    return Some((Err(error), self));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use futures::TryStreamExt as _;

    use super::*;

    fn key(number: usize) -> Path {
        Path::from(format!("a/{number}"))
    }

    /// What a listing of ten keys gives that breaks off so often, each time after so many keys.
    fn listed(times: u32, keys: usize, resume: Resume) -> Result<Vec<Path>, Error> {
        let left = AtomicU32::new(times);
        let begin = move |after: Option<&Path>| {
            let all: Vec<Path> = (0..10).map(key).filter(|key| after.is_none_or(|after| key > after)).collect();
            let metas = all.into_iter().map(|location| {
                let last_modified = std::time::SystemTime::UNIX_EPOCH.into();
                Ok(ObjectMeta { location, last_modified, size: 1, e_tag: None, version: None })
            });
            let metas: Vec<_> = metas.collect();
            let breaks = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |times| times.checked_sub(1)).is_ok();
            let broken = Error::Generic { store: "memory", source: "on purpose".into() };
            match breaks {
                true => stream::iter(metas).take(keys).chain(stream::iter([Err(broken)])).boxed(),
                false => stream::iter(metas).boxed(),
            }
        };
        let waits = Backoff { base: Duration::ZERO, cap: Duration::ZERO };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let listed = list_repeatedly(begin, resume, waits);
            listed.map_ok(|meta| meta.location).try_collect().await
        })
    }

    #[test]
    fn a_listing_that_breaks_off_goes_on_without_missing_or_repeating_a_key() {
        let all: Vec<Path> = (0..10).map(key).collect();
        for (times, keys) in [(0, 0), (4, 0), (1, 3), (3, 3), (9, 1), (1, 10)] {
            assert_eq!(listed(times, keys, Resume::BehindLast).expect("it is asked again"), all, "{times} {keys}");
        }
        listed(TRIES, 0, Resume::BehindLast).expect_err("not for ever");
    }

    #[test]
    fn one_that_begins_anew_misses_none_and_is_not_tried_for_ever() {
        let mut twice = listed(2, 3, Resume::Anew).expect("it is asked again");
        assert_eq!(twice.len(), 16);
        twice.sort_unstable();
        twice.dedup();
        assert_eq!(twice, (0..10).map(key).collect::<Vec<_>>());
        listed(TRIES, 3, Resume::Anew).expect_err("not for ever");
    }
}
