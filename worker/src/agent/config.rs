//! What a worker is told when it starts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gristmill_common::identity::Role;
use gristmill_common::size::ByteSize;
use gristmill_common::storage::Stores;
use gristmill_common::tls::Credentials;

use super::WorkerError;

/// How a worker runs. Values come from the command line and are checked by
/// [`run_worker`](super::run_worker).
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The master, as `http://host:port`. It may start later.
    pub master_url: String,
    /// Where the shuffle service listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What other workers are told instead of the listening address, as `host` or `host:port`.
    pub advertise: Option<String>,
    /// Whether `listen` may be off loopback, where anyone on the network can read segments.
    pub insecure_listen: bool,
    /// Its certificate: all connections are encrypted then, and certificates are asked for.
    pub credentials: Option<Arc<Credentials>>,
    /// The worker's folder, its own alone.
    pub dir: PathBuf,
    /// Attempts at once.
    pub slots: u32,
    /// Memory of all attempts together.
    pub memory: ByteSize,
    /// How full the disk of the worker's folder may be, in percent, for attempts to begin: those that run
    /// need the rest.
    pub scratch_limit: u64,
    /// The most memory that one executor process may have for its data, user code's own included.
    pub executor_memory: ByteSize,
    /// What binaries and files of jobs may take on disk.
    pub file_cache: ByteSize,
    /// How long the worker goes on without a master.
    pub orphan_timeout: Duration,
    /// Whether blocks of map outputs are compressed.
    pub compress: bool,
    /// Whether segments of this machine go through the network too, for trials.
    pub shuffle_network: bool,
    /// Reads inputs in object stores for attempts, with the worker's credentials.
    pub stores: Stores,
}

impl WorkerConfig {
    /// Checks what can be checked without doing anything.
    pub(super) fn validate(&self) -> Result<(), WorkerError> {
        if self.slots == 0 || self.slots as usize > gristmill_sys::positions::MAX_SLOTS {
            return Err(WorkerError::Slots { slots: self.slots });
        }
        if !self.listen.ip().is_loopback() && !self.insecure_listen && self.credentials.is_none() {
            return Err(WorkerError::InsecureListen { listen: self.listen });
        }
        if let Some(credentials) = &self.credentials {
            let loaded = credentials.current();
            let checked = loaded.check_role(Role::Worker).and_then(|()| loaded.check(credentials.clock().now()));
            let folder = credentials.folder().to_owned();
            checked.map_err(|source| WorkerError::Certificate { folder, source })?;
        }
        if self.listen.ip().is_unspecified() && self.advertise.is_none() {
            return Err(WorkerError::NoAdvertisedAddress { listen: self.listen });
        }
        Ok(())
    }

    /// The URL under which other workers reach the service that listens on `bound`.
    pub(super) fn address(&self, bound: SocketAddr) -> String {
        let scheme = if self.credentials.is_some() { "https" } else { "http" };
        match self.advertise.as_deref() {
            None => format!("{scheme}://{bound}"),
            // A port is what follows the last colon outside the brackets of an IPv6 address.
            Some(host) if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => {
                format!("{scheme}://{host}")
            }
            Some(host) => format!("{scheme}://{host}:{}", bound.port()),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A worker with two slots for a master at this URL.
    pub(in super::super) fn config(master_url: &str, dir: PathBuf) -> WorkerConfig {
        WorkerConfig {
            master_url: master_url.to_owned(),
            listen: "127.0.0.1:0".parse().expect("an address"),
            advertise: None,
            insecure_listen: false,
            credentials: None,
            dir,
            slots: 2,
            memory: ByteSize::mib(400),
            scratch_limit: 100,
            executor_memory: ByteSize::mib(2000),
            file_cache: ByteSize::mib(100),
            orphan_timeout: Duration::from_secs(20),
            compress: false,
            shuffle_network: false,
            stores: Stores::without_environment(),
        }
    }

    #[test]
    fn listening_off_loopback_has_to_be_asked_for() {
        let check = |listen: &str, insecure: bool, advertise: Option<&str>, expect: Option<&str>| {
            let mut config = config("http://127.0.0.1:1", PathBuf::from("/tmp"));
            config.listen = listen.parse().expect("an address");
            config.insecure_listen = insecure;
            config.advertise = advertise.map(ToOwned::to_owned);
            let error = config.validate().err().map(|error| error.to_string());
            assert_eq!(error.is_some(), expect.is_some(), "{error:?}");
            assert!(error.unwrap_or_default().starts_with(expect.unwrap_or_default()));
        };
        check("127.0.0.1:0", false, None, None);
        check("[::1]:0", false, None, None);
        check("192.0.2.1:0", false, None, Some("listening on 192.0.2.1:0 is not protected"));
        check("192.0.2.1:0", true, None, None);
        check("0.0.0.0:0", true, None, Some("other workers cannot reach 0.0.0.0:0"));
        check("0.0.0.0:0", true, Some("node-1"), None);
    }

    #[test]
    fn advertised_addresses_are_urls() {
        let check = |advertise: Option<&str>, expect: &str| {
            let mut config = config("http://127.0.0.1:1", PathBuf::from("/tmp"));
            config.advertise = advertise.map(ToOwned::to_owned);
            assert_eq!(config.address("127.0.0.1:7421".parse().expect("an address")), expect);
        };
        check(None, "http://127.0.0.1:7421");
        check(Some("node-1"), "http://node-1:7421");
        check(Some("node-1:80"), "http://node-1:80");
        check(Some("[::1]"), "http://[::1]:7421");
    }
}
