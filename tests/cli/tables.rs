//! Side inputs and headers on the command line.

use crate::harness::Sandbox;

#[test]
fn tables_are_checked_before_a_job_starts() {
    let sandbox = Sandbox::new();
    sandbox.file("in/a.csv", "k,v\nx,1\n");
    sandbox.file("right/r.csv", "k,w\nx,2\n");
    let check = |line: &str, code: i32, expected: &[&str]| {
        let called = sandbox.call(line).expect_code(code);
        for text in expected {
            let text = text.replace("{work}", &sandbox.work().display().to_string());
            assert!(called.stderr.contains(&text), "{line}: {}", called.stderr);
        }
    };
    check("run group-by --by x -i in -o out", 2, &["error: there is no column \"x\" (there are k, v)"]);
    check("run group-by --by k --agg nonsense -i in -o out", 2, &["--agg does not know \"nonsense\""]);
    check("run group-by --by k -i missing -o out", 3, &["error: no such input: {work}/missing"]);
    check("run join --on k --right missing -i in -o out", 3, &["error: no such input: {work}/missing"]);
    check("run join --on k --right right -i in -o right/out", 3, &["{work}/right/out", "inside input {work}/right"]);
    check("run join --on k --right right -i in -o right --overwrite", 3, &["{work}/right"]);
    assert!(!sandbox.path("out").exists());
    for (how, parts) in [("inner", "x,1,2\n"), ("inner --reducers 1", "x,1,2\n"), ("full --header", "k,v,w\nx,1,2\n")] {
        sandbox.call(&format!("run join --on k --right right --how {how} -i in -o out --overwrite")).expect_code(0);
        assert_eq!(sandbox.parts("out"), parts, "{how}");
    }
    sandbox.file("in/b.csv", "v,k\n1,x\n");
    let called = sandbox.call("run group-by --by k -i in -o other --max-attempts 1").expect_code(1);
    assert!(called.stderr.contains("the header \"v,k\" is not that of /"), "{}", called.stderr);
    assert!(called.stderr.contains("b.csv:0"), "{}", called.stderr);
}

#[test]
fn json_lines_are_read_and_written_and_bad_ones_are_named() {
    let sandbox = Sandbox::new();
    sandbox.file("in/a.jsonl", "{\"k\":{\"x\":\"é\"},\"n\":1.50}\n{\"n\":-0.25}\n");
    let agg = "--agg count,sum:n";
    sandbox.call(&format!("run group-by --by k.x {agg} -i in -o out")).expect_code(0);
    let groups = "{\"k.x\":\"é\",\"count\":1,\"sum:n\":1.50}\n{\"k.x\":null,\"count\":1,\"sum:n\":-0.25}\n";
    assert_eq!(sandbox.parts("out"), groups);
    sandbox.call("run top --by sum:n -k 1 -i out -o top").expect_code(0);
    assert_eq!(sandbox.parts("top"), "{\"k.x\":\"é\",\"count\":1,\"sum:n\":1.50}\n");
    sandbox.file("in/b.jsonl", "{\"k\":{}}\n{\"k\":\n");
    let called = sandbox.call("run group-by --by k.x -i in -o bad --max-attempts 1").expect_code(1);
    assert!(called.stderr.contains("not a JSON object: EOF while parsing a value at byte 5"), "{}", called.stderr);
    assert!(called.stderr.contains("b.jsonl:9"), "{}", called.stderr);
    let called = sandbox.call("run group-by --by k.x -i in -o bad --header").expect_code(2);
    assert!(called.stderr.contains("error: --header is for delimited output"), "{}", called.stderr);
}
