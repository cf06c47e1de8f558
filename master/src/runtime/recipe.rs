//! What a job was made of, as it is kept for whoever runs one of its tasks again, while the job runs and
//! when it is over: its spec, its binary, and the pieces of input that each of its map tasks read.

use std::sync::Arc;

use gristmill_common::spec::JobSpec;
use gristmill_common::task::JobPlan;
use gristmill_common::wire::{WireError, invalid, required, v1};
use prost::Message as _;

use super::journal::{plan_from_wire, plan_to_wire};

/// Spec, binary and plan of a job. Each of its tasks is a function of these and of the inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// What was asked for; the number of reduce tasks is decided.
    pub spec: Arc<JobSpec>,
    /// The binary it was submitted with.
    pub binary_sha256: String,
    /// Its tasks. Inputs are pinned: their size and time were these.
    pub plan: Arc<JobPlan>,
}

impl Recipe {
    /// The bytes that are kept; the same for equal recipes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let recipe = v1::Recipe {
            spec: Some(self.spec.as_ref().into()),
            binary_sha256: self.binary_sha256.clone(),
            plan: Some(plan_to_wire(&self.plan)),
        };
        recipe.encode_to_vec()
    }

    /// Reads what was kept.
    ///
    /// # Errors
    ///
    /// If the bytes are no recipe, or one that this build does not understand.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let wire = v1::Recipe::decode(bytes).map_err(invalid("Recipe"))?;
        Ok(Self {
            spec: Arc::new(required("Recipe.spec", wire.spec)?.try_into()?),
            binary_sha256: wire.binary_sha256,
            plan: Arc::new(plan_from_wire(required("Recipe.plan", wire.plan)?)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use gristmill_common::naming::Uri;
    use gristmill_common::spec::JobShape;
    use gristmill_common::task::{InputObject, Piece, Split};

    use super::*;

    #[test]
    fn a_recipe_is_read_as_it_was_kept() {
        let uri = |text: &str| text.parse::<Uri>().expect("a path");
        let object = InputObject { uri: uri("/in/a"), size: 9, modified_micros: Some(7), etag: None, form: None };
        let object = Arc::new(object);
        let piece = |start, end| Split { pieces: vec![Piece { object: Arc::clone(&object), start, end }], role: 0 };
        let (splits, warnings) = (vec![piece(0, 4), piece(4, 9)], Vec::new());
        let recipe = Recipe {
            spec: Arc::new(JobSpec::new("grep", JobShape::MapOnly, vec![uri("/in")], uri("/out"))),
            binary_sha256: "cafe".to_owned(),
            plan: Arc::new(JobPlan { splits, reducers: 0, objects: 1, input_bytes: 9, warnings }),
        };
        let bytes = recipe.encode();
        assert_eq!(Recipe::decode(&bytes).expect("kept by this build"), recipe);
        assert_eq!(recipe.clone().encode(), bytes);
        let error = Recipe::decode(&bytes[..bytes.len() - 1]).expect_err("cut").to_string();
        assert!(error.starts_with("field Recipe is not valid: "), "{error}");
    }
}
