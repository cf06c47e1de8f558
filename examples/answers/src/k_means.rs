//! One round of k-means over points in the plane, lines `x TAB y`: each point belongs to the nearest of
//! the centres that are shipped with the job, and the means are the centres of the next round.

use std::fs;

use gristmill::combine::Addend;
use gristmill::prelude::*;
use serde::{Deserialize, Serialize};

use crate::columns::Fields;

/// `x TAB y TAB points` of each centre that has points; a round's output is the file `centres` of the
/// next. The job with what an attempt of it knows: where the centres are.
#[derive(Debug, Default)]
pub(crate) struct KMeans {
    centres: Vec<[f64; 2]>,
}

/// Points that were added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Points {
    sum: [f64; 2],
    count: u64,
}

impl Addend for Points {
    /// Sums of floats differ in their last bits with the order in which they are made.
    const EXACT: bool = false;

    fn checked_sum(self, other: Self) -> Option<Self> {
        let sum = [self.sum[0] + other.sum[0], self.sum[1] + other.sum[1]];
        Some(Self { sum, count: self.count.checked_add(other.count)? })
    }
}

/// Points of the plane.
pub(crate) enum Plane {}

impl Input for Plane {
    type Record<'a> = [f64; 2];

    fn decode<'a>(line: &'a [u8], _from: Provenance<'a>) -> Result<[f64; 2], RecordError> {
        let mut row = Fields::of(line, '\t')?;
        Ok([row.parsed("x")?, row.parsed("y")?])
    }
}

impl MapReduce for KMeans {
    type Input = Plane;
    type Key = u32;
    type Value = Points;
    type Combine = Sum;
    type Output = Text<f64, Pair<f64, u64>>;

    fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>> {
        let file = fs::read(task.file("centres")?)?;
        let lines = file.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let from = Provenance::new("centres", 0, 0);
        let centres: Result<_, RecordError> = lines.map(|line| Plane::decode(line, from)).collect();
        Ok(Some(Self { centres: centres? }))
    }

    fn map(&self, point: [f64; 2], out: &mut impl Emit<u32, Points>) -> Result<()> {
        let distance = |centre: &[f64; 2]| (point[0] - centre[0]).powi(2) + (point[1] - centre[1]).powi(2);
        let nearest = (0..).zip(&self.centres).min_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b)));
        let (centre, _) = nearest.ok_or_else(|| JobError::new("the file of centres is empty"))?;
        out.emit(centre, Points { sum: point, count: 1 })
    }

    fn reduce(&self, _centre: u32, points: Values<Points>, out: &mut impl Sink<f64, Pair<f64, u64>>) -> Result<()> {
        let Points { sum, count } = points.sum();
        out.put(sum[0] / count as f64, (sum[1] / count as f64, count))
    }
}

#[cfg(test)]
mod tests {
    use gristmill::testing::{Sample, run};

    use super::*;

    #[test]
    fn rounds_end_where_the_points_are() {
        let points: String = (0..30).map(|n| format!("{}\t{}\n", n % 3 * 100 + n / 3 % 2, n % 3 * 100)).collect();
        let mut centres = "0\t0\n60\t60\n300\t300\n".to_owned();
        for _ in 0..10 {
            let sample = Sample::new().object("points", &points).file("centres", &centres);
            let next = run(&KMeans::default(), sample).text();
            if next == centres {
                break;
            }
            centres = next;
        }
        assert_eq!(centres, "0.5\t0\t10\n100.5\t100\t10\n200.5\t200\t10\n");
        gristmill::check_job!(KMeans::default(), Sample::new().object("points", points).file("centres", centres));
    }
}
