//! What binds a segment's header to the request that it answers: blocks carry checksums of their own,
//! but an intact block of another partition would pass for the one asked for.

use gristmill_common::ids::JobId;
use gristmill_common::wire::v1;
use xxhash_rust::xxh3::xxh3_64;

/// The header with its seal. Each side computes it from the job and partition as it knows them.
pub(crate) fn sealed(job: JobId, partition: u32, header: v1::SegmentHeader) -> v1::SegmentHeader {
    let attempt = header.attempt.unwrap_or_default();
    let mut bytes = Vec::with_capacity(33);
    bytes.extend_from_slice(&job.0.to_le_bytes());
    bytes.extend_from_slice(&partition.to_le_bytes());
    bytes.extend_from_slice(&attempt.stage.to_le_bytes());
    bytes.extend_from_slice(&attempt.index.to_le_bytes());
    bytes.extend_from_slice(&attempt.number.to_le_bytes());
    bytes.extend_from_slice(&header.bytes.to_le_bytes());
    bytes.push(u8::from(header.missing));
    v1::SegmentHeader { seal: xxh3_64(&bytes), ..header }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(index: u32, number: u32, bytes: u64, missing: bool) -> v1::SegmentHeader {
        let attempt = Some(v1::AttemptId { stage: 1, index, number });
        v1::SegmentHeader { attempt, bytes, missing, reason: String::new(), seal: 0 }
    }

    #[test]
    fn each_field_changes_the_seal_and_the_seal_is_golden() {
        let seal = |job, partition, header| sealed(JobId(job), partition, header).seal;
        let seals = [
            seal(7, 1, header(2, 3, 4, false)),
            seal(8, 1, header(2, 3, 4, false)),
            seal(7, 2, header(2, 3, 4, false)),
            seal(7, 1, header(3, 3, 4, false)),
            seal(7, 1, header(2, 4, 4, false)),
            seal(7, 1, header(2, 3, 5, false)),
            seal(7, 1, header(2, 3, 4, true)),
        ];
        let different: std::collections::BTreeSet<u64> = seals.into_iter().collect();
        assert_eq!(different.len(), seals.len());
        assert_eq!(seals[0], GOLDEN);
    }

    /// Workers of one cluster may be of different builds.
    const GOLDEN: u64 = 0x4d49_390f_cf67_c8ce;
}
