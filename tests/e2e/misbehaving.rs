//! A job crate whose jobs misbehave where their input says so, beside those that the shipped program has.

use std::process::ExitCode;

use gristmill::prelude::*;

/// Does what a line is the name of, in one of the six ways in which user code can fail.
fn misbehave(line: &str) -> Result<()> {
    match line {
        "error" => return Err(JobError::new("told to fail")),
        "panic" => panic!("told to panic"),
        "abort" => std::process::abort(),
        "segv" => drop(overflow(&[0; 1024])),
        "loop" => loop {
            std::hint::spin_loop();
        },
        "memory" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(vec![1_u8; 1 << 20]);
                std::hint::black_box(&hoard);
            }
        }
        "print" => {
            use std::io::Write as _;
            writeln!(std::io::stdout(), "printed by user code")?;
        }
        _ => {}
    }
    Ok(())
}

/// Runs into the end of the stack, which the system answers with SIGSEGV.
#[expect(unconditional_recursion, reason = "overflows the stack")]
fn overflow(deep: &[u8; 1024]) -> usize {
    let mut deeper = *deep;
    deeper[0] = deeper[0].wrapping_add(1);
    overflow(std::hint::black_box(&deeper)) + usize::from(deeper[3])
}

struct InMap;

impl MapOnly for InMap {
    type Input = Utf8Lines;
    type Output = Text<str>;

    fn map(&self, line: &str, out: &mut impl Sink<str>) -> Result<()> {
        // What a record gave before it failed must not count.
        out.put(line, ())?;
        misbehave(line)
    }
}

struct InReduce;

impl MapReduce for InReduce {
    type Input = Utf8Lines;
    type Key = str;
    type Value = u64;
    type Combine = Sum;
    type Output = Text<str, u64>;

    fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
        out.emit(line, 1)
    }

    fn reduce(&self, line: &str, times: Values<u64>, out: &mut impl Sink<str, u64>) -> Result<()> {
        misbehave(line)?;
        out.put(line, times.sum())
    }
}

fn main() -> ExitCode {
    let own = [gristmill::map_only_job("misbehaving", InMap), gristmill::job("misbehaving-reduce", InReduce)];
    gristmill::main(own.into_iter().chain(gristmill::ready_made_jobs()))
}
