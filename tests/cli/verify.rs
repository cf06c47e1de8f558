//! `verify`: outputs that are whole, and outputs that are not.

use std::fs;

use serde_json::json;

use crate::harness::Sandbox;

fn output() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.file("in.txt", "to be or not to be\n");
    sandbox.call("run word-count -i in.txt -o out --reducers 3").expect_code(0);
    sandbox
}

#[test]
fn a_whole_output_is_said_so() {
    let sandbox = output();
    let called = sandbox.call("verify out").expect_code(0);
    assert!(called.stdout.contains("out is whole: 3 parts of 21 B as j-"), "{called:?}");
    let object = sandbox.call("verify out --json").expect_code(0).json();
    assert_eq!((&object["parts"], &object["records"], &object["bytes"]), (&json!(3), &json!(4), &json!(21)));
    assert_eq!((&object["whole"], &object["damage"]), (&json!(true), &json!([])));
}

#[test]
fn damage_is_named_by_part() {
    let sandbox = output();
    let part = (0..3)
        .map(|index| format!("part-0000{index}"))
        .find(|name| fs::metadata(sandbox.path("out").join(name)).expect("a part").len() > 0);
    let part = part.expect("a part with records");
    let path = sandbox.path("out").join(&part);
    let whole = fs::read(&path).expect("a part");
    let mut flipped = whole.clone();
    flipped[0] ^= 1;
    fs::write(&path, &flipped).expect("written");
    let called = sandbox.call("verify out").expect_code(1);
    let start = format!("out is not what its job wrote: {part} is damaged: its checksum is xxh3:");
    assert!(called.stderr.contains(&start), "{}", called.stderr);
    fs::write(&path, &whole[1..]).expect("written");
    sandbox.file("out/part-00003", "more");
    let called = sandbox.call("verify out --json").expect_code(1);
    let size = format!("{part} has {} bytes, not {}", whole.len() - 1, whole.len());
    let damage = json!([
        { "path": part, "problem": size },
        { "path": "part-00003", "problem": "part-00003 is not listed in _SUCCESS" },
    ]);
    assert_eq!((&called.json()["whole"], &called.json()["damage"]), (&json!(false), &damage));
}

#[test]
fn what_is_no_output_is_refused() {
    let sandbox = output();
    let refused = |args: &str, code: i32, text: &str| {
        let called = sandbox.call(args).expect_code(code);
        assert!(called.stderr.contains(text), "{args}: {}", called.stderr);
    };
    refused("verify none", 3, "no such output");
    refused("verify in.txt", 3, "is no finished output: it has no _SUCCESS");
    refused("verify", 2, "<URI>");
    fs::write(sandbox.path("out/_SUCCESS"), "{").expect("written");
    refused("verify out", 1, "_SUCCESS is damaged: ");
}
