//! How many hours of weather there are of each airport, and what it is called: two tables joined in the
//! reduce, each read as what it is.

use clap::Args;
use gristmill::prelude::*;
use serde::{Deserialize, Serialize};

use crate::columns::{Fields, Headed};

/// Counts rows of weather by airport, with the airport's name
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct WeatherAirports {
    /// The table of airports: files, folders, globs or @LIST
    #[arg(long, value_name = "URI", num_args = 1.., required = true)]
    airports: Vec<String>,
}

impl Program for WeatherAirports {
    fn side_inputs(&self) -> Vec<Vec<String>> {
        vec![self.airports.clone()]
    }

    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(NamedCounts))
    }
}

/// An hour of weather: where it was.
enum Hours {}

impl Input for Hours {
    type Record<'a> = &'a str;

    fn decode<'a>(line: &'a [u8], _from: Provenance<'a>) -> Result<&'a str, RecordError> {
        Fields::of(line, ',')?.text("origin")
    }
}

/// An airport: its code and name.
enum Airports {}

impl Input for Airports {
    type Record<'a> = (&'a str, &'a str);

    fn decode<'a>(line: &'a [u8], _from: Provenance<'a>) -> Result<(&'a str, &'a str), RecordError> {
        let mut row = Fields::of(line, ',')?;
        Ok((row.text("faa")?, row.text("name")?))
    }
}

/// The join. An airport's name is a value, and so is the lack of one for each hour.
struct NamedCounts;

impl MapReduce for NamedCounts {
    type Input = OneOf<Headed<Hours>, Headed<Airports>>;
    type Key = str;
    type Value = Maybe<str>;
    type Combine = NoCombine;
    type Output = Text<str, Pair<str, u64>>;

    fn map(&self, row: OneOf<Option<&str>, Option<(&str, &str)>>, out: &mut impl Emit<str, Maybe<str>>) -> Result<()> {
        match row {
            OneOf::Main(Some(origin)) => out.emit(origin, None),
            OneOf::Side(Some((code, name))) => out.emit(code, Some(name)),
            OneOf::Main(None) | OneOf::Side(None) => Ok(()),
        }
    }

    fn reduce(
        &self,
        code: &str,
        mut values: Values<Maybe<str>>,
        out: &mut impl Sink<str, Pair<str, u64>>,
    ) -> Result<()> {
        let (mut airport, mut hours) = (None, 0);
        while let Some(value) = values.next_ref() {
            match value {
                Some(name) => airport = Some(name.to_owned()),
                None => hours += 1,
            }
        }
        match airport {
            Some(name) if hours > 0 => out.put(code, (&name, hours)),
            _ => Ok(()),
        }
    }
}
