//! Word count as a job crate of its own. Run it with
//! `cargo run --release -p word_count -- run word-count -i examples/data/books -o /tmp/counts`.

use gristmill::prelude::*;

/// Counts how often each word occurs.
struct WordCount;

impl MapReduce for WordCount {
    type Input = Lines;
    type Key = [u8];
    type Value = u64;
    type Combine = Sum;
    type Output = Text<[u8], u64>;

    fn map(&self, line: &[u8], out: &mut impl Emit<[u8], u64>) -> Result<()> {
        for word in words(line) {
            out.emit(word, 1)?;
        }
        Ok(())
    }

    fn reduce(&self, word: &[u8], counts: Values<u64>, out: &mut impl Sink<[u8], u64>) -> Result<()> {
        out.put(word, counts.sum())
    }
}

fn main() -> ExitCode {
    gristmill::main([job("word-count", WordCount)])
}
