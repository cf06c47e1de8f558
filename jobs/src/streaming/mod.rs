//! `streaming`: commands as mapper and reducer, under the contract of Hadoop Streaming. A mapper reads
//! lines on stdin and writes lines `key TAB value` on stdout; a reducer reads such lines in the order of
//! their keys.
//!
//! | file | responsibility |
//! |---|---|
//! | `settings.rs`, `command_line.rs` | what options and properties mean; words of a command |
//! | `job.rs`, `attempt.rs` | the job's two shapes; records between engine and command |
//! | `process.rs`, `listener.rs` | one command: its pipes; counters on its stderr |
//! | `place.rs` | folder, files and variables of a command |
//! | `records.rs`, `typed_bytes.rs` | what stands between records on a pipe |
//! | `key_fields.rs`, `key_order.rs` | parts of keys, and the orders they make |
//! | `held.rs` | map output that waits for a combiner |

mod attempt;
mod command_line;
mod held;
mod job;
mod key_fields;
mod key_order;
mod listener;
mod place;
mod process;
mod records;
mod settings;
#[cfg(test)]
mod tests;
mod typed_bytes;

use clap::Args;
use gristmill_common::prelude::*;
use gristmill_common::spec::JobSpec;
use serde::{Deserialize, Serialize};

pub use command_line::split as split_command;

use job::{Mapping, Reducing};
use settings::{Properties, Settings};

/// Runs commands as mapper and reducer, as Hadoop Streaming does
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Streaming {
    /// The command that maps; without one, lines pass as they are
    #[arg(long, value_name = "COMMAND")]
    mapper: Option<String>,

    /// A command that may reduce the output of each map task before it is shuffled
    #[arg(long, value_name = "COMMAND")]
    combiner: Option<String>,

    /// The command that reduces; NONE: the mapper's output is the job's
    #[arg(long, value_name = "COMMAND")]
    reducer: Option<String>,

    /// Reduce tasks; 0 is as --reducer NONE [default: 1]
    #[arg(long = "numReduceTasks", value_name = "N")]
    num_reduce_tasks: Option<u32>,

    /// A property of Hadoop, or of the commands' own; may be repeated
    #[arg(short = 'D', long, value_name = "NAME=VALUE")]
    property: Vec<String>,

    /// A variable of the commands; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    cmdenv: Vec<String>,

    /// HashPartitioner or KeyFieldBasedPartitioner
    #[arg(long, value_name = "CLASS")]
    partitioner: Option<String>,

    /// What stands between records on the pipes of commands: text, rawbytes or typedbytes
    #[arg(long, value_name = "FORMAT")]
    io: Option<String>,

    /// TextInputFormat or KeyValueTextInputFormat
    #[arg(long, value_name = "CLASS")]
    inputformat: Option<String>,

    /// TextOutputFormat
    #[arg(long, value_name = "CLASS")]
    outputformat: Option<String>,

    /// A file of --file that is an archive: commands find a folder of its name; may be repeated
    #[arg(long, value_name = "NAME")]
    archive: Vec<String>,

    /// A file of --file that commands may execute; may be repeated
    #[arg(long, value_name = "NAME")]
    executable: Vec<String>,

    /// The most bytes of a record, by the memory that the job has.
    #[arg(skip)]
    #[serde(default)]
    max_record_bytes: Option<usize>,
}

impl Streaming {
    /// The words of a command of such a job; `None` for the classes of Hadoop that change nothing.
    ///
    /// # Errors
    ///
    /// If it is no command.
    pub fn words(command: &str) -> std::result::Result<Option<Vec<String>>, OptionError> {
        settings::command(Some(command), &["IdentityMapper", "IdentityReducer", "NONE"])
    }

    /// Whether a property of this name means something to the job, not only to its commands.
    pub fn understands(property: &str) -> bool {
        settings::UNDERSTOOD.contains(&property)
    }
}

impl Program for Streaming {
    fn looks_at_inputs(&self) -> bool {
        true
    }

    fn look(&mut self, spec: &JobSpec, _inputs: &[InputSample]) -> std::result::Result<(), OptionError> {
        self.max_record_bytes = Some(spec.max_record_bytes().as_usize());
        Ok(())
    }

    fn reducers(&self) -> Option<u32> {
        match Properties::of(self).and_then(|properties| properties.reducers(self)) {
            Ok(Some(0)) | Err(_) => None,
            Ok(Some(reducers)) => Some(reducers),
            Ok(None) => Some(1),
        }
    }

    fn visit<V: JobVisitor>(self, visitor: V) -> std::result::Result<V::Output, OptionError> {
        let settings = Settings::of(&self)?;
        if settings.map_only {
            return Ok(visitor.map_only(Mapping::new(settings)));
        }
        Ok(visitor.map_reduce(Reducing::new(settings)))
    }
}
