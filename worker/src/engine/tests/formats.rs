//! Records of other formats than lines: any cut gives the same rows, whatever the order of columns, and files of
//! columns give what text of the same rows gives.

use gristmill_common::formats::parquet::ParquetWriter;
use gristmill_common::formats::{schema_of, write_row};
use gristmill_common::spec::OutputFormat;
use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Item {
    id: u32,
    name: Option<String>,
    price: Fixed<9, 2>,
}

fn items(count: u32) -> Vec<Item> {
    let name = |n: u32| (!n.is_multiple_of(3)).then(|| format!("item, \"{}\"", "x".repeat(n as usize % 7)));
    (0..count)
        .map(|n| Item { id: n, name: name(n), price: Fixed::new(i128::from(n) * 25).expect("few digits") })
        .collect()
}

/// Lines of what each item is, from records of type `I`.
struct Shown<I>(std::marker::PhantomData<fn() -> I>);

impl<I: for<'a> Input<Record<'a> = Item>> MapOnly for Shown<I> {
    type Input = I;
    type Output = Text<u32, Pair<String, str>>;

    fn map(&self, item: Item, out: &mut impl Sink<u32, Pair<String, str>>) -> Result<()> {
        out.put(item.id, (item.price.to_string(), item.name.as_deref().unwrap_or("-")))
    }
}

fn shown<I: for<'a> Input<Record<'a> = Item>>() -> Arc<dyn AnyJob> {
    IntoAnyJob.map_only(Shown::<I>(std::marker::PhantomData))
}

fn expected(items: &[Item]) -> String {
    let line = |item: &Item| format!("{}\t{}\t{}\n", item.id, item.price, item.name.as_deref().unwrap_or("-"));
    items.iter().map(line).collect()
}

/// What the job writes over objects that are cut at every so many bytes.
fn written(job: &dyn AnyJob, objects: &[(&str, &[u8])], split_size: u64) -> std::result::Result<String, Failure> {
    let mut bench = Bench::new(16 << 20, split_size);
    let output = bench.run(job, objects)?;
    Ok(String::from_utf8_lossy(&output.parts.concat()).into_owned())
}

fn csv(items: &[Item], order: [&str; 3]) -> Vec<u8> {
    let mut file = format!("{}\r\n", order.join(",")).into_bytes();
    for item in items {
        let name = item.name.as_ref().map_or(String::new(), |name| format!("\"{}\"", name.replace('"', "\"\"")));
        let field = |column: &str| match column {
            "id" => item.id.to_string(),
            "name" => name.clone(),
            _ => item.price.to_string(),
        };
        file.extend_from_slice(format!("{}\n", order.map(field).join(",")).as_bytes());
    }
    file
}

fn parquet(items: &[Item], group: usize) -> Vec<u8> {
    let mut writer = ParquetWriter::new(&schema_of::<Item>().expect("columns"), None).expect("columns");
    let mut file = vec![];
    for items in items.chunks(group) {
        let mut rows = vec![];
        items.iter().for_each(|item| write_row(item, &mut rows).expect("a row"));
        writer.write_group(&rows, &mut file).expect("a row group");
    }
    writer.finish(&mut file).expect("a footer");
    file
}

#[test]
fn columns_are_found_by_the_header_of_their_own_file_in_every_split() {
    let items = items(60);
    let (a, b) = items.split_at(35);
    let (a, b) = (csv(a, ["id", "name", "price"]), csv(b, ["price", "id", "name"]));
    let objects: [(&str, &[u8]); 3] = [("a", &a), ("only-a-header", b"price,id,name\n"), ("b", &b)];
    for split_size in (1..60).chain([200, 1000, 1 << 20]) {
        let output = written(&*shown::<Csv<Item>>(), &objects, split_size).expect("rows");
        assert_eq!(output, expected(&items), "{split_size}");
    }
}

#[test]
fn a_row_that_is_none_is_told_with_file_offset_and_column() {
    let objects: [(&str, &[u8]); 1] = [("a.csv", b"id,name,price\n1,a,2.5\n2,b,cheap\n")];
    let failure = written(&*shown::<Csv<Item>>(), &objects, 5).expect_err("no price");
    assert_eq!(failure.code, FailureCode::BadRecord);
    let reason = "cannot read a record: column \"price\": \"cheap\" is no decimal number of so many digits";
    assert_eq!((failure.message.as_str(), failure.position.map(|at| at.offset)), (reason, Some(22)));
    let mut bench = Bench::new(16 << 20, 5);
    bench.spec.max_bad_records = 1;
    let output = bench.run(&*shown::<Csv<Item>>(), &objects).expect("one may be bad");
    assert_eq!(output.parts.concat(), b"1\t2.50\ta\n");
}

#[test]
fn files_of_columns_give_the_same_rows_over_any_cut() {
    let items = items(50);
    let file = parquet(&items, 7);
    let objects: [(&str, &[u8]); 1] = [("a", &file)];
    for split_size in [1 << 20, 1000, 301, 64] {
        for job in [shown::<Parquet<Item>>(), shown::<Csv<Item>>(), shown::<JsonLines<Item>>()] {
            let output = written(&*job, &objects, split_size).expect("rows");
            assert_eq!(output, expected(&items), "{split_size}");
        }
        let lines = written(&*IntoAnyJob.map_only(Copy), &objects, split_size).expect("rows");
        let json: String = items
            .iter()
            .map(|item| {
                let name = serde_json::to_string(&item.name).expect("a string");
                format!("{{\"id\":{},\"name\":{name},\"price\":{}}}\n", item.id, item.price)
            })
            .collect();
        assert_eq!(lines, json, "{split_size}");
    }
}

#[test]
fn a_row_that_map_refuses_is_named_by_its_row_group() {
    struct Picky;
    impl MapOnly for Picky {
        type Input = Parquet<Item>;
        type Output = Text<u32>;
        fn map(&self, item: Item, out: &mut impl Sink<u32>) -> Result<()> {
            if item.id == 9 { Err(JobError::new("not this one")) } else { out.put(item.id, ()) }
        }
    }
    let file = parquet(&items(12), 5);
    let objects: [(&str, &[u8]); 1] = [("a.parquet", &file)];
    let failure = written(&*IntoAnyJob.map_only(Picky), &objects, 1 << 20).expect_err("it is refused");
    let shown = failure.to_string();
    assert!(shown.starts_with("map failed: not this one (row 4 of row group 1) (at "), "{shown}");
    let mut bench = Bench::new(16 << 20, 100);
    bench.spec.max_bad_records = 1;
    let output = bench.run(&*IntoAnyJob.map_only(Picky), &objects).expect("one may be bad");
    assert_eq!(output.parts.concat(), b"0\n1\n2\n3\n4\n5\n6\n7\n8\n10\n11\n");
}

#[test]
fn what_is_not_a_file_of_columns_is_refused() {
    let failure = written(&*shown::<Parquet<Item>>(), &[("a.csv", b"id\n1\n")], 100).expect_err("no Parquet");
    assert_eq!(failure.message, "cannot read a record: the job reads Parquet files, and this is none");
    let file = parquet(&items(12), 5);
    let cut: [(&str, &[u8]); 1] = [("a.parquet", &file[..file.len() - 20])];
    let failure = written(&*shown::<Parquet<Item>>(), &cut, 100).expect_err("no footer");
    assert_eq!(failure.code, FailureCode::InputDamaged);
    assert!(failure.message.contains("in/a.parquet as a Parquet file: "), "{failure}");
}

#[test]
fn whole_files_and_web_archives_belong_to_the_piece_that_begins_them() {
    struct Sizes;
    impl MapOnly for Sizes {
        type Input = WholeFile;
        type Output = Text<u64>;
        fn map(&self, bytes: &[u8], out: &mut impl Sink<u64>) -> Result<()> {
            out.put(bytes.len() as u64, ())
        }
    }
    struct Bodies;
    impl MapOnly for Bodies {
        type Input = Warc;
        type Output = Text<[u8]>;
        fn map(&self, record: WarcRecord<'_>, out: &mut impl Sink<[u8]>) -> Result<()> {
            out.put(record.body, ())
        }
    }
    let objects: [(&str, &[u8]); 3] = [("a", b"one\ntwo"), ("empty", b""), ("b", b"\n")];
    let records: Vec<String> = (0..50).map(|n| "x".repeat(n)).collect();
    let archive: String = records
        .iter()
        .map(|body| format!("WARC/1.1\r\nContent-Length: {}\r\n\r\n{body}\r\n\r\n", body.len()))
        .collect();
    for split_size in [1, 3, 50, 1 << 20] {
        assert_eq!(written(&*IntoAnyJob.map_only(Sizes), &objects, split_size).expect("files"), "7\n1\n");
        let bodies = written(&*IntoAnyJob.map_only(Bodies), &[("a.warc", archive.as_bytes())], split_size.max(50));
        assert_eq!(bodies.expect("records"), records.join("\n") + "\n");
    }
    let mut bench = Bench::new(64, 1 << 20);
    let failure = bench.run(&*IntoAnyJob.map_only(Sizes), &[("a", &[b'x'; 100])]).expect_err("it is too large");
    assert_eq!(failure.code, FailureCode::RecordTooLarge);
}

#[test]
fn quoted_line_ends_are_part_of_a_field_if_they_are_asked_for() {
    let file = b"id,name,price\n1,\"two\nlines\",1\n2,b,2\n";
    let failure = written(&*shown::<Csv<Item>>(), &[("a", file)], 1 << 20).expect_err("a line is no row");
    assert!(failure.message.contains("a quoted field does not end in its line"), "{failure}");
    let mut bench = Bench::new(16 << 20, 1 << 20);
    bench.spec.line_rule = LineRule::Quoted;
    let output = bench.run(&*shown::<Csv<Item>>(), &[("a", file)]).expect("rows");
    assert_eq!(output.parts.concat(), b"1\t1.00\ttwo\nlines\n2\t2.00\tb\n");
}

#[test]
fn inputs_of_several_formats_meet_in_one_job() {
    /// What is known of each id, from a file of columns and from lines.
    struct Both;
    impl MapReduce for Both {
        type Input = OneOf<Parquet<Item>, Lines>;
        type Key = u64;
        type Value = str;
        type Combine = NoCombine;
        type Output = Text<u64, String>;
        fn map(&self, record: OneOf<Item, &[u8]>, out: &mut impl Emit<u64, str>) -> Result<()> {
            match record {
                OneOf::Main(item) => out.emit(item.id.into(), "item"),
                OneOf::Side(line) => out.emit(line.len() as u64, "line"),
            }
        }
        fn reduce(&self, id: u64, values: Values<str>, out: &mut impl Sink<u64, String>) -> Result<()> {
            let mut all = Vec::new();
            let mut values = values;
            while let Some(value) = values.next_ref() {
                all.push(value.to_owned());
            }
            out.put(id, all.join("+"))
        }
    }
    let file = parquet(&items(3), 2);
    let mut bench = Bench::new(16 << 20, 1 << 20);
    bench.partitions = 1;
    bench.spec.reducers = Some(1);
    let mut splits = bench.splits(&[("a.parquet", &file), ("b.txt", b"x\nxx\n")]);
    splits[1].role = 1;
    for (index, split) in splits.iter().enumerate() {
        let input = EngineTask::Map { split, partitions: 1, skip: &[] };
        bench.attempt(&*IntoAnyJob.map_reduce(Both), TaskId::map(index as u32), &input).expect("records");
    }
    let segments = bench.segments(2, 0);
    let report =
        bench.attempt(&*IntoAnyJob.map_reduce(Both), TaskId::reduce(0), &EngineTask::Reduce { segments: &segments });
    let mut output = ReferenceOutput::default();
    bench.add(&mut output, 0, &report.expect("groups"));
    assert_eq!(output.parts.concat(), b"0\titem\n1\titem+line\n2\titem+line\n");
}

/// Items as the job's own format `O`, those with an even number to a named output too.
struct Written<O>(std::marker::PhantomData<fn() -> O>);

impl<O: Output<Key = Item, Value = ()>> MapOnly for Written<O> {
    type Input = JsonLines<Item>;
    type Output = O;

    fn map(&self, item: Item, out: &mut impl Sink<Item>) -> Result<()> {
        if item.id.is_multiple_of(2) {
            out.put_to("even=true", item.clone(), ())?;
        }
        out.put(item, ())
    }
}

#[test]
fn what_a_job_puts_is_written_in_any_format_and_read_back() {
    let items = items(500);
    let lines: Vec<String> = items.iter().map(|item| serde_json::to_string(item).expect("JSON")).collect();
    let lines = lines.join("\n");
    let even: Vec<Item> = items.iter().filter(|item| item.id.is_multiple_of(2)).cloned().collect();
    type Case = (Arc<dyn AnyJob>, Arc<dyn AnyJob>, Option<OutputFormat>);
    fn job<O: Output<Key = Item, Value = ()>>() -> Arc<dyn AnyJob> {
        IntoAnyJob.map_only(Written::<O>(std::marker::PhantomData))
    }
    let cases: [Case; 6] = [
        (job::<Csv<Item>>(), shown::<Csv<Item>>(), None),
        (job::<JsonLines<Item>>(), shown::<JsonLines<Item>>(), None),
        (job::<Parquet<Item>>(), shown::<Parquet<Item>>(), None),
        (job::<Parquet<Item>>(), shown::<Csv<Item>>(), Some(OutputFormat::Csv)),
        (job::<Csv<Item>>(), shown::<JsonLines<Item>>(), Some(OutputFormat::Json)),
        (job::<JsonLines<Item>>(), shown::<Parquet<Item>>(), Some(OutputFormat::Parquet)),
    ];
    for (write, read, format) in cases {
        for bad_records in [0, 1] {
            // So little memory that a part has several row groups.
            let mut bench = Bench::new(16 << 20, 1 << 20);
            (bench.spec.output_format, bench.spec.max_bad_records) = (format, bad_records);
            let output = bench.run(&*write, &[("a", lines.as_bytes())]).expect("rows");
            let back = written(&*read, &[("back", &output.parts[0])], 1 << 20).expect("rows");
            assert_eq!(back, expected(&items), "{format:?}");
            let back = written(&*read, &[("back", &output.named["even=true"][&0])], 1 << 20).expect("rows");
            assert_eq!(back, expected(&even), "{format:?}");
        }
    }
}

#[test]
fn lines_have_columns_in_formats_that_have_some() {
    let text = b"to be or not to be";
    let run = |format: OutputFormat| {
        let mut bench = Bench::new(16 << 20, 1 << 20);
        (bench.partitions, bench.spec.reducers, bench.spec.output_format) = (1, Some(1), Some(format));
        bench.run(&*IntoAnyJob.map_reduce(WordCount), &[("a", text)]).expect("words").parts.concat()
    };
    let shown = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    assert_eq!(shown(run(OutputFormat::Csv)), "key,value\nbe,2\nnot,1\nor,1\nto,2\n");
    let json = "{\"key\":\"be\",\"value\":2}\n{\"key\":\"not\",\"value\":1}\n{\"key\":\"or\",\"value\":1}\n{\"key\":\"to\",\"value\":2}\n";
    assert_eq!(shown(run(OutputFormat::Json)), json);
    let parquet = run(OutputFormat::Parquet);
    assert_eq!(parquet, run(OutputFormat::Parquet), "the same rows are the same bytes");
    assert_eq!(written(&*IntoAnyJob.map_only(Copy), &[("a", &parquet)], 1 << 20).expect("rows"), json);
}

#[test]
fn records_without_columns_are_refused_before_anything_is_read() {
    struct Bytes;
    impl MapOnly for Bytes {
        type Input = Lines;
        type Output = Raw<[u8], ()>;
        fn map(&self, line: &[u8], out: &mut impl Sink<[u8]>) -> Result<()> {
            out.put(line, ())
        }
    }
    let mut bench = Bench::new(16 << 20, 1 << 20);
    bench.spec.output_format = Some(OutputFormat::Json);
    let refused = IntoAnyJob.map_only(Bytes).check_output(&bench.spec).expect_err("no columns").message;
    assert_eq!(refused, "cannot write json: the job's records have no columns");
    bench.spec.output_format = Some(OutputFormat::Parquet);
    bench.spec.output_compression = Some(gristmill_common::form::Codec::Bzip2);
    let refused = IntoAnyJob.map_only(Copy).check_output(&bench.spec).expect_err("not in pages").message;
    assert_eq!(refused, "cannot write a Parquet file: pages are compressed with gzip, zstd, lz4 or snappy");
}
