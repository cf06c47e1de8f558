//! User code that misbehaves on a cluster: the job fails by file and offset, workers live, neighbours
//! are not disturbed.

use gristmill_tests::cluster::Cluster;
use gristmill_tests::data::parts;

use crate::{arg, example};

#[test]
fn errors_panics_and_aborts_name_file_and_offset_and_leave_workers_alive() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cluster = Cluster::start(example("misbehaving"), 2);
    for (what, message) in
        [("error", "told to fail"), ("panic", "told to panic"), ("abort", "executor died: signal 6 (SIGABRT)")]
    {
        let input = dir.path().join(format!("{what}.txt"));
        std::fs::write(&input, format!("fine\nfine\n{what}\nfine\n")).expect("a scratch file");
        let output = dir.path().join("out");
        let submitted = cluster.run(&["submit", "misbehaving", "-i", arg(&input), "-o", arg(&output)]);
        let text = String::from_utf8_lossy(&submitted.stderr).into_owned();
        assert_eq!(submitted.status.code(), Some(1), "{what}: {text}\n{}", cluster.logs());
        assert!(text.contains(message), "{what}: {text}");
        assert!(text.contains(&format!("{}:10", arg(&input))), "{what} at byte 10: {text}");
        assert!(!output.exists(), "{what} left an output");
        cluster.wait_for_live_workers(2);
    }
    let input = dir.path().join("fine.txt");
    std::fs::write(&input, "print\nfine\n").expect("a scratch file");
    let output = dir.path().join("out");
    let submitted = cluster.run(&["submit", "misbehaving", "-i", arg(&input), "-o", arg(&output)]);
    assert!(submitted.status.success(), "{}", String::from_utf8_lossy(&submitted.stderr));
    assert_eq!(parts(&output).into_values().collect::<Vec<_>>(), [b"print\nfine\n".to_vec()]);
}
