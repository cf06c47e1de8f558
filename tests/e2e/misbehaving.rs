//! A job crate whose only job panics, fails, aborts or prints where its input says so.

use std::process::ExitCode;

use gristmill::prelude::*;

struct Misbehaving;

impl MapOnly for Misbehaving {
    type Input = Utf8Lines;
    type Output = Text<str>;

    fn map(&self, line: &str, out: &mut impl Sink<str>) -> Result<()> {
        match line {
            "panic" => panic!("told to panic"),
            "abort" => std::process::abort(),
            "error" => return Err(JobError::new("told to fail")),
            "print" => {
                use std::io::Write as _;
                writeln!(std::io::stdout(), "printed by user code")?;
            }
            _ => {}
        }
        out.put(line, ())
    }
}

fn main() -> ExitCode {
    gristmill::main([gristmill::map_only_job("misbehaving", Misbehaving)])
}
