//! From the options of a streaming job, Hadoop's property names among them, to what its attempts go by.

use gristmill_common::program::OptionError;

use super::Streaming;
use super::command_line;
use super::key_fields::KeyField;
use super::key_order::KeyOrder;
use super::records::{Format, Shape};

/// Everything that the attempts of a job have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    /// The words of each command; records pass unchanged where there is none.
    pub(super) mapper: Option<Vec<String>>,
    pub(super) combiner: Option<Vec<String>>,
    pub(super) reducer: Option<Vec<String>>,
    /// Whether what the mapper writes is the output.
    pub(super) map_only: bool,
    /// What mappers are given.
    pub(super) map_input: MapInput,
    /// What mappers and combiners write.
    pub(super) map_output: Shape,
    /// What reducers and combiners are given.
    pub(super) reduce_input: Shape,
    /// What reducers write.
    pub(super) reduce_output: Shape,
    /// What stands between key and value in parts.
    pub(super) part_separator: Vec<u8>,
    /// The order of keys, if it is not that of their bytes.
    pub(super) order: Option<KeyOrder>,
    /// The parts of a key that say which reduce task it belongs to; all of it if there are none.
    pub(super) partition: Vec<KeyField>,
    /// What parts the fields of keys.
    pub(super) field_separator: Vec<u8>,
    /// Variables of commands: properties under their names with `_`, then those asked for.
    pub(super) variables: Vec<(String, String)>,
    /// Shipped files that are unpacked, and those that are to be executable.
    pub(super) archives: Vec<String>,
    pub(super) executables: Vec<String>,
    /// Whether commands may end with another code than 0.
    pub(super) lenient: bool,
    /// What lines begin with that are for this program.
    pub(super) reporter: String,
    /// The most bytes of a record that a command writes.
    pub(super) max_record: usize,
}

/// How records reach a mapper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MapInput {
    pub(super) shape: Shape,
    /// Whether it is given keys besides values.
    pub(super) keys: bool,
    /// How a line of input has a key and a value; if it has not, the key is where the line begins.
    pub(super) lines: Option<Shape>,
}

/// The most bytes of a record if the job does not know the memory that it has.
pub(super) const MAX_RECORD: usize = 1 << 30;

/// The properties that mean something here.
pub(super) const UNDERSTOOD: &[&str] = &[
    "key.value.separator.in.input.line",
    "map.output.key.field.separator",
    "mapred.output.key.comparator.class",
    "mapred.partitioner.class",
    "mapred.reduce.tasks",
    "mapred.text.key.comparator.options",
    "mapred.text.key.partitioner.options",
    "mapred.textoutputformat.separator",
    "mapreduce.input.keyvaluelinerecordreader.key.value.separator",
    "mapreduce.job.output.key.comparator.class",
    "mapreduce.job.partitioner.class",
    "mapreduce.job.reduces",
    "mapreduce.map.output.key.field.separator",
    "mapreduce.output.textoutputformat.separator",
    "mapreduce.partition.keycomparator.options",
    "mapreduce.partition.keypartitioner.num.fields",
    "mapreduce.partition.keypartitioner.options",
    "num.key.fields.for.partition",
    "stream.map.input",
    "stream.map.input.field.separator",
    "stream.map.input.ignoreKey",
    "stream.map.output",
    "stream.map.output.field.separator",
    "stream.non.zero.exit.is.failure",
    "stream.num.map.input.key.fields",
    "stream.num.map.output.key.fields",
    "stream.num.reduce.input.key.fields",
    "stream.num.reduce.output.key.fields",
    "stream.reduce.input",
    "stream.reduce.input.field.separator",
    "stream.reduce.output",
    "stream.reduce.output.field.separator",
    "stream.stderr.reporter.prefix",
];

/// Where a class of Hadoop is meant.
const PACKAGES: [&str; 2] = ["org.apache.hadoop.", "com.cloudera."];

impl Settings {
    /// The settings that options make.
    ///
    /// # Errors
    ///
    /// The first option or property that cannot be.
    pub(super) fn of(options: &Streaming) -> Result<Self, OptionError> {
        let properties = Properties::of(options)?;
        let input_format = options.inputformat.as_deref().map_or("TextInputFormat", simple_name);
        let lines = match input_format {
            "TextInputFormat" => None,
            "KeyValueTextInputFormat" => {
                let separator = properties.separator(&[
                    "mapreduce.input.keyvaluelinerecordreader.key.value.separator",
                    "key.value.separator.in.input.line",
                ])?;
                Some(Shape { format: Format::Text, separator, key_fields: 1 })
            }
            _ => return Err(unknown("inputformat", input_format, "TextInputFormat, KeyValueTextInputFormat")),
        };
        if let Some(format) = options.outputformat.as_deref().map(simple_name)
            && format != "TextOutputFormat"
        {
            return Err(unknown("outputformat", format, "TextOutputFormat"));
        }
        let map_input = properties.shape(options, "map", "input")?;
        let keys = if map_input.format.is_text() {
            properties.flag(&["stream.map.input.ignoreKey"])?.map_or(lines.is_some(), |ignored| !ignored)
        } else {
            true
        };
        let map_only = properties.reducers(options)? == Some(0);
        let map_output = properties.shape(options, "map", "output")?;
        let mut reduce_input = properties.shape(options, "reduce", "input")?;
        if map_output.format == Format::KeyOnlyText && reduce_input.format == Format::Text {
            reduce_input.format = Format::KeyOnlyText;
        }
        let field_separator =
            properties.separator(&["mapreduce.map.output.key.field.separator", "map.output.key.field.separator"])?;
        Ok(Self {
            mapper: command(options.mapper.as_deref(), &["IdentityMapper"])?,
            combiner: if map_only { None } else { command(options.combiner.as_deref(), &["IdentityReducer", "NONE"])? },
            reducer: if map_only { None } else { command(options.reducer.as_deref(), &["IdentityReducer", "NONE"])? },
            map_only,
            map_input: MapInput { shape: map_input, keys, lines },
            map_output,
            reduce_input,
            reduce_output: properties.shape(options, "reduce", "output")?,
            part_separator: properties
                .separator(&["mapreduce.output.textoutputformat.separator", "mapred.textoutputformat.separator"])?,
            order: properties.order(&field_separator)?,
            partition: properties.partition(options)?,
            field_separator,
            variables: properties.variables(options)?,
            archives: options.archive.clone(),
            executables: options.executable.clone(),
            lenient: properties.flag(&["stream.non.zero.exit.is.failure"])? == Some(false),
            reporter: properties.last(&["stream.stderr.reporter.prefix"]).unwrap_or("reporter:").to_owned(),
            max_record: options.max_record_bytes.unwrap_or(MAX_RECORD),
        })
    }
}

/// The words of a command; none where there is none, or a name of the identity.
///
/// # Errors
///
/// If it is no command, or another class of Hadoop.
pub(super) fn command(text: Option<&str>, identities: &[&str]) -> Result<Option<Vec<String>>, OptionError> {
    let Some(text) = text.filter(|text| !identities.contains(&simple_name(text))) else { return Ok(None) };
    if text == "aggregate" || PACKAGES.iter().any(|package| text.starts_with(package)) {
        let message = format!("{text} is a class of Hadoop, and there is no Java here");
        return Err(OptionError::new(message + ": name a command that does the same"));
    }
    command_line::split(text).map(Some).map_err(OptionError::new)
}

/// A class without its package.
fn simple_name(class: &str) -> &str {
    match PACKAGES.iter().any(|package| class.starts_with(package)) {
        true => class.rsplit('.').next().unwrap_or(class),
        false => class,
    }
}

fn unknown(option: &str, given: &str, known: &str) -> OptionError {
    OptionError::new(format!("-{option} cannot be {given}: there are {known}"))
}

/// The `-D name=value` of a job.
#[derive(Debug)]
pub(super) struct Properties<'o>(Vec<(&'o str, &'o str)>);

impl<'o> Properties<'o> {
    /// The properties that options give.
    ///
    /// # Errors
    ///
    /// If one has no `=`.
    pub(super) fn of(options: &'o Streaming) -> Result<Self, OptionError> {
        let pair = |text: &'o String| {
            let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
            pair.ok_or_else(|| OptionError::new(format!("-D takes NAME=VALUE, not {text:?}")))
        };
        options.property.iter().map(pair).collect::<Result<_, _>>().map(Self)
    }

    /// The value that was last given to one of these names.
    fn last(&self, names: &[&str]) -> Option<&'o str> {
        debug_assert!(names.iter().all(|name| UNDERSTOOD.contains(name)), "not all of {names:?} are listed");
        self.0.iter().rev().find(|(name, _)| names.contains(name)).map(|(_, value)| *value)
    }

    /// Reduce tasks, if they are asked for.
    pub(super) fn reducers(&self, options: &Streaming) -> Result<Option<u32>, OptionError> {
        if options.reducer.as_deref() == Some("NONE") {
            return Ok(Some(0));
        }
        let names = ["mapreduce.job.reduces", "mapred.reduce.tasks"];
        match options.num_reduce_tasks {
            Some(number) => Ok(Some(number)),
            None => self.number(&names),
        }
    }

    fn number<N: std::str::FromStr>(&self, names: &[&str]) -> Result<Option<N>, OptionError> {
        let number = |text: &str| text.parse().map_err(|_| bad(names, text, "a number"));
        self.last(names).map(number).transpose()
    }

    fn flag(&self, names: &[&str]) -> Result<Option<bool>, OptionError> {
        self.last(names).map(|text| text.parse().map_err(|_| bad(names, text, "true or false"))).transpose()
    }

    /// A separator; TAB if there is none.
    fn separator(&self, names: &[&str]) -> Result<Vec<u8>, OptionError> {
        match self.last(names) {
            Some("") => Err(bad(names, "", "at least one character")),
            text => Ok(text.unwrap_or("\t").as_bytes().to_vec()),
        }
    }

    /// What records of `map` or `reduce` look like on their way in or out.
    fn shape(&self, options: &Streaming, stage: &str, way: &str) -> Result<Shape, OptionError> {
        let name = format!("stream.{stage}.{way}");
        let named = |text: &str| Format::named(text).ok_or_else(|| bad(&[&name], text, "text, rawbytes or typedbytes"));
        let format = options.io.as_deref().or(self.last(&[&name])).map_or(Ok(Format::Text), named)?;
        if format == Format::KeyOnlyText && way == "input" {
            return Err(bad(&[&name], "keyonlytext", "text, rawbytes or typedbytes"));
        }
        let fields = format!("stream.num.{stage}.{way}.key.fields");
        let key_fields = self.number(&[&fields])?.unwrap_or(1);
        if key_fields == 0 {
            return Err(bad(&[&fields], "0", "at least 1"));
        }
        Ok(Shape { format, separator: self.separator(&[&format!("{name}.field.separator")])?, key_fields })
    }

    /// The order of keys, if a comparator is asked for.
    fn order(&self, separator: &[u8]) -> Result<Option<KeyOrder>, OptionError> {
        let names = ["mapreduce.job.output.key.comparator.class", "mapred.output.key.comparator.class"];
        let Some(class) = self.last(&names) else { return Ok(None) };
        if simple_name(class) != "KeyFieldBasedComparator" {
            return Err(bad(&names, class, "KeyFieldBasedComparator"));
        }
        let options = self.last(&["mapreduce.partition.keycomparator.options", "mapred.text.key.comparator.options"]);
        let fields = KeyField::parse_all(options.unwrap_or_default()).map_err(OptionError::new)?;
        Ok((!fields.is_empty()).then(|| KeyOrder::new(fields, separator.to_vec())))
    }

    /// The parts of keys that partition them.
    fn partition(&self, options: &Streaming) -> Result<Vec<KeyField>, OptionError> {
        let names = ["mapreduce.job.partitioner.class", "mapred.partitioner.class"];
        match options.partitioner.as_deref().or(self.last(&names)).map(simple_name) {
            None | Some("HashPartitioner") => return Ok(Vec::new()),
            Some("KeyFieldBasedPartitioner") => {}
            Some(other) => return Err(unknown("partitioner", other, "HashPartitioner, KeyFieldBasedPartitioner")),
        }
        let fields = ["mapreduce.partition.keypartitioner.options", "mapred.text.key.partitioner.options"];
        let first = ["mapreduce.partition.keypartitioner.num.fields", "num.key.fields.for.partition"];
        match self.number(&first)? {
            Some(0) => Err(bad(&first, "0", "at least 1")),
            Some(number) => Ok(vec![KeyField::first(number)]),
            None => KeyField::parse_all(self.last(&fields).unwrap_or_default()).map_err(OptionError::new),
        }
    }

    /// The variables that commands see.
    fn variables(&self, options: &Streaming) -> Result<Vec<(String, String)>, OptionError> {
        let properties = self.0.iter().map(|(name, value)| (variable(name), (*value).to_owned()));
        let asked = options.cmdenv.iter().map(|text| {
            let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
            let pair = pair.ok_or_else(|| OptionError::new(format!("-cmdenv takes NAME=VALUE, not {text:?}")))?;
            Ok((pair.0.to_owned(), pair.1.to_owned()))
        });
        properties.map(Ok).chain(asked).collect()
    }
}

/// A property's name as that of a variable.
fn variable(property: &str) -> String {
    property.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn bad(names: &[&str], value: &str, expected: &str) -> OptionError {
    OptionError::new(format!("{} cannot be {value:?}: it takes {expected}", names.first().unwrap_or(&"-D")))
}
