//! Store servers that a test starts itself, on free ports of loopback, with a bucket that is called
//! `bucket`. They end with the value. One that is not on this machine is `None`, with the reason printed.

use std::fs;
use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::TryStreamExt as _;
use gristmill_common::spec::StoreOptions;
use gristmill_common::storage::{Machine, OutputStore, StoreAt, StoreEnvironment, Stores};
use object_store::ObjectStoreExt as _;
use serde::Serialize;

use crate::installed::{python, skipped, tools};
use crate::waiting::eventually_within;

/// How long a server may take until it serves.
const START: Duration = Duration::from_secs(120);

/// How often a server is started whose port somebody else may take first.
const TRIES: u32 = 3;

/// The bucket that every server has.
pub const BUCKET: &str = "bucket";

/// The folder in which s3s-fs keeps buckets and uploads.
const OBJECTS: &str = "objects";

/// The account of Azurite, which everybody knows.
const AZURITE_ACCOUNT: &str = "devstoreaccount1";

/// Its key (Microsoft, "Use the Azurite emulator for local Azure Storage development").
const AZURITE_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerKind {
    /// `moto_server`, in Python: correct, and slow.
    Moto,
    /// `s3s-fs`, over a folder: fast, and checks signatures.
    S3sFs,
    /// Azurite, the emulator of Azure Blob Storage.
    Azurite,
}

/// There is no such server on this machine.
#[derive(Debug)]
struct NotHere;

/// A server that runs.
#[derive(Debug)]
pub struct StoreServer {
    kind: ServerKind,
    process: Child,
    url: String,
    dir: tempfile::TempDir,
}

impl StoreServer {
    /// Starts a server and makes its bucket. `None`, with the reason printed, where there is none.
    ///
    /// # Panics
    ///
    /// If it is there and does not serve in time.
    pub fn start(kind: ServerKind) -> Option<Self> {
        (1..=TRIES).find_map(|number| Self::try_start(kind, number).transpose())?.ok()
    }

    /// Starts a server for the `number`th time; `None` if its port was taken before it came to it.
    fn try_start(kind: ServerKind, number: u32) -> Result<Option<Self>, NotHere> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let address = free_address();
        let command = match kind {
            ServerKind::Moto => moto(address),
            ServerKind::S3sFs => s3s_fs(address, dir.path()),
            ServerKind::Azurite => azurite(address, dir.path()),
        };
        let mut command = command.map_err(|reason| {
            skipped(&format!("no {kind:?}: {reason} (.ci/tools installs it)"));
            NotHere
        })?;
        let log = fs::File::create(dir.path().join("server.log")).expect("scratch");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("scratch")).stderr(log);
        let process = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let mut server = Self { kind, process, url: format!("http://{address}"), dir };
        let mut ended = None;
        let serves = eventually_within(START, || {
            ended = server.process.try_wait().expect("a child can be asked");
            ended.is_some() || TcpStream::connect(address).is_ok()
        });
        if ended.is_some() && number < TRIES {
            return Ok(None);
        }
        assert!(serves && ended.is_none(), "{kind:?} does not serve ({ended:?}): {}", server.log());
        server.make_bucket(address);
        Ok(Some(server))
    }

    /// Which it is.
    pub fn kind(&self) -> ServerKind {
        self.kind
    }

    /// Where it serves, as an endpoint.
    pub fn url(&self) -> String {
        match self.kind {
            ServerKind::Moto | ServerKind::S3sFs => self.url.clone(),
            ServerKind::Azurite => format!("{}/{AZURITE_ACCOUNT}", self.url),
        }
    }

    /// The scheme of its locations: `s3` or `az`.
    pub fn scheme(&self) -> &'static str {
        match self.kind {
            ServerKind::Moto | ServerKind::S3sFs => "s3",
            ServerKind::Azurite => "az",
        }
    }

    /// The location of a key in its bucket.
    pub fn uri(&self, key: &str) -> String {
        format!("{}://{BUCKET}/{key}", self.scheme())
    }

    /// Variables with which a process may read and write. They say nothing of where it serves.
    pub fn credentials(&self) -> Vec<(&'static str, &'static str)> {
        match self.kind {
            ServerKind::Moto | ServerKind::S3sFs => {
                vec![("AWS_ACCESS_KEY_ID", "test-key"), ("AWS_SECRET_ACCESS_KEY", "test-secret")]
            }
            ServerKind::Azurite => {
                vec![("AZURE_STORAGE_ACCOUNT_NAME", AZURITE_ACCOUNT), ("AZURE_STORAGE_ACCOUNT_KEY", AZURITE_KEY)]
            }
        }
    }

    /// Stores that reach it at `endpoint`, which may be that of a proxy in front of it.
    pub fn stores_at(&self, endpoint: &str) -> Stores {
        let options = StoreOptions { endpoint: Some(endpoint.to_owned()), ..StoreOptions::default() };
        Stores::new(&options, StoreEnvironment::from_variables(self.credentials(), Machine::Other))
    }

    /// A key of its bucket, opened past any proxy.
    fn at(&self, key: &str) -> StoreAt {
        let uri = self.uri(key).parse().expect("a location");
        self.stores_at(&self.url()).at(&uri).expect("there are credentials")
    }

    /// Puts an object.
    ///
    /// # Panics
    ///
    /// If the server does not take it.
    pub fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        let (at, bytes) = (self.at(key), bytes.into());
        let StoreAt { store, path, .. } = at.clone();
        at.runtime.wait(async move { store.put(&path, bytes.into()).await }).expect("the server takes objects");
    }

    /// Puts an object that is open to everybody, which only moto knows.
    ///
    /// # Panics
    ///
    /// If the server does not take it.
    pub fn put_for_everybody(&self, key: &str, text: &str) {
        let address = self.url.trim_start_matches("http://");
        let request = format!(
            "PUT /{BUCKET}/{key} HTTP/1.1\r\nhost: {address}\r\nx-amz-acl: public-read\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{text}",
            text.len()
        );
        let answer = ask(address.parse().expect("an address"), &request).expect("the server answers");
        assert!(answer.contains(" 200 "), "{answer}");
    }

    /// An object's bytes; `None` if there is none.
    ///
    /// # Panics
    ///
    /// If the server does not tell.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let at = self.at(key);
        let StoreAt { store, path, .. } = at.clone();
        let got = at.runtime.wait(async move { store.get(&path).await?.bytes().await });
        match got {
            Ok(bytes) => Some(bytes.to_vec()),
            Err(object_store::Error::NotFound { .. }) => None,
            Err(error) => panic!("cannot get {key}: {error}"),
        }
    }

    /// The keys in a folder of the bucket, in order.
    ///
    /// # Panics
    ///
    /// If the server does not tell.
    pub fn keys(&self, folder: &str) -> Vec<String> {
        let at = self.at(folder);
        let StoreAt { store, path, .. } = at.clone();
        let listed = at.runtime.wait(async move {
            store.list(Some(&path)).map_ok(|meta| meta.location.to_string()).try_collect::<Vec<_>>().await
        });
        let mut keys = listed.expect("the server lists");
        keys.sort_unstable();
        keys
    }

    /// Deletes an object.
    ///
    /// # Panics
    ///
    /// If the server does not.
    pub fn delete(&self, key: &str) {
        let at = self.at(key);
        let StoreAt { store, path, .. } = at.clone();
        at.runtime.wait(async move { store.delete(&path).await }).expect("the server deletes objects");
    }

    /// Deletes the objects in a folder of the bucket.
    ///
    /// # Panics
    ///
    /// If the server does not.
    pub fn remove(&self, folder: &str) {
        self.keys(folder).iter().for_each(|key| self.delete(key));
    }

    /// How many uploads of parts to a folder of the bucket are neither completed nor aborted; `None` if the
    /// server cannot tell.
    ///
    /// # Panics
    ///
    /// If it can, and does not.
    pub fn unfinished_uploads(&self, folder: &str) -> Option<usize> {
        let uri = self.uri(folder).parse().expect("a location");
        let place = OutputStore::new(self.at(folder), uri).expect("every server takes uploads");
        let asked = place.clone();
        let listed = place.wait(async move { asked.unfinished().await });
        Some(listed.expect("the server lists")?.len())
    }

    /// The files of uploads that a server over a folder keeps, which may have no way to list them: begun and
    /// neither completed nor aborted, and pieces of such. `None` of other servers.
    pub fn upload_files(&self) -> Option<(usize, usize)> {
        if self.kind != ServerKind::S3sFs {
            return None;
        }
        let entries = fs::read_dir(self.dir.path().join(OBJECTS)).into_iter().flatten().flatten();
        let names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        let count = |prefix: &str| names.iter().filter(|name| name.starts_with(prefix)).count();
        Some((count(".upload-"), count(".upload_id-")))
    }

    /// What it printed.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("server.log")).unwrap_or_default()
    }

    fn make_bucket(&self, address: SocketAddr) {
        match self.kind {
            // It checks no signatures.
            ServerKind::Moto => {
                let text = format!(
                    "PUT /{BUCKET} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
                let answer = ask(address, &text).expect("the server answers");
                assert!(answer.contains(" 200 "), "{answer}\n{}", self.log());
            }
            ServerKind::S3sFs => {}
            ServerKind::Azurite => make_container(&self.url()),
        }
    }
}

impl Drop for StoreServer {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("a listener has an address")
}

fn ask(address: SocketAddr, request: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_to_string(&mut answer)?;
    Ok(answer)
}

fn moto(address: SocketAddr) -> Result<Command, String> {
    let there = Command::new(python()).args(["-c", "import moto.server, flask"]).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        return Err("python3 has no moto".to_owned());
    }
    let mut command = Command::new(python());
    command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &address.port().to_string()]);
    Ok(command)
}

fn s3s_fs(address: SocketAddr, dir: &Path) -> Result<Command, String> {
    let binary = installed("s3s-fs/bin/s3s-fs")?;
    let folder = dir.join(OBJECTS);
    fs::create_dir_all(folder.join(BUCKET)).expect("scratch");
    let mut command = Command::new(binary);
    command.args(["--host", "127.0.0.1", "--port", &address.port().to_string()]);
    command.args(["--access-key", "test-key", "--secret-key", "test-secret"]).arg(folder);
    Ok(command)
}

fn azurite(address: SocketAddr, dir: &Path) -> Result<Command, String> {
    let mut command = Command::new(installed("azurite/node_modules/.bin/azurite-blob")?);
    command.args(["--blobHost", "127.0.0.1", "--blobPort", &address.port().to_string()]);
    command.args(["--skipApiVersionCheck", "--disableTelemetry", "--silent", "--location"]).arg(dir);
    Ok(command)
}

fn installed(binary: &str) -> Result<PathBuf, String> {
    let binary = tools().join(binary);
    if binary.is_file() { Ok(binary) } else { Err(format!("there is no {}", binary.display())) }
}

/// Makes Azurite's container with the client in Python, which signs; the engine makes none.
fn make_container(endpoint: &str) {
    let script = "import base64,hashlib,hmac,sys,urllib.request,email.utils\n\
        url,account,key,name=sys.argv[1:]\n\
        date=email.utils.formatdate(usegmt=True)\n\
        text='PUT\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\\nx-ms-date:'+date+'\\nx-ms-version:2021-08-06\\n/'+account+'/'+account+'/'+name+'\\nrestype:container'\n\
        sign=base64.b64encode(hmac.new(base64.b64decode(key),text.encode(),hashlib.sha256).digest()).decode()\n\
        r=urllib.request.Request(url+'/'+name+'?restype=container',method='PUT',data=b'',headers={'x-ms-date':date,'x-ms-version':'2021-08-06','Authorization':'SharedKey '+account+':'+sign,'Content-Type':''})\n\
        print(urllib.request.urlopen(r).status)\n";
    let made = Command::new(python()).args(["-c", script, endpoint, AZURITE_ACCOUNT, AZURITE_KEY, BUCKET]).output();
    let made = made.expect("python3 is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_serves_until_it_is_dropped() {
        let Some(server) = StoreServer::start(ServerKind::Moto) else { return };
        let address: SocketAddr = server.url().trim_start_matches("http://").parse().expect("an address");
        let listing = format!("GET /{BUCKET}?list-type=2 HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        assert!(ask(address, &listing).expect("it answers").contains("<Name>bucket</Name>"));
        drop(server);
        assert!(TcpStream::connect(address).is_err());
    }
}
