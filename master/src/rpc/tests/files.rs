//! Files that travel with jobs: sent once, handed on whole, and missed by name.

use std::collections::BTreeMap;

use gristmill_common::ids::ContentId;
use gristmill_common::spec::ShippedFile;
use gristmill_common::wire::v1::files_client::FilesClient;

use super::*;

async fn download(cluster: &Cluster, id: ContentId) -> Result<Vec<u8>, tonic::Status> {
    let channel = transport::endpoint(&cluster.url).expect("a URL").connect().await.expect("it serves");
    let request = v1::DownloadRequest { sha256: id.to_string() };
    let mut client = FilesClient::new(channel).max_decoding_message_size(2 << 20);
    let mut pieces = client.download(request).await?.into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await? {
        bytes.extend(piece.content);
    }
    Ok(bytes)
}

#[tokio::test]
async fn a_job_needs_its_files_which_are_sent_once_and_handed_on() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let path = cluster.path("model");
    fs::write(&path, &content).expect("written");
    let (id, _) = content_of(content.as_slice()).expect("in memory");
    let mut submission = cluster.submission("key", JobShape::MapReduce);
    submission.spec.files = vec![ShippedFile { name: "model".to_owned(), content: id }];
    let error = client.submit(&submission).await.expect_err("it was not sent");
    let message = format!("the master has not got file {:.12} of the job", id.to_string());
    assert!(matches!(&error, ClientError::Rejected { message: text, .. } if *text == message), "{error:?}");
    assert_eq!(download(&cluster, id).await.expect_err("unknown").code(), tonic::Code::NotFound);

    let files: BTreeMap<ContentId, PathBuf> = [(id, path.clone())].into();
    assert_eq!(client.upload(&files).await, Ok(3_000_000));
    assert_eq!(client.upload(&files).await, Ok(0));
    assert!(download(&cluster, id).await.expect("it is there") == content);
    client.submit(&submission).await.expect("accepted");

    // What changes between being named and being sent is not taken for what it was.
    let (other, _) = content_of(b"other".as_slice()).expect("in memory");
    let error = client.upload(&[(other, path)].into()).await.expect_err("another file");
    assert!(
        matches!(&error, ClientError::Rejected { message, .. } if message.contains("is something else")),
        "{error:?}"
    );
    let own: ContentId = binary().parse().expect("an id");
    let program = fs::read(std::env::current_exe().expect("this test")).expect("readable");
    assert!(download(&cluster, own).await.expect("the master's own binary") == program);
    cluster.stop().await;
}
