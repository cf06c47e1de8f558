//! `generate text`.

use crate::harness::Sandbox;

#[test]
fn the_same_arguments_give_the_same_text() {
    let sandbox = Sandbox::new();
    for name in ["a", "b"] {
        sandbox.call(&format!("generate text -o {name} --bytes 100kB --seed 7")).expect_code(0);
    }
    let text = |name: &str| std::fs::read(sandbox.path(name)).expect("written");
    assert_eq!(text("a").len(), 100_000);
    assert_eq!(text("a"), text("b"));
    sandbox.call("generate text -o c --bytes 100kB --seed 8").expect_code(0);
    assert_ne!(text("a"), text("c"));
}

#[test]
fn several_files_share_the_bytes() {
    let sandbox = Sandbox::new();
    let called = sandbox.call("generate text -o texts --files 3 --bytes 1000 --json").expect_code(0);
    assert_eq!(called.json()["files"], 3);
    assert_eq!(sandbox.tree(), ["texts", "texts/text-00000.txt", "texts/text-00001.txt", "texts/text-00002.txt"]);
    let sizes: Vec<u64> =
        (0..3).map(|i| sandbox.path(&format!("texts/text-0000{i}.txt")).metadata().expect("there").len()).collect();
    assert_eq!(sizes, [334, 333, 333]);
}

#[test]
fn a_file_is_not_replaced_unasked() {
    let sandbox = Sandbox::new();
    sandbox.file("a", "mine");
    let called = sandbox.call("generate text -o a --bytes 10").expect_code(3);
    assert!(called.stderr.contains("error: ") && called.stderr.contains("/a exists"), "{}", called.stderr);
    sandbox.call("generate text -o a --bytes 10 --overwrite").expect_code(0);
}
