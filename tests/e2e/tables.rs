//! Jobs over delimited text against the expected answers, here and on a cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gristmill_tests::cluster::Cluster;
use gristmill_tests::data::{expected, parts, sorted_digest, trial_data};

use crate::{GRISTMILL, arg, succeed};

fn fields(line: &[u8]) -> Vec<&str> {
    std::str::from_utf8(line).expect("text").trim_end().split(',').collect()
}

/// `EWR,1,742,…` as `EWR-01 TAB 742 TAB …`.
fn as_weather_month(line: &[u8]) -> Vec<u8> {
    let fields = fields(line);
    let month: u32 = fields[1].parse().expect("a month");
    format!("{}-{month:02}\t{}\n", fields[0], fields[2..].join("\t")).into_bytes()
}

fn as_weather_join(line: &[u8]) -> Vec<u8> {
    let fields = fields(line);
    format!("{}\t{}\t{}\n", fields[0], fields[2], fields[1]).into_bytes()
}

fn as_tabs(line: &[u8]) -> Vec<u8> {
    format!("{}\n", fields(line).join("\t")).into_bytes()
}

#[test]
fn group_by_and_join_give_the_expected_answers_here_and_on_a_cluster() {
    let Some(data) = trial_data() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cluster = Cluster::start(GRISTMILL, 2);
    let (weather, airports) = (data.join("csv/weather.csv"), data.join("csv/airports.csv"));
    let output = |name: &str| dir.path().join(name);
    let both = |job: &str, name: &str, input: &Path, options: &[&str]| -> [PathBuf; 2] {
        let outputs = [output(&format!("{name}-here")), output(&format!("{name}-there"))];
        let command = |verb, output| [&[verb, job, "-i", arg(input), "-o", arg(output)], options].concat();
        succeed(&command("run", &outputs[0]));
        let submitted = cluster.run(&command("submit", &outputs[1]));
        assert!(submitted.status.success(), "{}", String::from_utf8_lossy(&submitted.stderr));
        assert_eq!(parts(&outputs[0]), parts(&outputs[1]), "{job} {options:?}");
        outputs
    };
    let aggregates = "count,count:temp,mean:temp,max:wind_speed,count:precip>0";
    let by_month = ["--by", "origin,month", "--agg", aggregates, "--scale", "4", "--null", "NA"];
    for (name, how) in [("one", &[][..]), ("many", &["--split-size", "50kB", "--reducers", "3"])] {
        let [here, _] = both("group-by", &format!("month-{name}"), &weather, &[&by_month[..], how].concat());
        assert_eq!(sorted_digest(&here, as_weather_month), expected(&data, "weather-month.tsv"));
    }
    let [counts, _] = both("group-by", "counts", &weather, &["--by", "origin"]);
    let joining = ["--columns", "origin,rows", "--right", arg(&airports), "--on", "origin=faa"];
    // Asking for reduce tasks has the small right side shuffled as a large one is.
    for (name, how) in [("loaded", &[][..]), ("shuffled", &["--reducers", "3"])] {
        let [here, _] = both("join", name, &counts, &[&joining[..], how].concat());
        assert_eq!(sorted_digest(&here, as_weather_join), expected(&data, "weather-join-airport.tsv"), "{name}");
    }
}

#[test]
fn a_large_table_gives_the_expected_groups_and_ranking() {
    let Some(data) = trial_data() else { return };
    let packed = data.join("csv/anonreviews.csv.bz2");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let reviews = dir.path().join("reviews.csv");
    let unpacked = Command::new("python3")
        .args(["-c", "import bz2,sys; sys.stdout.buffer.write(bz2.decompress(open(sys.argv[1],'rb').read()))"])
        .arg(&packed)
        .stdout(fs::File::create(&reviews).expect("a scratch file"))
        .stderr(Stdio::null())
        .status();
    if !unpacked.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no python3 to unpack {}", packed.display());
        return;
    }
    let vendors = dir.path().join("vendors");
    let split = ["--split-size", "2MB", "--reducers", "2"];
    let by_vendor =
        ["run", "group-by", "-i", arg(&reviews), "-o", arg(&vendors), "--by", "vendorId", "--agg", "count,sum:rating"];
    succeed(&[&by_vendor[..], &split].concat());
    assert_eq!(sorted_digest(&vendors, as_tabs), expected(&data, "reviews-vendor.tsv"));

    let top = dir.path().join("top");
    succeed(&[
        "run",
        "top",
        "-i",
        arg(&vendors),
        "-o",
        arg(&top),
        "--columns",
        "vendor,n,stars",
        "--by",
        "n",
        "-k",
        "25",
    ]);
    let ranked: Vec<u8> = parts(&top).into_values().flatten().collect();
    let counts = |text: &[u8], separator: char| -> Vec<u64> {
        let text = std::str::from_utf8(text).expect("text");
        text.lines().map(|line| line.split(separator).nth(1).expect("a count").parse().expect("a number")).collect()
    };
    let expect = fs::read(data.join("expected/reviews-vendor.top")).expect("the data has its answers");
    assert_eq!(counts(&ranked, ','), counts(&expect, '\t'));
}
