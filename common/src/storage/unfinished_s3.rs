//! Unfinished uploads of an S3 bucket: `ListMultipartUploads`, page by page, which `object_store` does
//! not have. Aborts none.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};
use object_store::Error;
use object_store::path::Path;
use serde::Deserialize;

use super::output_store::UnfinishedUploads;
use super::stores::{S3RequestError, S3Requests, StoreAccess};

/// The most pages of one listing, of 1,000 uploads each. More finds more of what a bucket has gathered;
/// the next job that ends finds the rest.
const MOST_PAGES: usize = 1000;

/// What servers answer that do not know the request, or to whom may not ask it.
const CANNOT_LIST: [u16; 4] = [401, 403, 405, 501];

/// One page.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Page {
    is_truncated: bool,
    next_key_marker: Option<String>,
    next_upload_id_marker: Option<String>,
    upload: Vec<Upload>,
}

/// One upload.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    upload_id: String,
}

/// The uploads of a bucket.
#[derive(Debug)]
pub(super) struct BucketUploads(Arc<StoreAccess>);

impl BucketUploads {
    /// Those of the bucket that is reached like this; `None` if it is not of S3.
    pub(super) fn of(access: &Arc<StoreAccess>) -> Option<Arc<dyn UnfinishedUploads>> {
        access.s3.as_ref().map(|_| Arc::new(Self(Arc::clone(access))) as Arc<dyn UnfinishedUploads>)
    }
}

impl UnfinishedUploads for BucketUploads {
    fn list<'a>(&'a self, prefix: &'a Path) -> BoxFuture<'a, object_store::Result<Vec<(Path, String)>>> {
        let not_s3 = || Error::NotSupported { source: "not a store of S3".into() };
        async move { list(self.0.s3.as_ref().ok_or_else(not_s3)?, format!("{prefix}/")).await }.boxed()
    }
}

async fn list(requests: &S3Requests, prefix: String) -> object_store::Result<Vec<(Path, String)>> {
    let mut found = Vec::new();
    let mut after = None;
    for _ in 0..MOST_PAGES {
        let answer = requests.ask_bucket(&query(&prefix, after.as_ref())).await;
        let answer = match answer {
            Err(S3RequestError::Refused { status, body }) if CANNOT_LIST.contains(&status) => {
                return Err(Error::NotSupported { source: body.into() });
            }
            answer => answer.map_err(|error| generic(error.into()))?,
        };
        let page: Page = quick_xml::de::from_str(&answer).map_err(|error| generic(error.into()))?;
        // A key that is no path is none of ours.
        let uploads = page.upload.into_iter().filter(|upload| upload.key.starts_with(&prefix));
        found.extend(uploads.filter_map(|upload| Some((Path::parse(upload.key).ok()?, upload.upload_id))));
        after = page.next_key_marker.map(|key| (key, page.next_upload_id_marker.unwrap_or_default()));
        if !page.is_truncated || after.is_none() {
            break;
        }
    }
    Ok(found)
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic { store: "S3", source }
}

/// The query of the page after a key and an upload of it, with its parameters in the order in which they
/// are signed.
fn query(prefix: &str, after: Option<&(String, String)>) -> String {
    let encode =
        |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    let prefix = encode(prefix);
    match after {
        None => format!("prefix={prefix}&uploads="),
        Some((key, upload)) => {
            format!("key-marker={}&prefix={prefix}&upload-id-marker={}&uploads=", encode(key), encode(upload))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_with_what_servers_add() {
        let page = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
  <Bucket>b</Bucket><KeyMarker></KeyMarker><MaxUploads>1000</MaxUploads><IsTruncated>true</IsTruncated>
  <NextKeyMarker>out/a &amp; b</NextKeyMarker><NextUploadIdMarker>u2</NextUploadIdMarker>
  <Upload><Key>out/part-00000</Key><UploadId>u1</UploadId><Initiator><ID>x</ID></Initiator>
    <StorageClass>STANDARD</StorageClass><Initiated>2026-11-21T03:45:12Z</Initiated></Upload>
  <Upload><Key>out/a &amp; b</Key><UploadId>u2</UploadId></Upload>
</ListMultipartUploadsResult>"#;
        let upload = |key: &str, id: &str| Upload { key: key.to_owned(), upload_id: id.to_owned() };
        let expect = Page {
            is_truncated: true,
            next_key_marker: Some("out/a & b".to_owned()),
            next_upload_id_marker: Some("u2".to_owned()),
            upload: vec![upload("out/part-00000", "u1"), upload("out/a & b", "u2")],
        };
        assert_eq!(quick_xml::de::from_str::<Page>(page).expect("a page"), expect);
        let empty = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
        assert_eq!(quick_xml::de::from_str::<Page>(empty).expect("a page"), Page::default());
    }

    #[test]
    fn queries_are_encoded_and_in_order() {
        assert_eq!(query("a b/", None), "prefix=a%20b%2F&uploads=");
        let after = ("k+".to_owned(), "u=".to_owned());
        assert_eq!(query("p/", Some(&after)), "key-marker=k%2B&prefix=p%2F&upload-id-marker=u%3D&uploads=");
    }
}
