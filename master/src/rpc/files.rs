//! The service `Files`: takes in what travels with jobs and hands it to workers, piece by piece.

use std::os::unix::fs::FileExt as _;
use std::pin::Pin;

use futures::{Stream, stream};
use gristmill_common::ids::ContentId;
use gristmill_common::storage::ContentError;
use gristmill_common::wire::v1;
use tonic::{Request, Response, Status, Streaming};

use crate::runtime::{ShippedFiles, describe};

/// Bytes of a file in one message.
pub(crate) const PIECE_BYTES: usize = 1 << 20;

/// Files that one request may ask about.
const MAX_ASKED: usize = 10_000;

/// The service.
pub(super) struct FilesService {
    files: ShippedFiles,
}

impl FilesService {
    pub(super) fn new(files: ShippedFiles) -> Self {
        Self { files }
    }
}

#[tonic::async_trait]
impl v1::files_server::Files for FilesService {
    type DownloadStream = Pin<Box<dyn Stream<Item = Result<v1::FilePiece, Status>> + Send + 'static>>;

    async fn missing(&self, request: Request<v1::MissingRequest>) -> Result<Response<v1::MissingReply>, Status> {
        let asked = request.into_inner().sha256;
        if asked.len() > MAX_ASKED {
            return Err(Status::invalid_argument(format!("more than {MAX_ASKED} files at once")));
        }
        let ids = asked.iter().map(|text| content_id(text)).collect::<Result<Vec<_>, _>>()?;
        let sha256 = self.files.missing(&ids).iter().map(ToString::to_string).collect();
        Ok(Response::new(v1::MissingReply { sha256 }))
    }

    async fn upload(&self, request: Request<Streaming<v1::FilePiece>>) -> Result<Response<v1::UploadReply>, Status> {
        let mut pieces = request.into_inner();
        let Some(first) = pieces.message().await? else {
            return Err(Status::invalid_argument("an upload without a piece"));
        };
        let id = content_id(&first.sha256)?;
        let Some(store) = self.files.store().cloned() else {
            return Err(Status::failed_precondition("this master keeps no files"));
        };
        let bytes = first.file_bytes;
        let mut incoming = beside(move || store.receive(id, bytes)).await?;
        let mut next = Some(first);
        while let Some(piece) = next {
            if piece.content.len() > PIECE_BYTES {
                return Err(Status::invalid_argument(format!("a piece of more than {PIECE_BYTES} bytes")));
            }
            incoming = beside(move || {
                incoming.write(&piece.content)?;
                Ok(incoming)
            })
            .await?;
            next = pieces.message().await?;
        }
        beside(move || incoming.finish()).await?;
        tracing::info!(%id, bytes, "file taken in");
        Ok(Response::new(v1::UploadReply {}))
    }

    async fn download(&self, request: Request<v1::DownloadRequest>) -> Result<Response<Self::DownloadStream>, Status> {
        let id = content_id(&request.into_inner().sha256)?;
        let files = self.files.clone();
        let found = beside(move || files.read(id)).await?;
        let found = found.ok_or_else(|| Status::not_found(format!("no file {id:.12} of a job is here")))?;
        let bytes = found.file.metadata().map_err(|error| Status::internal(error.to_string()))?.len();
        let pieces = stream::try_unfold((found, Some(0_u64)), move |(found, at)| async move {
            let Some(at) = at else { return Ok(None) };
            let read = tokio::task::spawn_blocking(move || {
                let mut content = vec![0; PIECE_BYTES.min(usize::try_from(bytes - at).unwrap_or(PIECE_BYTES))];
                found.file.read_exact_at(&mut content, at).map(|()| (found, content))
            });
            let read = read.await.map_err(|error| Status::internal(error.to_string()))?;
            let (found, content) = read.map_err(|error| Status::internal(error.to_string()))?;
            let next = at + content.len() as u64;
            let sha256 = if at == 0 { id.to_string() } else { String::new() };
            let piece = v1::FilePiece { sha256, file_bytes: bytes, content };
            Ok(Some((piece, (found, Some(next).filter(|next| *next < bytes)))))
        });
        Ok(Response::new(Box::pin(pieces)))
    }
}

/// Work on the disk, beside the runtime's threads.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ContentError> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| Status::internal(error.to_string()))?;
    done.map_err(|error| match error {
        ContentError::Different { .. } => Status::data_loss(error.to_string()),
        ContentError::TooLarge { .. } => Status::resource_exhausted(error.to_string()),
        ContentError::Io { .. } => Status::resource_exhausted(describe(&error)),
    })
}

fn content_id(text: &str) -> Result<ContentId, Status> {
    text.parse().map_err(|error: gristmill_common::ids::ParseIdError| Status::invalid_argument(error.to_string()))
}
