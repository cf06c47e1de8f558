//! Inputs of attempts: splits and segment sources. An object's name travels once in a split,
//! however many pieces of it there are.

use std::collections::HashMap;
use std::sync::Arc;

use super::spec::uri;
use super::{WireError, invalid, required, v1};
use crate::ids::SessionId;
use crate::task::{InputObject, Piece, SegmentSource, Split, TaskInput};

impl From<&InputObject> for v1::InputObject {
    fn from(object: &InputObject) -> Self {
        Self {
            uri: object.uri.clone().into(),
            size: object.size,
            modified_micros: object.modified_micros,
            etag: object.etag.clone(),
            form: object.form.map(|form| form.to_string()),
        }
    }
}

impl TryFrom<v1::InputObject> for InputObject {
    type Error = WireError;

    fn try_from(wire: v1::InputObject) -> Result<Self, WireError> {
        Ok(Self {
            uri: uri("InputObject.uri", &wire.uri)?,
            size: wire.size,
            modified_micros: wire.modified_micros,
            etag: wire.etag,
            form: wire.form.map(|form| form.parse().map_err(invalid("InputObject.form"))).transpose()?,
        })
    }
}

impl From<&Split> for v1::Split {
    fn from(split: &Split) -> Self {
        let mut objects = Vec::new();
        let mut places: HashMap<&InputObject, u32> = HashMap::new();
        let pieces = split.pieces.iter().map(|piece| {
            let object = *places.entry(&piece.object).or_insert_with(|| {
                objects.push(v1::InputObject::from(&*piece.object));
                u32::try_from(objects.len() - 1).expect("a split has fewer than 2^32 objects")
            });
            v1::Piece { object, start: piece.start, end: piece.end }
        });
        let pieces = pieces.collect();
        Self { objects, pieces, role: split.role }
    }
}

impl TryFrom<v1::Split> for Split {
    type Error = WireError;

    fn try_from(wire: v1::Split) -> Result<Self, WireError> {
        let objects: Vec<Arc<InputObject>> =
            wire.objects.into_iter().map(|object| object.try_into().map(Arc::new)).collect::<Result<_, _>>()?;
        let pieces = wire.pieces.into_iter().map(|piece| {
            let place = usize::try_from(piece.object).ok();
            let object = place
                .and_then(|place| objects.get(place))
                .ok_or_else(|| WireError::Unknown { field: "Piece.object", value: piece.object.to_string() })?;
            if piece.start > piece.end || piece.end > object.size {
                let reason = format!("{}..{} of {} bytes", piece.start, piece.end, object.size);
                return Err(WireError::Invalid { field: "Piece.end", reason });
            }
            Ok(Piece { object: Arc::clone(object), start: piece.start, end: piece.end })
        });
        Ok(Self { pieces: pieces.collect::<Result<_, _>>()?, role: wire.role })
    }
}

impl From<&SegmentSource> for v1::SegmentSource {
    fn from(source: &SegmentSource) -> Self {
        Self {
            session: source.session.0,
            address: source.address.clone(),
            machine: source.machine.clone(),
            scratch: source.scratch.clone(),
            attempts: source.attempts.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::SegmentSource> for SegmentSource {
    type Error = WireError;

    fn try_from(wire: v1::SegmentSource) -> Result<Self, WireError> {
        Ok(Self {
            session: SessionId(wire.session),
            address: wire.address,
            machine: wire.machine,
            scratch: wire.scratch,
            attempts: wire.attempts.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&TaskInput> for v1::TaskInput {
    fn from(input: &TaskInput) -> Self {
        use v1::task_input::Input;
        let input = match input {
            TaskInput::Map { split, partitions, skip } => Input::Map(v1::MapInput {
                split: Some(split.into()),
                partitions: *partitions,
                skip: skip.iter().map(Into::into).collect(),
            }),
            TaskInput::Reduce { sources } => {
                Input::Reduce(v1::ReduceInput { sources: sources.iter().map(Into::into).collect() })
            }
        };
        Self { input: Some(input) }
    }
}

impl TryFrom<v1::TaskInput> for TaskInput {
    type Error = WireError;

    fn try_from(wire: v1::TaskInput) -> Result<Self, WireError> {
        use v1::task_input::Input;
        Ok(match required("TaskInput.input", wire.input)? {
            Input::Map(map) => {
                let split = required("MapInput.split", map.split)?.try_into()?;
                let skip = map.skip.into_iter().map(Into::into).collect();
                TaskInput::Map { split, partitions: map.partitions, skip }
            }
            Input::Reduce(reduce) => {
                let sources = reduce.sources.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
                TaskInput::Reduce { sources }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::InputPosition;
    use crate::form::{Codec, Form};
    use crate::wire::round_trip;

    fn object(name: &str, size: u64) -> Arc<InputObject> {
        let uri = name.parse().expect(name);
        let etag = (size > 50).then(|| "\"tag\"".to_owned());
        let form = (size > 50).then_some(Form::Compressed(Codec::Zstd));
        Arc::new(InputObject { uri, size, modified_micros: (size > 0).then_some(-5), etag, form })
    }

    fn piece(object: &Arc<InputObject>, start: u64, end: u64) -> Piece {
        Piece { object: Arc::clone(object), start, end }
    }

    #[test]
    fn inputs_travel() {
        let (a, b) = (object("/data/a", 100), object("s3://bucket/b", 0));
        let split = Split { pieces: vec![piece(&a, 0, 40), piece(&b, 0, 0), piece(&a, 40, 100)], role: 2 };
        let at = InputPosition { object: "/data/a".into(), offset: 7 };
        round_trip::<v1::InputObject, _>(&*a);
        round_trip::<v1::Split, _>(&Split::default());
        round_trip::<v1::TaskInput, _>(&TaskInput::Map { split, partitions: 3, skip: vec![at] });
        let source = SegmentSource {
            session: SessionId(7),
            address: "http://127.0.0.1:4000".into(),
            machine: "host".into(),
            scratch: "/scratch".into(),
            attempts: vec!["m-0.1".parse().expect("valid"), "m-4.0".parse().expect("valid")],
        };
        round_trip::<v1::TaskInput, _>(&TaskInput::Reduce { sources: [source].into() });
        round_trip::<v1::TaskInput, _>(&TaskInput::Reduce { sources: [].into() });
    }

    #[test]
    fn an_objects_name_travels_once() {
        let object = object("/data/a", 100);
        let same = Arc::new(InputObject::clone(&object));
        let wire = v1::Split::from(&Split { pieces: vec![piece(&object, 0, 1), piece(&same, 1, 2)], role: 0 });
        assert_eq!((wire.objects.len(), wire.pieces.len()), (1, 2));
        let split = Split::try_from(wire).expect("valid");
        assert!(Arc::ptr_eq(&split.pieces[0].object, &split.pieces[1].object));
    }

    #[test]
    fn pieces_outside_their_object_are_refused() {
        let check = |object: u32, start: u64, end: u64, expect: &str| {
            let objects = vec![v1::InputObject { uri: "file:///a".into(), size: 10, ..Default::default() }];
            let wire = v1::Split { objects, pieces: vec![v1::Piece { object, start, end }], role: 0 };
            assert_eq!(Split::try_from(wire).expect_err(expect).to_string(), expect);
        };
        check(1, 0, 1, "field Piece.object has the unknown value \"1\"");
        check(0, 5, 4, "field Piece.end is not valid: 5..4 of 10 bytes");
        check(0, 5, 11, "field Piece.end is not valid: 5..11 of 10 bytes");
        let error = TaskInput::try_from(v1::TaskInput::default()).expect_err("no input");
        assert_eq!(error, WireError::Missing { field: "TaskInput.input" });
    }
}
