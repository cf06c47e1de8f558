//! What a job was made of, and what it came with, fetched from its master.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use gristmill_common::ids::ContentId;
use gristmill_common::storage::content_of;
use gristmill_common::wire::v1;
use gristmill_common::wire::v1::files_client::FilesClient;
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::{ClientError, JobsClient, timed};
use crate::rpc::PIECE_BYTES;

/// How long fetching one file may take.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(3600);

impl JobsClient {
    /// Fetches a file of a job and puts it at `path`, where it may be executed; a file that is there is
    /// replaced. What comes otherwise than it was sent is fetched again.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] if the master has it no more; else if it stays unreachable, or the file
    /// cannot be written.
    pub async fn download(&self, id: ContentId, path: &Path) -> Result<(), ClientError> {
        self.ask(async |rpc: Channel| receive(rpc, id, path).await.map(Response::new)).await
    }
}

async fn receive(rpc: Channel, id: ContentId, path: &Path) -> Result<(), Status> {
    let unwritten =
        |error: std::io::Error| Status::failed_precondition(format!("cannot write {}: {error}", path.display()));
    let request = v1::DownloadRequest { sha256: id.to_string() };
    let mut files = FilesClient::new(rpc).max_decoding_message_size(2 * PIECE_BYTES);
    let mut pieces = files.download(timed(request, DOWNLOAD_TIMEOUT)).await?.into_inner();
    let file = OpenOptions::new().create(true).truncate(true).write(true).read(true).mode(0o700).open(path);
    let mut file = file.map_err(unwritten)?;
    while let Some(piece) = pieces.message().await? {
        // Whoever fetches has nothing else to do on its runtime.
        file.write_all(&piece.content).map_err(unwritten)?;
    }
    drop(file);
    let came = std::fs::File::open(path).and_then(content_of).map_err(unwritten)?;
    match came {
        (came, _) if came == id => Ok(()),
        (came, _) => Err(Status::unavailable(format!("what came as file {id:.12} is {came:.12}"))),
    }
}
