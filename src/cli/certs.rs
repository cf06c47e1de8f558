//! `gristmill certs`: a cluster's own authority and the certificates that it makes. Never writes over a file
//! unless it is told to renew a certificate, and sends nothing anywhere but to the master that is asked for
//! tokens.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgMatches, Command, FromArgMatches as _, Subcommand as _};
use gristmill_common::identity::{Identity, Role};
use gristmill_common::time::WallTime;
use gristmill_common::tls::{
    AUTHORITY_CERTIFICATE, AUTHORITY_KEY, CertificateFacts, Host, IDENTITY, ISSUER, IssueError, KeyPair, Signer,
    Subject, create_folder, new_key, read_pem, replace_file, signer_of_files, to_pem, write_new,
};
use serde_json::{Value, json};

use super::client::{ClientArgs, block_on, client_error, connect};
use super::error::{CliError, Exit};
use super::service::folder_error;
use super::{Context, usage_error};
use crate::entry::JobTable;

/// Where certificates are made if nobody says.
const DEFAULT_FOLDER: &str = "gristmill-certs";

const DAY: Duration = Duration::from_secs(86_400);

/// How long an authority lasts. Raised, nothing is gained; lowered, a cluster has to be set up anew sooner.
const AUTHORITY_LIFE: Duration = Duration::from_secs(3650 * 86_400);

/// How long a master's certificates last, and an admin's of `certs init`.
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// How long other certificates last if nobody says. Raised, a stolen one is of use for longer.
const DEFAULT_DAYS: u32 = 90;

#[derive(Debug, clap::Subcommand)]
enum CertsCommand {
    /// Make a cluster's authority, and certificates of its master and of an admin
    Init(InitArgs),
    /// Make a certificate for somebody, with the authority's key
    Issue(IssueArgs),
    /// Ask the master for tokens with which workers join, each one once
    JoinToken(JoinTokenArgs),
    /// Tell what a certificate is
    Show(ShowArgs),
    /// Tell which certificates lie in a folder and those in it
    List(FolderArgs),
}

#[derive(Debug, clap::Args)]
struct FolderArgs {
    /// Folder of the cluster's certificates [default: gristmill-certs]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct InitArgs {
    #[command(flatten)]
    folder: FolderArgs,

    /// The cluster's name
    #[arg(long, value_name = "NAME", default_value = "gristmill")]
    name: String,

    /// A name or IP address by which the master is reached, besides localhost; may be repeated
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<Host>,
}

#[derive(Debug, clap::Args)]
struct IssueArgs {
    /// For whom: worker/NAME, submitter/NAME, viewer/NAME, admin/NAME or master/NAME
    #[arg(value_name = "ROLE/NAME")]
    identity: Identity,

    #[command(flatten)]
    folder: FolderArgs,

    /// Days that it lasts [default: 90, a master's 365]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: Option<u32>,

    /// Hours that it lasts
    #[arg(long, value_name = "N", conflicts_with = "days", value_parser = clap::value_parser!(u32).range(1..=87_600))]
    hours: Option<u32>,

    /// A name or IP address by which a master is reached, besides localhost; may be repeated
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<Host>,

    /// Put it in the place of one that is there
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, clap::Args)]
struct JoinTokenArgs {
    #[command(flatten)]
    client: ClientArgs,

    /// The name of a worker; may be repeated, for one token each [default: the master chooses]
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,

    /// Tokens for workers whose names the master chooses
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "names", value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,

    /// Hours that they may be used
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=720))]
    hours: u32,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// A file of certificates, or a folder with one's own
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

pub(super) fn command(_jobs: &JobTable, program: &str) -> Command {
    CertsCommand::augment_subcommands(Command::new("certs"))
        .about("Make and look at certificates of a cluster")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .after_help(format!("Example:\n  {program} certs init --host master.example"))
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    match CertsCommand::from_arg_matches(matches).map_err(|error| usage_error(&error))? {
        CertsCommand::Init(args) => init(context, &args),
        CertsCommand::Issue(args) => issue(context, &args),
        CertsCommand::JoinToken(args) => join_token(context, matches, &args),
        CertsCommand::Show(args) => show(context, &args),
        CertsCommand::List(args) => list(context, &args),
    }
}

/// The folder of a cluster's certificates.
fn folder(context: &Context, args: &FolderArgs) -> PathBuf {
    context.current_dir.join(args.dir.as_deref().unwrap_or(Path::new(DEFAULT_FOLDER)))
}

fn init(context: &Context, args: &InitArgs) -> Result<Exit, CliError> {
    let (dir, now) = (folder(context, &args.folder), context.clock.wall());
    // The key is looked for too: an authority that is offline is an authority all the same.
    for name in [AUTHORITY_CERTIFICATE, AUTHORITY_KEY, "master", "admin"] {
        let path = dir.join(name);
        if path.exists() {
            let error = CliError::new(Exit::Failed, format!("{} is there already", path.display()));
            return Err(error.hint("name another folder with --dir"));
        }
    }
    let (authority, key) = Signer::authority(&args.name, AUTHORITY_LIFE, now).map_err(|error| issue_error(&error))?;
    create_folder(&dir).map_err(|error| folder_error(&error))?;
    let written = |name: &str, text: &str| write_new(&dir.join(name), text).map_err(|error| folder_error(&error));
    written(AUTHORITY_KEY, &key.serialize_pem())?;
    written(AUTHORITY_CERTIFICATE, &to_pem(&[authority.certificate().clone()]))?;
    let made = |identity: &str, place: &str| {
        let identity = identity.parse().expect("an identity");
        let certificate =
            NewCertificate { identity: &identity, hosts: &args.hosts, life: YEAR, replace: false, cluster: &args.name };
        certificate.write(&authority, &dir.join(place), now)
    };
    made("master/master", "master")?;
    made("admin/admin", "admin")?;
    if context.console.json {
        context.console.data(json!({ "dir": dir.display().to_string() }));
    } else {
        context.console.data(dir.display());
    }
    let shown = dir.display();
    context.console.talk(format_args!("master/ is for the master's machine: master --certs {shown}/master"));
    context.console.talk(format_args!("admin/ is for you: status --certs {shown}/admin"));
    context
        .console
        .talk(format_args!("{AUTHORITY_KEY} makes certificates: keep it offline, it is needed by certs issue alone"));
    Ok(Exit::Succeeded)
}

fn issue(context: &Context, args: &IssueArgs) -> Result<Exit, CliError> {
    let (dir, now) = (folder(context, &args.folder), context.clock.wall());
    let role = args.identity.role();
    if role != Role::Master && !args.hosts.is_empty() {
        return Err(CliError::usage(format!("--host is for masters, not for {}", args.identity)));
    }
    let authority = signer_of_files(&dir.join(AUTHORITY_CERTIFICATE), &dir.join(AUTHORITY_KEY));
    let authority = authority.map_err(|error| folder_error(&error))?;
    let days = |days: u32| days * DAY;
    let default = if role == Role::Master { YEAR } else { days(DEFAULT_DAYS) };
    let life = args.days.map(days).or(args.hours.map(|hours| hours * DAY / 24)).unwrap_or(default);
    let place = dir.join(format!("{}-{}", role, args.identity.name()));
    let cluster = args.identity.name();
    let certificate =
        NewCertificate { identity: &args.identity, hosts: &args.hosts, life, replace: args.replace, cluster };
    let facts = certificate.write(&authority, &place, now)?;
    if context.console.json {
        let mut shown = described(&facts, now);
        shown["dir"] = json!(place.display().to_string());
        context.console.data(shown);
    } else {
        context.console.data(place.display());
        context.console.talk(format_args!("{} until {}", facts.whose(), facts.end));
    }
    Ok(Exit::Succeeded)
}

fn join_token(context: &Context, matches: &ArgMatches, args: &JoinTokenArgs) -> Result<Exit, CliError> {
    let (_, matches) = matches.subcommand().expect("clap demands a subcommand");
    let unnamed = vec![String::new(); usize::from(args.count)];
    let names = if args.names.is_empty() { &unnamed } else { &args.names };
    let life = args.hours * DAY / 24;
    let tokens = block_on(async {
        let client = connect(context, matches).await?;
        client.create_join_tokens(names, life).await.map_err(|error| client_error(&error))
    })?;
    if context.console.json {
        let tokens: Vec<Value> =
            names.iter().zip(&tokens).map(|(name, token)| json!({ "name": name, "token": token })).collect();
        context.console.data(json!({ "tokens": tokens, "hours": args.hours }));
    } else {
        context.console.data(tokens.join("\n"));
    }
    Ok(Exit::Succeeded)
}

/// A certificate to be made.
struct NewCertificate<'a> {
    identity: &'a Identity,
    hosts: &'a [Host],
    life: Duration,
    replace: bool,
    cluster: &'a str,
}

impl NewCertificate<'_> {
    /// Makes it, with a key of its own, and puts both where `place` is; for a master, what it issues the
    /// certificates of workers with, too.
    fn write(&self, authority: &Signer, place: &Path, now: WallTime) -> Result<CertificateFacts, CliError> {
        let mut hosts = self.hosts.to_vec();
        if self.identity.role() == Role::Master {
            hosts.extend(["localhost", "127.0.0.1", "::1"].map(|host| host.parse().expect("a host")));
        }
        let key = new_key().map_err(|error| issue_error(&error))?;
        let subject = Subject { identity: self.identity, hosts: &hosts };
        let certificate = authority.certify(subject, &key, self.life, now).map_err(|error| issue_error(&error))?;
        let facts = CertificateFacts::read(&certificate).map_err(|error| CliError::of(Exit::Failed, &error))?;
        create_folder(place).map_err(|error| folder_error(&error))?;
        self.put(&place.join(IDENTITY), &key, &[certificate])?;
        if self.identity.role() == Role::Master {
            let issuer = authority.issuer(self.cluster, self.life, now).map_err(|error| issue_error(&error))?;
            self.put(&place.join(ISSUER), &issuer.1, &[issuer.0.certificate().clone()])?;
        }
        // Last, so that what is there already is refused before anything else is written.
        let trusted = to_pem(&[authority.certificate().clone()]);
        replace_file(&place.join(AUTHORITY_CERTIFICATE), &trusted).map_err(|error| folder_error(&error))?;
        Ok(facts)
    }

    fn put(
        &self,
        path: &Path,
        key: &KeyPair,
        chain: &[gristmill_common::tls::CertificateDer<'static>],
    ) -> Result<(), CliError> {
        let text = format!("{}{}", key.serialize_pem(), to_pem(chain));
        let written = if self.replace { replace_file(path, &text) } else { write_new(path, &text) };
        written.map_err(|error| folder_error(&error))
    }
}

fn show(context: &Context, args: &ShowArgs) -> Result<Exit, CliError> {
    let path = context.current_dir.join(&args.path);
    let path = if path.is_dir() { path.join(IDENTITY) } else { path };
    let now = context.clock.wall();
    let facts = read(&path)?;
    let facts =
        facts.first().ok_or_else(|| CliError::new(Exit::Failed, format!("{} holds no certificate", path.display())))?;
    if context.console.json {
        context.console.data(described(facts, now));
        return Ok(Exit::Succeeded);
    }
    let hosts = if facts.hosts.is_empty() { "-".to_owned() } else { facts.hosts.join(", ") };
    let rows = [
        ("identity", facts.whose()),
        ("serial", facts.serial.clone()),
        ("begins", facts.start.to_string()),
        ("ends", format!("{} ({})", facts.end, left(facts, now))),
        ("hosts", hosts),
        ("issued by", facts.issuer.clone()),
        ("sha256", hex(&facts.fingerprint)),
    ];
    let lines: Vec<String> = rows.iter().map(|(name, value)| format!("{name:<10} {value}")).collect();
    context.console.data(lines.join("\n"));
    Ok(Exit::Succeeded)
}

fn list(context: &Context, args: &FolderArgs) -> Result<Exit, CliError> {
    let (dir, now) = (folder(context, args), context.clock.wall());
    let unreadable =
        |error: std::io::Error| CliError::new(Exit::Failed, format!("cannot read {}", dir.display())).because(&error);
    let mut files = vec![dir.join(AUTHORITY_CERTIFICATE), dir.join(IDENTITY), dir.join(ISSUER)];
    let entries: Result<Vec<_>, _> = std::fs::read_dir(&dir).map_err(unreadable)?.collect();
    let mut folders: Vec<PathBuf> = entries.map_err(unreadable)?.into_iter().map(|entry| entry.path()).collect();
    folders.sort();
    files.extend(folders.iter().flat_map(|folder| [folder.join(IDENTITY), folder.join(ISSUER)]));
    let mut rows = Vec::new();
    for file in files.iter().filter(|file| file.exists()) {
        let shown = file.strip_prefix(&dir).unwrap_or(file).display().to_string();
        rows.extend(read(file)?.into_iter().take(1).map(|facts| (shown.clone(), facts)));
    }
    if context.console.json {
        let rows = rows.iter().map(|(file, facts)| {
            let mut shown = described(facts, now);
            shown["file"] = json!(file);
            shown
        });
        context.console.data(json!({ "certificates": rows.collect::<Vec<_>>() }));
    } else {
        let lines = rows
            .iter()
            .map(|(file, facts)| format!("{file:<32} {:<24} {}  {}", facts.whose(), facts.end, left(facts, now)));
        context.console.data(lines.collect::<Vec<_>>().join("\n"));
    }
    Ok(Exit::Succeeded)
}

fn read(path: &Path) -> Result<Vec<CertificateFacts>, CliError> {
    let pem = read_pem(path).map_err(|error| folder_error(&error))?;
    let facts: Result<Vec<_>, _> = pem.certificates.iter().map(|der| CertificateFacts::read(der)).collect();
    facts.map_err(|error| CliError::new(Exit::Failed, format!("cannot use {}", path.display())).because(&error))
}

fn left(facts: &CertificateFacts, now: WallTime) -> String {
    match facts.end.unix_millis.checked_sub(now.unix_millis) {
        None | Some(0) => "over".to_owned(),
        Some(left) if left >= 2 * 86_400_000 => format!("{} days left", left / 86_400_000),
        Some(left) => format!("{} hours left", left / 3_600_000),
    }
}

fn described(facts: &CertificateFacts, now: WallTime) -> Value {
    json!({
        "identity": facts.identity.as_ref().map(Identity::to_string),
        "subject": facts.subject,
        "issuer": facts.issuer,
        "serial": facts.serial,
        "hosts": facts.hosts,
        "begins": facts.start.to_string(),
        "ends": facts.end.to_string(),
        "over": facts.end <= now,
        "sha256": hex(&facts.fingerprint),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn issue_error(error: &IssueError) -> CliError {
    CliError::of(Exit::Failed, error)
}
