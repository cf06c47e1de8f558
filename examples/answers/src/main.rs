//! Jobs of many shapes over real data, a file each, to be read and copied. The tests beside them run
//! most of them in one process and on a cluster, and compare with answers that other programs gave.
//!
//! | job | shape |
//! |---|---|
//! | `mit-wc`, `mit-indexer` | counting; which files a word is in; an output format of one's own |
//! | `bigrams` | a secondary sort whose groups are read twice |
//! | `temperatures` | a maximum; fields in fixed places |
//! | `word-stats` | totals over everything: state of an attempt, written at its end |
//! | `sessions` | a secondary sort by time |
//! | `weather-airports` | rows of two types joined in the reduce |
//! | `reviews` | counts and distinct values in one go: keys of an enum |
//! | `tpch-q1`, `tpch-q6` | exact decimals, summed before the shuffle |
//! | `tpch-q3` | a join of three tables, one of them shipped with the job, and the best of the result |
//! | `tpch-q12`, `tpch-q13` | joins and groups of what was joined |
//! | `graph-distances`, `graph-components` | pipelines with rounds until nothing changes |
//! | `graph-triangles`, `visits` | pipelines of two stages: triangles of a graph, visitors and their sessions |
//! | `positions` | an inverted index with positions, in the order of a secondary sort |
//! | `near-duplicates` | documents that are nearly the same (MinHash) |
//! | `k-means` | a round of an iteration whose state is a file shipped with the job |

mod bigrams;
mod columns;
mod graph;
mod k_means;
mod mit;
mod near_duplicates;
mod positions;
mod reviews;
mod sessions;
mod temperatures;
mod totals;
mod tpch;
mod visits;
mod weather;
mod word_stats;

use gristmill::prelude::*;

fn main() -> ExitCode {
    gristmill::main([
        job("mit-wc", mit::WordCount),
        job("mit-indexer", mit::Indexer),
        job("bigrams", bigrams::Bigrams),
        job("k-means", k_means::KMeans::default()),
        job("near-duplicates", near_duplicates::NearDuplicates),
        job("positions", positions::Positions),
        job("temperatures", temperatures::Highest),
        job("tpch-q1", tpch::q1::PricingSummary),
        job("tpch-q6", tpch::q6::RevenueChange),
        job_with_options::<word_stats::WordStats>("word-stats"),
        job_with_options::<weather::WeatherAirports>("weather-airports"),
        job_with_options::<reviews::Reviews>("reviews"),
        job_with_options::<sessions::Sessions>("sessions"),
        job_with_options::<tpch::q3::ShippingPriority>("tpch-q3"),
        job_with_options::<tpch::q12::ShippingModes>("tpch-q12"),
        job_with_options::<tpch::q13::OrdersPerCustomer>("tpch-q13"),
        pipeline::<graph::Components>("graph-components"),
        pipeline::<graph::Distances>("graph-distances"),
        pipeline::<graph::Triangles>("graph-triangles"),
        pipeline::<visits::Visits>("visits"),
    ])
}

#[cfg(test)]
mod tests {
    use gristmill::testing::{Laws, Sample};

    use super::*;

    const TEXT: &str = "To be, or not to be:\nthat is the question.\n\nTo be\n";

    /// Measurements of two years, some of which do not count.
    fn measurements() -> String {
        let rows = [("1901", "+0317", '1'), ("1901", "+9999", '9'), ("1901", "+0500", '3'), ("1902", "-0012", '0')];
        let line = |(year, tenths, quality)| format!("{:15}{year}{:68}{tenths}{quality}\n", "", "");
        rows.into_iter().map(line).collect()
    }

    #[test]
    fn the_highest_temperature_is_one_that_was_measured_well() {
        let highest = gristmill::testing::run(&temperatures::Highest, measurements().as_str());
        assert_eq!(highest.text(), "1901\t317\n1902\t-12\n");
    }

    #[test]
    fn jobs_without_options_keep_the_laws() {
        let item = |order: u32, flag: char| {
            format!("{order}|1|1|1|17|100{order}.35|0.06|0.02|{flag}|O|1994-03-13|1994-02-12|1994-03-22|NONE|MAIL|x|\n")
        };
        let items: String = (1..9).map(|order| item(order, if order % 3 == 0 { 'A' } else { 'N' })).collect();
        gristmill::check_job!(mit::WordCount, TEXT, any_order);
        gristmill::check_job!(mit::Indexer, [("in/a.txt", TEXT), ("in/b.txt", "be\n")], any_order);
        gristmill::check_job!(bigrams::Bigrams, TEXT);
        gristmill::check_job!(temperatures::Highest, measurements(), any_order);
        gristmill::check_job!(tpch::q1::PricingSummary, &items, any_order);
        gristmill::check_job!(tpch::q6::RevenueChange, &items, any_order);
    }

    #[test]
    fn totals_need_one_reduce_task() {
        let program = || word_stats::WordStats {};
        let laws = Laws::of_program(program(), TEXT).expect("options that can be");
        laws.check(TEXT).expect("it keeps the laws");
        let broken = laws.with_reducers(2).check(Sample::from(TEXT)).expect_err("it refuses two");
        assert!(broken.to_string().contains("one reduce task, not 2"), "{broken}");
    }
}
