//! The form in which an object is stored: as it is, compressed, or as a file of columns. Told by the
//! object's name, then by its first bytes. Decodes nothing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A compression format of whole files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// gzip (RFC 1952), any number of members.
    Gzip,
    /// bzip2, any number of streams.
    Bzip2,
    /// Zstandard (RFC 8878), any number of frames, skippable ones among them.
    Zstd,
    /// LZ4 frames.
    Lz4,
    /// Snappy: the framing format, or Hadoop's blocks.
    Snappy,
    /// xz.
    Xz,
    /// zlib (RFC 1950), which HTTP and Hadoop call deflate.
    Deflate,
}

impl Codec {
    /// All of them.
    pub const ALL: [Codec; 7] =
        [Codec::Gzip, Codec::Bzip2, Codec::Zstd, Codec::Lz4, Codec::Snappy, Codec::Xz, Codec::Deflate];

    /// What it is called on the command line and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Gzip => "gzip",
            Codec::Bzip2 => "bzip2",
            Codec::Zstd => "zstd",
            Codec::Lz4 => "lz4",
            Codec::Snappy => "snappy",
            Codec::Xz => "xz",
            Codec::Deflate => "deflate",
        }
    }

    /// The endings of names of such objects; the first one is that of ours.
    pub fn endings(self) -> &'static [&'static str] {
        match self {
            Codec::Gzip => &["gz", "gzip", "tgz"],
            Codec::Bzip2 => &["bz2"],
            Codec::Zstd => &["zst", "zstd"],
            Codec::Lz4 => &["lz4"],
            Codec::Snappy => &["sz", "snappy"],
            Codec::Xz => &["xz"],
            Codec::Deflate => &["deflate", "zz"],
        }
    }

    /// Whether several tasks can read any object of this codec, each a part of it.
    pub fn is_splittable(self) -> bool {
        match self {
            Codec::Bzip2 => true,
            Codec::Gzip | Codec::Zstd | Codec::Lz4 | Codec::Snappy | Codec::Xz | Codec::Deflate => false,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not the name of a codec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression {given:?} (known: gzip, bzip2, zstd, lz4, snappy, xz, deflate)")]
pub struct UnknownCodec {
    /// What was given.
    pub given: String,
}

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(text: &str) -> Result<Self, UnknownCodec> {
        let named = Codec::ALL.into_iter().find(|codec| codec.name() == text || codec.endings().contains(&text));
        named.ok_or_else(|| UnknownCodec { given: text.to_owned() })
    }
}

/// The form in which an object is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Its bytes are its content.
    Plain,
    /// Its content is compressed. Several tasks read one object only if its codec has blocks that are
    /// found from anywhere, as bzip2 has.
    Compressed(Codec),
    /// Its content is compressed with zstd, in frames that a table at its end lists, so that several tasks
    /// read one object. Told by whoever plans a job; to all others it is zstd like any.
    SeekableZstd,
    /// A Parquet file.
    Parquet,
}

/// Bytes of an object's beginning that [`Form::of_head`] looks at.
pub const HEAD_BYTES: usize = 16;

/// The endings of names whose objects are taken as they are without a look at them.
const PLAIN_ENDINGS: [&str; 9] = ["txt", "text", "csv", "tsv", "json", "jsonl", "ndjson", "log", "md"];

impl Form {
    /// How the content is compressed, if it is.
    pub fn codec(self) -> Option<Codec> {
        match self {
            Form::Compressed(codec) => Some(codec),
            Form::SeekableZstd => Some(Codec::Zstd),
            Form::Plain | Form::Parquet => None,
        }
    }

    /// The form of an object, as far as it is told without a look at it: what was asked for, what was
    /// pinned, what its name tells; in this order.
    pub fn told(asked: Option<Form>, pinned: Option<Form>, name: &str) -> Option<Form> {
        // What was asked for cannot say that there is a table of frames; a look at the object can.
        let finer = pinned.filter(|pinned| {
            *pinned == Form::SeekableZstd && asked.is_none_or(|asked| asked.codec() == Some(Codec::Zstd))
        });
        finer.or(asked).or(pinned).or_else(|| Form::of_name(name))
    }

    /// The form that the end of a name tells, in any case of letters.
    pub fn of_name(name: &str) -> Option<Form> {
        let (_, ending) = name.rsplit_once('.')?;
        let ending = ending.to_ascii_lowercase();
        if PLAIN_ENDINGS.contains(&ending.as_str()) {
            return Some(Form::Plain);
        }
        if matches!(ending.as_str(), "parquet" | "parq") {
            return Some(Form::Parquet);
        }
        let codec = Codec::ALL.into_iter().find(|codec| codec.endings().contains(&ending.as_str()));
        codec.map(Form::Compressed)
    }

    /// A name without the ending that tells a compression: what the content may be named.
    pub fn content_name(name: &str) -> &str {
        match (Form::of_name(name), name.rsplit_once('.')) {
            (Some(Form::Compressed(_)), Some((content, _))) => content,
            _ => name,
        }
    }

    /// The form that an object's first [`HEAD_BYTES`] tell, or as many as it has. zlib, whose two bytes
    /// begin much else, is only told by name.
    pub fn of_head(head: &[u8]) -> Form {
        let begins = |magic: &[u8]| head.starts_with(magic);
        let is_bzip2 = begins(b"BZh")
            && head.get(3).is_some_and(u8::is_ascii_digit)
            && matches!(head.get(4..10), Some(b"\x31\x41\x59\x26\x53\x59" | b"\x17\x72\x45\x38\x50\x90"));
        // Deflate is the only method that there is, and the upper three flags are not.
        let is_gzip = begins(b"\x1f\x8b\x08") && head.get(3).is_some_and(|flags| flags & 0xe0 == 0);
        if is_gzip {
            Form::Compressed(Codec::Gzip)
        } else if is_bzip2 {
            Form::Compressed(Codec::Bzip2)
        } else if begins(b"\x28\xb5\x2f\xfd") {
            Form::Compressed(Codec::Zstd)
        } else if begins(b"\x04\x22\x4d\x18") {
            Form::Compressed(Codec::Lz4)
        } else if begins(b"\xff\x06\x00\x00sNaPpY") {
            Form::Compressed(Codec::Snappy)
        } else if begins(b"\xfd7zXZ\x00") {
            Form::Compressed(Codec::Xz)
        } else if begins(b"PAR1") {
            Form::Parquet
        } else {
            Form::Plain
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Form::Plain => f.write_str("plain"),
            Form::Compressed(codec) => codec.fmt(f),
            Form::SeekableZstd => f.write_str("zstd-seekable"),
            Form::Parquet => f.write_str("parquet"),
        }
    }
}

impl FromStr for Form {
    type Err = UnknownCodec;

    fn from_str(text: &str) -> Result<Self, UnknownCodec> {
        match text {
            "plain" => Ok(Form::Plain),
            "parquet" => Ok(Form::Parquet),
            "zstd-seekable" => Ok(Form::SeekableZstd),
            codec => codec.parse().map(Form::Compressed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_form() {
        let check = |name: &str, expect: Option<Form>| assert_eq!(Form::of_name(name), expect, "{name}");
        check("a.csv.GZ", Some(Form::Compressed(Codec::Gzip)));
        check("a.bz2", Some(Form::Compressed(Codec::Bzip2)));
        check("a.log", Some(Form::Plain));
        check("a.parquet", Some(Form::Parquet));
        check("part-00000", None);
        check("gz", None);
        assert_eq!(Form::content_name("a.json.gz"), "a.json");
        assert_eq!(Form::content_name("a.json"), "a.json");
        for codec in Codec::ALL {
            assert_eq!(codec.name().parse(), Ok(codec));
            assert_eq!(Form::of_name(&format!("x.{}", codec.endings()[0])), Some(Form::Compressed(codec)));
        }
        assert!("brotli".parse::<Codec>().is_err());
    }

    #[test]
    fn what_is_asked_for_wins_but_for_a_table_that_was_seen() {
        let zstd = Form::Compressed(Codec::Zstd);
        let check = |asked: Option<Form>, pinned: Option<Form>, name: &str, expect: Option<Form>| {
            assert_eq!(Form::told(asked, pinned, name), expect, "{asked:?} {pinned:?} {name}");
        };
        check(None, None, "part-00000", None);
        check(None, None, "a.zst", Some(zstd));
        check(None, Some(Form::Plain), "a.zst", Some(Form::Plain));
        check(Some(Form::Plain), Some(zstd), "a.zst", Some(Form::Plain));
        check(Some(zstd), Some(Form::SeekableZstd), "a", Some(Form::SeekableZstd));
        check(Some(Form::Plain), Some(Form::SeekableZstd), "a", Some(Form::Plain));
    }

    #[test]
    fn first_bytes_tell_the_form() {
        let check = |head: &[u8], expect: &str| assert_eq!(Form::of_head(head).to_string(), expect, "{head:?}");
        check(b"", "plain");
        check(b"BZh9 is how it begins", "plain");
        check(b"BZh9\x31\x41\x59\x26\x53\x59", "bzip2");
        check(b"\x1f\x8b\x08\x00", "gzip");
        check(b"\x1f\x8b\x08", "plain");
        check(b"\x28\xb5\x2f\xfd", "zstd");
        check(b"\x04\x22\x4d\x18", "lz4");
        check(b"\xff\x06\x00\x00sNaPpY", "snappy");
        check(b"\xfd7zXZ\x00", "xz");
        check(b"PAR1", "parquet");
    }
}
