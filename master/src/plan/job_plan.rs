//! The plan of a whole job: checks that need no storage, map tasks in canonical order, the number
//! of reduce tasks, and what a user should be warned of.

use std::sync::Arc;

use gristmill_common::form::Form;
use gristmill_common::naming::Uri;
use gristmill_common::size::ByteSize;
use gristmill_common::spec::{JobShape, JobSpec, SpecError};
use gristmill_common::storage::Pattern;
use gristmill_common::task::{InputObject, JobPlan, Piece};
use gristmill_common::text::LineRule;

use crate::plan::packing::Packer;
use crate::plan::splits::{Cut, cut, split_count};

/// The most map tasks of a job. Each costs the scheduler some hundred bytes and the shuffle one
/// segment per reduce task; lowering it forces larger splits on very large inputs.
pub const MAX_MAP_TASKS: u32 = 1_000_000;

/// The most reduce tasks that are chosen without being asked for. More would sort less data each
/// but cost every map output more and smaller segments; whoever knows better says `--reducers`.
pub const MAX_DERIVED_REDUCERS: u32 = 512;

/// Bytes of input for each reduce task that is chosen without being asked for. Larger ones make
/// fewer and longer reduces, smaller ones more segments and part files.
const BYTES_PER_REDUCER: ByteSize = ByteSize::mib(64);

/// How many objects one kind of warning names.
const WARNED_OBJECTS: usize = 5;

/// Why a job cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The spec itself is impossible.
    #[error("cannot run this job")]
    Spec {
        /// Why.
        source: SpecError,
    },
    /// A second run would read what the first one wrote.
    #[error("output {output} is inside input {input}")]
    OutputInsideInput {
        /// The output.
        output: Uri,
        /// The input.
        input: Uri,
    },
    /// Replacing the output would delete the input.
    #[error("input {input} is inside output {output}")]
    InputInsideOutput {
        /// The output.
        output: Uri,
        /// The input.
        input: Uri,
    },
    /// Too many splits.
    #[error("{input_bytes} of input in splits of {split_size} are more than {MAX_MAP_TASKS} map tasks")]
    TooManyTasks {
        /// All input.
        input_bytes: ByteSize,
        /// The split size of the spec.
        split_size: ByteSize,
    },
}

impl PlanError {
    /// What to try, where there is something to say.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            PlanError::OutputInsideInput { .. } | PlanError::InputInsideOutput { .. } => {
                Some("choose an output folder beside the input")
            }
            PlanError::TooManyTasks { .. } => Some("raise --split-size"),
            PlanError::Spec { .. } => None,
        }
    }
}

/// Plans a job over its listed inputs, which are in canonical order.
///
/// Objects are cut into splits of at most the spec's split size, sizes within one object differing
/// by at most one byte; an object of one split is packed with its neighbours as long as they fit
/// into one, so that the splits come out even; empty objects give nothing to read. Objects that can only be
/// read from their beginning are one split each. What form an object has is told by what is pinned, or by
/// its name; whoever pins it looks at those of which neither tells.
///
/// # Errors
///
/// If the spec is impossible, output and input overlap, or there would be too many map tasks.
pub fn plan_job(spec: &JobSpec, objects: Vec<InputObject>) -> Result<JobPlan, PlanError> {
    plan_inputs(spec, vec![(0, objects)])
}

/// Plans a job over several inputs, each with its role, in the order in which map tasks are to be
/// numbered: reducers see the values of earlier inputs first. No split has objects of two roles.
///
/// # Errors
///
/// As [`plan_job`].
pub fn plan_inputs(spec: &JobSpec, inputs: Vec<(u32, Vec<InputObject>)>) -> Result<JobPlan, PlanError> {
    spec.validate().map_err(|source| PlanError::Spec { source })?;
    check_overlap(spec, inputs.iter().flat_map(|(_, objects)| objects))?;
    let object_count = inputs.iter().map(|(_, objects)| objects.len() as u64).sum();
    let sizes = inputs.iter().flat_map(|(_, objects)| objects).map(|object| object.size);
    let input_bytes = sizes.fold(0, u64::saturating_add);
    let too_many = || PlanError::TooManyTasks { input_bytes: ByteSize(input_bytes), split_size: spec.split_size };

    let packed = inputs.iter().flat_map(|(_, objects)| objects).filter(|object| pieces_of(spec, object).is_one());
    let (count, packed) =
        packed.fold((0, 0_u64), |(count, bytes), object| (count + 1, bytes.saturating_add(object.size)));
    let mut packer = Packer::new(spec.split_size, count, packed);
    let (mut overlapping, mut quoted, mut compressed) = (Named::default(), Named::default(), Named::default());
    let mut role_begun = None;
    for (role, object) in
        inputs.into_iter().flat_map(|(role, objects)| objects.into_iter().map(move |object| (role, object)))
    {
        if role_begun != Some(role) {
            role_begun = Some(role);
            packer.begin_role(role);
        }
        let pieces = pieces_of(spec, &object);
        let object = Arc::new(object);
        let whole = |object: Arc<InputObject>| Piece { start: 0, end: object.size, object };
        match pieces {
            Pieces::None => {}
            Pieces::One => packer.pack(whole(object)),
            Pieces::Alone(why) => {
                match why {
                    Undivided::Compressed => compressed.add(&object.uri),
                    Undivided::DelimiterOverlaps => overlapping.add(&object.uri),
                    Undivided::Quoted => quoted.add(&object.uri),
                }
                packer.alone(whole(object));
            }
            Pieces::Many(count) if count > u64::from(MAX_MAP_TASKS) => return Err(too_many()),
            Pieces::Many(count) => cut(&object, count).for_each(|piece| packer.alone(piece)),
        }
        if packer.len() > MAX_MAP_TASKS as usize {
            return Err(too_many());
        }
    }
    let mut warnings = Vec::new();
    let one_task = "larger than a split but read by one task each, because";
    warnings.extend(overlapping.warning(&format!("{one_task} the delimiter overlaps itself")));
    warnings.extend(
        quoted.warning(&format!("{one_task} only reading from the beginning tells which line ends are quoted")),
    );
    warnings.extend(compressed.warning(&format!(
        "{one_task} their compression can only be read from the beginning (bzip2, and zstd with a table of frames as \
         --compression zstd writes it, are read by several)"
    )));
    if spec.shape == JobShape::MapOnly && spec.reducers.is_some() {
        warnings.push(format!("{} has no reduce, so the number of reducers means nothing", spec.job));
    }
    let reducers = reducers(spec, input_bytes);
    Ok(JobPlan { splits: packer.finish(), reducers, objects: object_count, input_bytes, warnings })
}

fn reducers(spec: &JobSpec, input_bytes: u64) -> u32 {
    match spec.shape {
        JobShape::MapOnly => 0,
        JobShape::MapReduce => spec.reducers.unwrap_or_else(|| {
            let wanted = input_bytes.div_ceil(BYTES_PER_REDUCER.bytes()).clamp(1, u64::from(MAX_DERIVED_REDUCERS));
            u32::try_from(wanted).expect("clamped to 32 bits")
        }),
    }
}

fn check_overlap<'a>(spec: &JobSpec, mut objects: impl Iterator<Item = &'a InputObject>) -> Result<(), PlanError> {
    let output = &spec.output;
    for input in spec.all_inputs() {
        let output_inside = || PlanError::OutputInsideInput { output: output.clone(), input: input.clone() };
        let input_inside = || PlanError::InputInsideOutput { output: output.clone(), input: input.clone() };
        if input.contains(output) {
            return Err(output_inside());
        }
        if output.contains(input) {
            return Err(input_inside());
        }
        // A glob that does not parse was listed, so it is the very name of something.
        if Pattern::is_glob(input)
            && let Ok(pattern) = Pattern::parse(input)
        {
            if pattern.folders().any(|folder| output.contains(folder)) {
                return Err(input_inside());
            }
            if pattern.may_match_inside(output) {
                return Err(output_inside());
            }
        }
    }
    let inside = objects.find(|object| output.contains(&object.uri));
    inside.map_or(Ok(()), |object| {
        Err(PlanError::InputInsideOutput { output: output.clone(), input: object.uri.clone() })
    })
}

/// What an object gives to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pieces {
    None,
    /// One, small enough to share a split.
    One,
    /// One, larger than a split.
    Alone(Undivided),
    Many(u64),
}

/// Why a large object is one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Undivided {
    Compressed,
    DelimiterOverlaps,
    Quoted,
}

impl Pieces {
    fn is_one(self) -> bool {
        self == Pieces::One
    }
}

fn pieces_of(spec: &JobSpec, object: &InputObject) -> Pieces {
    let form = Form::told(spec.input_form, object.form, object.uri.base_name());
    let is_large = split_count(object.size, spec.split_size) > 1;
    let (count, undivided) = match Cut::of(form, object.size, spec.split_size) {
        Cut::Nowhere => (u64::from(object.size > 0), Some(Undivided::Compressed)),
        Cut::Every(bytes) => {
            // Columns are rows already.
            let is_whole = form != Some(Form::Parquet) && !spec.line_rule.is_splittable();
            let why = if spec.line_rule == LineRule::Quoted { Undivided::Quoted } else { Undivided::DelimiterOverlaps };
            (split_count(object.size, bytes), is_whole.then_some(why))
        }
    };
    match (count, undivided) {
        (0, _) => Pieces::None,
        (_, Some(why)) if is_large => Pieces::Alone(why),
        (1, _) | (_, Some(_)) => Pieces::One,
        (count, None) => Pieces::Many(count),
    }
}

/// Objects that share a warning; names the first few.
#[derive(Debug, Default)]
struct Named {
    first: Vec<String>,
    count: usize,
}

impl Named {
    fn add(&mut self, uri: &Uri) {
        self.count += 1;
        if self.first.len() < WARNED_OBJECTS {
            self.first.push(uri.to_string());
        }
    }

    fn warning(&self, what: &str) -> Option<String> {
        let more = match self.count - self.first.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (self.count > 0).then(|| format!("{}{more}: {what}", self.first.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use gristmill_common::spec::SideInput;
    use proptest::prelude::*;

    use super::*;
    use crate::plan::packing::MAX_PIECES;

    fn spec(inputs: &[&str], output: &str) -> JobSpec {
        let uri = |text: &&str| text.parse().expect("a path");
        JobSpec::new("word-count", JobShape::MapReduce, inputs.iter().map(uri).collect(), uri(&output))
    }

    fn objects(sizes: &[u64]) -> Vec<InputObject> {
        let object = |(index, &size): (usize, &u64)| InputObject {
            uri: format!("/in/{index}").parse().expect("a path"),
            size,
            modified_micros: Some(0),
            etag: None,
            form: None,
        };
        sizes.iter().enumerate().map(object).collect()
    }

    fn plan(split_size: u64, sizes: &[u64]) -> JobPlan {
        let mut spec = spec(&["/in"], "/out");
        spec.split_size = ByteSize(split_size);
        plan_job(&spec, objects(sizes)).expect("plannable")
    }

    /// The plan's splits as `object:start-end`.
    fn shown(plan: &JobPlan) -> Vec<String> {
        let piece = |piece: &Piece| format!("{}:{}-{}", piece.object.uri.base_name(), piece.start, piece.end);
        plan.splits.iter().map(|split| split.pieces.iter().map(piece).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn large_objects_are_cut_and_small_neighbours_packed() {
        let check = |split_size: u64, sizes: &[u64], expect: &[&str]| {
            assert_eq!(shown(&plan(split_size, sizes)), expect, "{sizes:?} in splits of {split_size}");
        };
        check(10, &[], &[]);
        check(10, &[0, 0], &[]);
        check(10, &[10], &["0:0-10"]);
        check(10, &[4, 0, 5, 2, 25, 1, 9], &["0:0-4", "2:0-5 3:0-2", "4:0-8", "4:8-16", "4:16-25", "5:0-1 6:0-9"]);
        check(10, &[3, 3, 3, 3], &["0:0-3 1:0-3", "2:0-3 3:0-3"]);
        check(10, &[3, 3, 4, 3, 3, 3, 3, 3], &["0:0-3 1:0-3", "2:0-4 3:0-3", "4:0-3 5:0-3", "6:0-3 7:0-3"]);
        check(1, &[1, 2], &["0:0-1", "1:0-1", "1:1-2"]);
    }

    #[test]
    fn a_split_holds_a_bounded_number_of_objects() {
        // Where opening counts nothing.
        let plan = plan(4000, &[0; 10]);
        assert!(plan.splits.is_empty());
        let mut packer = Packer::new(ByteSize(4000), MAX_PIECES as u64 + 1, 0);
        let object = Arc::new(objects(&[0]).remove(0));
        (0..=MAX_PIECES).for_each(|_| packer.pack(Piece { object: Arc::clone(&object), start: 0, end: 0 }));
        let pieces: Vec<usize> = packer.finish().iter().map(|split| split.pieces.len()).collect();
        assert_eq!(pieces, [MAX_PIECES, 1]);
    }

    #[test]
    fn many_small_objects_are_spread_over_several_splits() {
        let check = |count: usize, bytes: u64, expect: usize| {
            let splits = plan(64 << 20, &vec![bytes; count]).splits;
            assert_eq!(splits.len(), expect, "{count} of {bytes} bytes");
            let pieces = splits.iter().map(|split| split.pieces.len());
            let (least, most) = (pieces.clone().min().unwrap_or(0), pieces.max().unwrap_or(0));
            assert!(most - least <= count.div_ceil(expect), "{least} to {most}");
        };
        check(1000, 4000, 1);
        check(10_000, 4000, 4);
        check(100_000, 4000, 31);
        check(6, 60 << 20, 6);
        check(2, 32 << 20, 2);
    }

    #[test]
    fn unsplittable_objects_are_one_split_each_with_a_warning() {
        let mut spec = spec(&["/in"], "/out");
        spec.split_size = ByteSize(10);
        spec.line_rule = LineRule::Delimiter("aa".parse().expect("valid"));
        let plan = plan_job(&spec, objects(&[25, 3, 3])).expect("plannable");
        assert_eq!(shown(&plan), ["0:0-25", "1:0-3 2:0-3"]);
        let text = "/in/0: larger than a split but read by one task each, because the delimiter overlaps itself";
        assert_eq!(plan.warnings, [text]);
        let plan = plan_job(&spec, objects(&[25; 7])).expect("plannable");
        assert!(plan.warnings[0].starts_with("/in/0, /in/1, /in/2, /in/3, /in/4 and 2 more: "), "{plan:?}");
        spec.line_rule = LineRule::Quoted;
        let plan = plan_job(&spec, objects(&[25])).expect("plannable");
        assert!(plan.warnings[0].ends_with("tells which line ends are quoted"), "{plan:?}");
        spec.input_form = Some(Form::Parquet);
        assert_eq!(plan_job(&spec, objects(&[25])).expect("plannable").splits.len(), 3, "rows need no line ends");
    }

    #[test]
    fn compressed_objects_are_cut_as_their_form_allows() {
        let mut spec = spec(&["/in"], "/out");
        let named = |names: &[&str], mib: u64| -> Vec<InputObject> {
            let object = |name: &&str| InputObject {
                uri: format!("/in/{name}").parse().expect("a path"),
                ..objects(&[mib << 20]).remove(0)
            };
            names.iter().map(object).collect()
        };
        let splits = |spec: &JobSpec, objects: Vec<InputObject>| {
            let plan = plan_job(spec, objects).expect("plannable");
            (plan.splits.len(), plan.warnings)
        };
        assert_eq!(splits(&spec, named(&["a.gz", "b.zst", "c.txt"], 20)), (1, vec![]));
        assert_eq!(splits(&spec, named(&["a.bz2"], 20)), (5, vec![]));
        let (count, warnings) = splits(&spec, named(&["a.gz", "b.txt", "c.zst", "d.bz2"], 100));
        assert_eq!(count, 1 + 2 + 1 + 25);
        assert!(warnings[0].starts_with("/in/a.gz, /in/c.zst: larger than a split"), "{warnings:?}");
        let mut pinned = named(&["a.zst"], 100);
        pinned[0].form = Some(Form::SeekableZstd);
        assert_eq!(splits(&spec, pinned), (7, vec![]));
        spec.input_form = Some(Form::Plain);
        assert_eq!(splits(&spec, named(&["a.gz"], 100)), (2, vec![]));
    }

    #[test]
    fn reducers_come_from_the_spec_or_the_input_size_alone() {
        let check = |asked: Option<u32>, shape: JobShape, bytes: u64, expect: u32| {
            let mut spec = spec(&["/in"], "/out");
            (spec.reducers, spec.shape) = (asked, shape);
            assert_eq!(plan_job(&spec, objects(&[bytes])).expect("plannable").reducers, expect);
        };
        check(None, JobShape::MapReduce, 0, 1);
        check(None, JobShape::MapReduce, 64 << 20, 1);
        check(None, JobShape::MapReduce, (64 << 20) + 1, 2);
        check(None, JobShape::MapReduce, 1 << 40, MAX_DERIVED_REDUCERS);
        check(Some(7), JobShape::MapReduce, 0, 7);
        check(None, JobShape::MapOnly, 1 << 30, 0);
        check(Some(7), JobShape::MapOnly, 1 << 30, 0);
    }

    #[test]
    fn inputs_of_different_roles_share_no_split() {
        let mut spec = spec(&["/in"], "/out");
        spec.split_size = ByteSize(10);
        let plan = plan_inputs(&spec, vec![(1, objects(&[3, 3])), (0, objects(&[3, 25]))]).expect("plannable");
        assert_eq!(shown(&plan), ["0:0-3 1:0-3", "0:0-3", "1:0-8", "1:8-16", "1:16-25"]);
        assert_eq!(plan.splits.iter().map(|split| split.role).collect::<Vec<_>>(), [1, 0, 0, 0, 0]);
        assert_eq!((plan.objects, plan.input_bytes), (4, 34));
        spec.side_inputs = vec![SideInput { role: 1, uri: "/out/right".parse().expect("a path"), mapped: false }];
        let error = plan_inputs(&spec, vec![]).expect_err("overlaps");
        assert_eq!(error.to_string(), "input /out/right is inside output /out");
    }

    #[test]
    fn too_many_tasks_are_refused_before_they_are_made() {
        let mut spec = spec(&["/in"], "/out");
        spec.split_size = ByteSize(1);
        for sizes in [vec![u64::MAX], vec![u64::from(MAX_MAP_TASKS), 1]] {
            let error = plan_job(&spec, objects(&sizes)).expect_err("too many");
            assert!(matches!(error, PlanError::TooManyTasks { .. }), "{error}");
            assert_eq!(error.hint(), Some("raise --split-size"));
        }
    }

    #[test]
    fn output_and_input_may_not_overlap() {
        let check = |input: &str, output: &str, expect: Result<(), &str>| {
            let listed = InputObject { uri: "/in/a.txt".parse().expect("a path"), ..objects(&[1]).remove(0) };
            let result = plan_job(&spec(&[input], output), vec![listed]);
            let result = result.map(|_| ()).map_err(|error| error.to_string());
            assert_eq!(result, expect.map_err(str::to_owned), "{input} -> {output}");
        };
        check("/in", "/in-counts", Ok(()));
        check("/in/a.txt", "/in/out", Ok(()));
        check("/in/*.txt", "/in/out", Ok(()));
        check("/in", "/in/out", Err("output /in/out is inside input /in"));
        check("/in", "/in", Err("output /in is inside input /in"));
        check("/in/*", "/in/out", Err("output /in/out is inside input /in/*"));
        check("/in/**/x", "/in/out/deep", Err("output /in/out/deep is inside input /in/**/x"));
        check("/in/*.txt", "/in", Err("input /in/*.txt is inside output /in"));
        check("/in/a.txt", "/in", Err("input /in/a.txt is inside output /in"));
        check("/link/a.txt", "/in", Err("input /in/a.txt is inside output /in"));
        check("/other/{a,b}", "/other/b/out", Err("output /other/b/out is inside input /other/{a,b}"));
    }

    #[test]
    fn impossible_specs_are_refused() {
        let mut bad = spec(&["/in"], "/out");
        bad.split_size = ByteSize(0);
        assert!(matches!(plan_job(&bad, vec![]), Err(PlanError::Spec { source: SpecError::SplitSize })));
    }

    proptest! {
        #[test]
        fn splits_cover_every_byte_once_in_order(
            sizes in proptest::collection::vec(0_u64..300, 0..40),
            split_size in 1_u64..100,
        ) {
            let plan = plan(split_size, &sizes);
            let mut covered = vec![];
            for split in &plan.splits {
                prop_assert!(!split.pieces.is_empty() && split.bytes() >= 1 && split.bytes() <= split_size);
                let whole = |piece: &Piece| piece.start == 0 && piece.end == piece.object.size;
                prop_assert!(split.pieces.len() == 1 || split.pieces.iter().all(whole));
                for piece in &split.pieces {
                    let index: usize = piece.object.uri.base_name().parse().expect("named by index");
                    prop_assert!(piece.start < piece.end && piece.end <= sizes[index]);
                    covered.extend((piece.start..piece.end).map(|byte| (index, byte)));
                }
            }
            let all = sizes.iter().enumerate().flat_map(|(index, &size)| (0..size).map(move |byte| (index, byte)));
            prop_assert_eq!(covered, all.collect::<Vec<_>>());
            prop_assert_eq!(plan.input_bytes, sizes.iter().sum::<u64>());
            prop_assert_eq!(plan.objects, sizes.len() as u64);
        }

        #[test]
        fn pieces_of_one_object_differ_by_at_most_a_byte(size in 1_u64..=u64::MAX, count in 1_u64..1000) {
            let split_size = size.div_ceil(count);
            let plan = plan(split_size, &[size]);
            let sizes: Vec<u64> = plan.splits.iter().map(|split| split.bytes()).collect();
            let (least, most) = (sizes.iter().min().expect("some"), sizes.iter().max().expect("some"));
            prop_assert!(most - least <= 1 && *most <= split_size);
            prop_assert_eq!(sizes.len() as u64, size.div_ceil(split_size));
        }
    }
}
