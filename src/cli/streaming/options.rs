//! Hadoop's options, each with what becomes of it: flags of the job verbs, a note that it means nothing
//! here, or an error.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use gristmill_common::text::Delimiter;
use gristmill_jobs::Streaming;

use super::programs::{self, Command};
use crate::cli::error::CliError;
use crate::cli::settings::nearest;

/// What an option stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// The flag of the job of this name.
    Flag(&'static str),
    /// What to read.
    Input,
    /// A command, which must be somewhere.
    Command,
    /// One file, or several that commas part, each with `#NAME` behind it or not.
    File,
    Files,
    /// Archives, as files.
    Archives,
    /// A property.
    Property,
    /// Not to wait for the end.
    Background,
    /// To show what is run.
    Verbose,
    /// Nothing here; it has a value, or not.
    IgnoredValue,
    Ignored,
    /// What cannot be had, and what to do about it.
    Missing(&'static str),
}

/// Every option of Hadoop Streaming, and of Hadoop's commands in general.
const OPTIONS: &[(&str, Meaning)] = &[
    ("input", Meaning::Input),
    ("output", Meaning::Flag("output")),
    ("mapper", Meaning::Command),
    ("combiner", Meaning::Command),
    ("reducer", Meaning::Command),
    ("file", Meaning::File),
    ("files", Meaning::Files),
    ("cacheFile", Meaning::Files),
    ("archives", Meaning::Archives),
    ("cacheArchive", Meaning::Archives),
    ("D", Meaning::Property),
    ("jobconf", Meaning::Property),
    ("cmdenv", Meaning::Flag("cmdenv")),
    ("partitioner", Meaning::Flag("partitioner")),
    ("numReduceTasks", Meaning::Flag("numReduceTasks")),
    ("io", Meaning::Flag("io")),
    ("inputformat", Meaning::Flag("inputformat")),
    ("outputformat", Meaning::Flag("outputformat")),
    ("background", Meaning::Background),
    ("verbose", Meaning::Verbose),
    ("lazyOutput", Meaning::Ignored),
    ("debug", Meaning::Ignored),
    ("mapdebug", Meaning::IgnoredValue),
    ("reducedebug", Meaning::IgnoredValue),
    ("libjars", Meaning::IgnoredValue),
    ("fs", Meaning::IgnoredValue),
    ("dfs", Meaning::IgnoredValue),
    ("jt", Meaning::IgnoredValue),
    ("inputreader", Meaning::Missing("bring the input into lines first")),
    ("conf", Meaning::Missing("give the properties that matter with -D")),
    ("additionalconfspec", Meaning::Missing("give the properties that matter with -D")),
];

/// Options with one dash that are our own.
const OWN: [&str; 3] = ["-i", "-o", "-q"];

/// Properties that are flags of every job.
const FLAGS: [(&str, &str); 11] = [
    ("mapreduce.task.timeout", "record-timeout"),
    ("mapred.task.timeout", "record-timeout"),
    ("mapreduce.map.maxattempts", "max-attempts"),
    ("mapreduce.reduce.maxattempts", "max-attempts"),
    ("mapred.map.max.attempts", "max-attempts"),
    ("mapred.reduce.max.attempts", "max-attempts"),
    ("mapreduce.map.speculative", "speculation"),
    ("mapreduce.reduce.speculative", "speculation"),
    ("mapreduce.input.fileinputformat.split.maxsize", "split-size"),
    ("mapred.max.split.size", "split-size"),
    ("textinputformat.record.delimiter", "delimiter"),
];

/// How the names of properties begin that are Hadoop's own.
const HADOOPS: [&str; 9] =
    ["mapreduce.", "mapred.", "stream.", "dfs.", "fs.", "yarn.", "io.", "hadoop.", "textinputformat."];

/// A command line in terms of the job verbs.
#[derive(Debug, Default)]
pub(super) struct Translation {
    /// The flags, in order.
    pub(super) flags: Vec<String>,
    /// What the user is to know.
    pub(super) notes: Vec<String>,
    /// Whether a master is named.
    pub(super) submits: bool,
    /// Whether to show what is run.
    pub(super) verbose: bool,
    background: bool,
    commands: Vec<Command>,
    shipped: Vec<(String, String)>,
    ignored: Vec<String>,
    lines: bool,
}

/// Translates the options behind the verb.
///
/// # Errors
///
/// If one is unknown, lacks its value or cannot be had, or a command is nowhere.
pub(super) fn translate(args: &[OsString], here: &Path) -> Result<Translation, CliError> {
    let mut all = Translation::default();
    let mut args = args.iter().map(|arg| arg.to_string_lossy().into_owned());
    while let Some(arg) = args.next() {
        let name = arg.strip_prefix('-').filter(|name| !name.is_empty() && !OWN.contains(&arg.as_str()));
        let Some(name) = name.filter(|name| !name.starts_with('-')) else {
            all.own(arg);
            continue;
        };
        let (name, attached) = match name.strip_prefix('D').filter(|rest| rest.contains('=')) {
            Some(property) => ("D", Some(property.to_owned())),
            None => (name, None),
        };
        let Some((name, meaning)) = OPTIONS.iter().find(|(known, _)| *known == name) else {
            let error = CliError::usage(format!("unknown option -{name}"));
            let known = OPTIONS.iter().map(|(known, _)| *known);
            return Err(match nearest(name, known) {
                Some(known) => error.hint(format!("did you mean -{known}?")),
                None => error.hint("streaming --help lists the options"),
            });
        };
        let mut value = || {
            let missing = || CliError::usage(format!("the option -{name} needs a value"));
            attached.clone().or_else(|| args.next()).ok_or_else(missing)
        };
        all.option(name, *meaning, &mut value, here)?;
    }
    all.finish(here)
}

impl Translation {
    /// An argument that needs no translation.
    fn own(&mut self, arg: String) {
        self.submits |= arg == "--master" || arg.starts_with("--master=");
        self.lines |= ["--line-endings", "--delimiter"].iter().any(|flag| arg.starts_with(flag));
        self.flags.push(arg);
    }

    fn flag(&mut self, name: &str, value: &str) {
        self.flags.push(format!("--{name}={value}"));
    }

    fn option(
        &mut self,
        name: &'static str,
        meaning: Meaning,
        value: &mut dyn FnMut() -> Result<String, CliError>,
        here: &Path,
    ) -> Result<(), CliError> {
        match meaning {
            Meaning::Flag(flag) => self.flag(flag, &value()?),
            Meaning::Input => split(&value()?).into_iter().for_each(|input| self.flag("input", local(input))),
            Meaning::Command => self.commands.push(Command { role: name, text: value()? }),
            Meaning::File => self.ship(&value()?, here),
            Meaning::Files => split(&value()?).into_iter().for_each(|file| self.ship(file, here)),
            Meaning::Archives => {
                for archive in split(&value()?) {
                    self.ship(archive, here);
                    let name = self.shipped.last().map(|(name, _)| name.clone()).unwrap_or_default();
                    self.flag("archive", &name);
                }
            }
            Meaning::Property => self.property(&value()?)?,
            Meaning::Background => self.background = true,
            Meaning::Verbose => self.verbose = true,
            Meaning::Ignored => self.ignored.push(format!("-{name}")),
            Meaning::IgnoredValue => {
                value()?;
                self.ignored.push(format!("-{name}"));
            }
            Meaning::Missing(instead) => {
                return Err(CliError::usage(format!("the option -{name} is not supported")).hint(instead));
            }
        }
        Ok(())
    }

    /// A file that travels with the job, with `#NAME` behind it if it is to have another name.
    fn ship(&mut self, file: &str, here: &Path) {
        let (path, name) = match file.rsplit_once('#') {
            Some((path, name)) => (local(path), Some(name)),
            None => (local(file), None),
        };
        let own = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.map(str::to_owned).or(own).unwrap_or_default();
        self.flag("file", &format!("{name}={path}"));
        let mode = std::fs::metadata(here.join(path)).map_or(0, |about| about.permissions().mode());
        if mode & 0o111 != 0 {
            self.flag("executable", &name);
        }
        self.shipped.push((name, path.to_owned()));
    }

    fn property(&mut self, text: &str) -> Result<(), CliError> {
        let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(CliError::usage(format!("-D takes NAME=VALUE, not {text:?}")));
        };
        let cannot = || CliError::usage(format!("{name} cannot be {value:?}"));
        match FLAGS.iter().find(|(known, _)| *known == name).map(|(_, flag)| *flag) {
            Some("record-timeout") => self.flag("record-timeout", &format!("{value}ms")),
            Some("speculation") => {
                let switch = if value.parse().map_err(|_| cannot())? { "on" } else { "off" };
                self.flags.retain(|flag| !flag.starts_with("--speculation"));
                self.flag("speculation", switch);
            }
            Some("delimiter") => {
                let delimiter = Delimiter::try_from(value.as_bytes().to_vec()).map_err(|_| cannot())?;
                self.lines = true;
                self.flag("delimiter", &delimiter.to_string());
            }
            Some(flag) => {
                self.flags.retain(|given| !given.starts_with(&format!("--{flag}=")));
                self.flag(flag, value);
            }
            None if HADOOPS.iter().any(|begin| name.starts_with(begin)) && !Streaming::understands(name) => {
                self.ignored.push(format!("-D {name}"));
            }
            None => {}
        }
        self.flag("property", text);
        Ok(())
    }

    /// What can be told only once all options are known.
    fn finish(mut self, here: &Path) -> Result<Self, CliError> {
        for command in std::mem::take(&mut self.commands) {
            let found = programs::find(&command, &self.shipped, here, self.submits)?;
            self.notes.extend(found.notes);
            self.flag(command.role, &found.text);
        }
        if !self.lines {
            // As Hadoop reads lines.
            self.flag("line-endings", "any");
        }
        match (self.background, self.submits) {
            (true, true) => self.flags.push("--detach".to_owned()),
            (true, false) => self.ignored.push("-background (without --master)".to_owned()),
            (false, _) => {}
        }
        if !self.ignored.is_empty() {
            self.notes.push(format!("ignored, because it means nothing here: {}", self.ignored.join(", ")));
        }
        Ok(self)
    }
}

/// The parts of a list; commas inside braces belong to a glob.
fn split(list: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let parts = list.split(|c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.filter(|part| !part.is_empty()).collect()
}

/// A path without the scheme of local files.
fn local(path: &str) -> &str {
    path.strip_prefix("file://").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(args: &[&str]) -> Result<Translation, CliError> {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("map.py"), "#!/bin/sh\n").expect("written");
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        translate(&args, dir.path())
    }

    fn flags(args: &[&str]) -> Vec<String> {
        translated(args).expect("options").flags
    }

    #[test]
    fn options_become_flags_of_the_job() {
        let args =
            ["-input", "a,b{1,2}", "-output", "out", "-D", "x=-y", "-Da.b=c", "--memory", "64MiB", "-cmdenv", "A=b"];
        let expect = ["--input=a", "--input=b{1,2}", "--output=out", "--property=x=-y", "--property=a.b=c"];
        let own = ["--memory", "64MiB", "--cmdenv=A=b", "--line-endings=any"];
        assert_eq!(flags(&args), [&expect[..], &own[..]].concat());
        let shipped = ["-files", "map.py#m,x/y", "-archives", "z.zip#lib", "-mapper", "m -x", "-numReduceTasks", "2"];
        let expect = ["--file=m=map.py", "--file=y=x/y", "--file=lib=z.zip", "--archive=lib", "--numReduceTasks=2"];
        assert_eq!(flags(&shipped), [&expect[..], &["--mapper=m -x", "--line-endings=any"]].concat());
        let flags = flags(&["-D", "mapreduce.task.timeout=0", "-D", "textinputformat.record.delimiter=\n\n"]);
        assert!(flags.contains(&"--record-timeout=0ms".to_owned()), "{flags:?}");
        assert!(flags.contains(&"--delimiter=\\n\\n".to_owned()) && !flags.contains(&"--line-endings=any".to_owned()));
    }

    #[test]
    fn what_is_ignored_is_said_and_what_is_unknown_is_refused() {
        let properties = ["-D", "mapreduce.job.name=x", "-D", "mine=1", "-D", "stream.map.output.field.separator=,"];
        let all = translated(&[&["-lazyOutput", "-background"], &properties[..]].concat()).expect("options");
        let expect = "ignored, because it means nothing here: -lazyOutput, -D mapreduce.job.name, -background (without --master)";
        assert_eq!(all.notes, [expect]);
        let all = translated(&["-background", "--master", "http://h:1"]).expect("options");
        assert!(all.submits && all.flags.contains(&"--detach".to_owned()) && all.notes.is_empty());
        let error = |args: &[&str]| {
            let error = translated(args).expect_err("refused");
            format!("{}; {}", error.message, error.hints.join("; "))
        };
        assert_eq!(error(&["-mappper", "cat"]), "unknown option -mappper; did you mean -mapper?");
        assert_eq!(error(&["-xyz"]), "unknown option -xyz; streaming --help lists the options");
        assert_eq!(error(&["-output"]), "the option -output needs a value; ");
        assert!(error(&["-inputreader", "x"]).starts_with("the option -inputreader is not supported; bring"));
        assert!(error(&["-D", "x"]).starts_with("-D takes NAME=VALUE"));
    }
}
