//! Makes a sample on which a law is broken smaller: leaves out ever smaller runs of records as long as
//! it stays broken ("delta debugging", Zeller and Hildebrandt 2002, without its complements).

use super::bench::Bench;
use super::sample::{Object, Sample};

/// The smallest sample found with what was seen on it, after at most `tries` others.
pub(super) fn shrink(
    bench: &Bench<'_>,
    sample: Sample,
    detail: String,
    tries: usize,
    broken: &dyn Fn(&Sample) -> Option<String>,
) -> (Sample, String) {
    let job = bench.job();
    let mut records = bench.records(&*job, &sample);
    let (mut best, mut tries) = ((rebuilt(&sample, &records), detail), tries);
    let mut size = records.len().div_ceil(2);
    while size > 0 {
        let (mut at, mut smaller) = (0, false);
        while at < records.len() && tries > 0 {
            let mut fewer = records.clone();
            fewer.drain(at..(at + size).min(records.len()));
            let candidate = rebuilt(&sample, &fewer);
            tries -= 1;
            match broken(&candidate) {
                Some(detail) => (records, best, smaller) = (fewer, (candidate, detail), true),
                None => at += size,
            }
        }
        // Once single records were left out, others may do without them.
        size = if size == 1 && smaller { 1 } else { size / 2 };
    }
    best
}

/// The sample with these records alone. Objects of which none is left are left out.
fn rebuilt(sample: &Sample, records: &[(usize, std::ops::Range<usize>)]) -> Sample {
    let objects: Vec<&Object> = sample.in_order().collect();
    let left = records.chunk_by(|a, b| a.0 == b.0).map(|some| {
        let object = objects[some[0].0];
        let bytes = some.iter().flat_map(|(_, range)| object.bytes()[range.clone()].iter().copied());
        Object::new(object.role(), object.name(), bytes.collect())
    });
    sample.with_objects(left.collect())
}
