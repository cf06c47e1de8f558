//! Benches of the engine's parts, each alone on one thread: `cargo bench -p gristmill-tests`. They show
//! which part a change made slower or faster; what a whole job takes is the business of
//! `cargo side-by-side`.

mod encoding;
mod map;
mod records;
mod segments;

use std::time::Duration;

/// Time for one bench unless `--max-time` says otherwise: enough for a steady median of the slowest.
const MAX_TIME: Duration = Duration::from_secs(2);

fn main() {
    divan::Divan::default().max_time(MAX_TIME).config_with_args().main();
}
