//! What our commands of `cargo side-by-side` write for each of its workloads, over inputs as small as
//! they can be. Its runner compares the outputs of real sizes.

use std::fs;
use std::path::Path;
use std::process::Command;

use gristmill_tests::data::parts;
use gristmill_tests::side_by_side::{WORKLOADS, shell_command};

use crate::GRISTMILL;

/// Runs a workload over files of these names and contents, and compares the lines of all its parts
/// with the answer; their order is only that of the workload that sorts.
fn check(name: &str, files: &[(&str, &str)], answer: &[&str]) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (input, output) = (dir.path().join("in"), dir.path().join("out"));
    for (name, content) in files {
        let path = input.join(name);
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a scratch folder");
        fs::write(path, content).expect("a scratch file");
    }
    // The runner makes it.
    fs::create_dir(&output).expect("a scratch folder");
    let (_, workload) = WORKLOADS.iter().find(|(found, _)| *found == name).expect("a workload");
    let command = shell_command(Path::new(GRISTMILL), workload);
    let ran = Command::new("sh")
        .args(["-c", &command])
        .env("IN", &input)
        .env("OUT", &output)
        .env_remove("GRISTMILL_TEST_DATA")
        .output()
        .expect("there is a shell");
    assert!(ran.status.success(), "{command}: {}", String::from_utf8_lossy(&ran.stderr));
    let written = parts(&output).into_values().collect::<Vec<_>>().concat();
    let written = String::from_utf8(written).expect("the answers are text");
    let mut lines: Vec<&str> = written.lines().collect();
    if name != "w2" {
        lines.sort_unstable();
    }
    assert_eq!(lines, answer, "{name}");
}

#[test]
fn every_workload_of_the_comparison_gives_its_answer() {
    check("w1", &[("a", "the cat The\n"), ("b", "the  end\n")], &["The\t1", "cat\t1", "end\t1", "the\t2"]);
    let rows = ["c", "a", "b"].map(|key| format!("{key:<99}\n"));
    let sorted = ["a", "b", "c"].map(|key| format!("{key:<99}"));
    check("w2", &[("a", &rows[..2].concat()), ("b", &rows[2])], &sorted.each_ref().map(String::as_str));
    check("w3", &[("a", "no\non 1999-03-15.\n1999-07-15\n")], &["on 1999-03-15."]);
    let requests = "1,h,GET,/,200,10,x\n2,h,GET,/,200,5,x\n3,h,GET,/,404,7,x\n";
    check("w4", &[("a", requests)], &["h,200,2,15", "h,404,1,7"]);
    let (orders, users) = ("1,7,30,s\n2,8,40,t\n3,9,50,u\n", "8,Bob,fr,2\n7,Ann,de,1\n");
    check("w5", &[("orders/a", orders), ("users/a", users)], &["1,7,30,s,Ann,de,1", "2,8,40,t,Bob,fr,2"]);
    check("w6", &[("a", "10\tb a b\n2\ta\n")], &["a\t2,10", "b\t10"]);
}
