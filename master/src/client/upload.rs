//! What travels with a job is sent ahead of it, once for each master.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::stream;
use gristmill_common::ids::ContentId;
use gristmill_common::wire::v1;
use gristmill_common::wire::v1::files_client::FilesClient;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::{ClientError, JobsClient, QUESTION_TIMEOUT, timed};
use crate::rpc::PIECE_BYTES;

/// How long sending one file may take.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(3600);

impl JobsClient {
    /// Sends those of these files that the master does not have. Tells how many bytes that were.
    ///
    /// # Errors
    ///
    /// If one cannot be read, or the master refuses it or stays unreachable.
    pub async fn upload(&self, files: &BTreeMap<ContentId, PathBuf>) -> Result<u64, ClientError> {
        let asked: Vec<String> = files.keys().map(ToString::to_string).collect();
        let missing = self
            .ask(async |rpc: Channel| {
                let request = v1::MissingRequest { sha256: asked.clone() };
                FilesClient::new(rpc).missing(timed(request, QUESTION_TIMEOUT)).await
            })
            .await?;
        let mut sent = 0;
        for (id, path) in files.iter().filter(|(id, _)| missing.sha256.contains(&id.to_string())) {
            let unreadable =
                |error: std::io::Error| ClientError::Unreadable { path: path.clone(), reason: error.to_string() };
            let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
            self.ask(async |rpc: Channel| {
                let pieces = pieces(*id, path, bytes).map_err(|error| Status::not_found(error.to_string()))?;
                let mut request = Request::new(pieces);
                request.set_timeout(UPLOAD_TIMEOUT);
                FilesClient::new(rpc).max_encoding_message_size(2 * PIECE_BYTES).upload(request).await
            })
            .await?;
            sent += bytes;
        }
        Ok(sent)
    }
}

/// A file in pieces; one that ends early or cannot be read is found out by whoever takes it in.
fn pieces(
    id: ContentId,
    path: &Path,
    file_bytes: u64,
) -> std::io::Result<impl stream::Stream<Item = v1::FilePiece> + Send + 'static> {
    let file = File::open(path)?;
    Ok(stream::unfold((file, true), move |(mut file, first)| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut content = Vec::new();
            (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut content).map(|_| (file, content))
        });
        let (file, content) = read.await.ok()?.ok()?;
        let sha256 = if first { id.to_string() } else { String::new() };
        (first || !content.is_empty()).then_some((v1::FilePiece { sha256, file_bytes, content }, (file, false)))
    }))
}
