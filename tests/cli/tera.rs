//! `generate tera`, `tera-sort` and `validate tera` together.

use std::fs;

use crate::harness::Sandbox;

#[test]
fn generated_records_are_those_of_hadoop() {
    let sandbox = Sandbox::new();
    for (rows, checksum) in [(1, "97503e23"), (100, "365ed3f3e1"), (100_000, "c327a1c42c28")] {
        sandbox.call(&format!("generate tera -o one --rows {rows} --overwrite")).expect_code(0);
        let called = sandbox.call(&format!("generate tera -o many --rows {rows} --files 3 --overwrite --json"));
        assert_eq!(called.expect_code(0).json()["rows"], rows);
        let of = |name: String| fs::read(sandbox.path(&name)).expect("written");
        let many: Vec<u8> = (0..3).flat_map(|index| of(format!("many/tera-0000{index}.dat"))).collect();
        assert!(of("one".to_owned()) == many, "{rows} rows in one file and in three");
        let validated = sandbox.call("validate tera many --json").json();
        assert_eq!((&validated["records"], &validated["checksum"]), (&rows.into(), &checksum.into()));
    }
    sandbox.call("generate tera -o one --rows 1").expect_code(3);
}

#[test]
fn sorted_records_are_in_order_over_all_parts() {
    let sandbox = Sandbox::new();
    sandbox.call("generate tera -o in --rows 20000 --files 3").expect_code(0);
    // Splits that cut records, and sort buffers that are spilled.
    for options in ["--split-size 12345 --reducers 7", "--reducers 1", "--threads 1 --memory 32MiB --reducers 7"] {
        sandbox.call(&format!("run tera-sort -i in -o out --overwrite {options}")).expect_code(0);
        let called = sandbox.call("validate tera out").expect_code(0);
        assert!(called.stdout.contains("records         20000\nduplicate keys  0\n"), "{}", called.stdout);
        assert!(called.stdout.contains("\norder           ok\n"), "{}", called.stdout);
        let [before, after] = ["in", "out"].map(|name| sandbox.call(&format!("validate tera {name} --json")).json());
        assert_eq!(before["checksum"], after["checksum"]);
        assert_eq!((&before["ordered"], &after["ordered"]), (&false.into(), &true.into()));
    }
    let parts = fs::read_dir(sandbox.path("out")).expect("an output").map(|entry| entry.expect("readable").path());
    let sizes = parts.filter(|path| !path.ends_with("_SUCCESS")).map(|path| path.metadata().expect("there").len());
    let (mean, largest) = (2_000_000 / 7, sizes.max().expect("seven parts"));
    assert!(largest * 10 < mean * 13, "the largest part has {largest} bytes, and the mean is {mean}");
}

#[test]
fn the_first_misordered_record_is_named() {
    let sandbox = Sandbox::new();
    let record = |key: u8| [key; 100].to_vec();
    let write = |name: &str, keys: &[u8]| {
        fs::write(sandbox.path(name), keys.iter().flat_map(|&key| record(key)).collect::<Vec<u8>>()).expect("written");
    };
    fs::create_dir(sandbox.path("parts")).expect("created");
    write("parts/a", b"bdd");
    write("parts/b", b"def");
    let called = sandbox.call("validate tera parts").expect_code(0);
    assert!(called.stdout.contains("duplicate keys  2\n"), "{}", called.stdout);
    let check = |place: &str| {
        let called = sandbox.call("validate tera parts").expect_code(1);
        assert!(called.stdout.contains("order           broken\n"), "{}", called.stdout);
        assert!(called.stderr.contains(&format!("{place} is below the one before it")), "{}", called.stderr);
        let called = sandbox.call("validate tera parts --json").expect_code(1);
        let seen = &called.json()["misordered"];
        let named = format!("{}:{}", seen["object"].as_str().expect("a name"), seen["offset"]);
        assert!(named.ends_with(place), "{named}");
    };
    write("parts/b", b"dfeeb");
    check("parts/b:200");
    write("parts/b", b"cff");
    check("parts/b:0");
    write("parts/a", b"ba");
    check("parts/a:100");
    fs::write(sandbox.path("parts/b"), [0; 150]).expect("written");
    let called = sandbox.call("validate tera parts").expect_code(1);
    assert!(called.stderr.contains("parts/b:100 is cut short"), "{}", called.stderr);
    sandbox.call("validate tera missing").expect_code(3);
}

#[test]
fn an_incomplete_record_fails_the_job_by_file_and_offset() {
    let sandbox = Sandbox::new();
    sandbox.call("generate tera -o in/records --rows 10").expect_code(1);
    sandbox.call("generate tera -o in --rows 10 --files 1").expect_code(0);
    let path = sandbox.path("in/tera-00000.dat");
    let mut bytes = fs::read(&path).expect("written");
    bytes.truncate(950);
    fs::write(&path, bytes).expect("written");
    for split in ["1000", "300", "7"] {
        let called =
            sandbox.call(&format!("run tera-sort -i in -o out --reducers 2 --split-size {split}")).expect_code(1);
        let message = "cannot read a record: it is cut short: 50 of 100 bytes";
        assert!(called.stderr.contains("BAD_RECORD") || called.stderr.contains(message), "{}", called.stderr);
        assert!(called.stderr.contains("tera-00000.dat:900"), "{}", called.stderr);
        assert!(!sandbox.path("out").exists());
    }
}

#[test]
fn plans_and_manifests_tell_the_order() {
    let sandbox = Sandbox::new();
    sandbox.file("a.txt", "c\na\nd\nb\n");
    let called = sandbox.call("explain sort-lines -i a.txt -o out --reducers 2").expect_code(0);
    assert!(called.stdout.contains("2 tasks, a part each, all in order"), "{}", called.stdout);
    sandbox.call("run sort-lines -i a.txt -o out --reducers 2").expect_code(0);
    let part = |index: u32| fs::read_to_string(sandbox.path(&format!("out/part-0000{index}"))).expect("a part");
    assert_eq!((part(0).as_str(), part(1).as_str()), ("a\nb\n", "c\nd\n"));
    let manifest = fs::read_to_string(sandbox.path("out/_SUCCESS")).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    assert_eq!(manifest["spec"]["partitioning"], serde_json::json!({ "range": { "splitters": ["63"] } }));
}
