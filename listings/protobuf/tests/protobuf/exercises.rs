//! The exercises of the chapter. Each test passes because it is expected to
//! panic: remove that line, and the test fails until the exercise is solved.

use prost::{DecodeError, Message};
use protobuf::pb::kitchen::recipe::v1::{OldRecipe, Recipe};

#[test]
#[should_panic(expected = "predict the bytes")]
fn exercise_1_you_can_predict_the_bytes() {
    const PREDICTED: &[u8] = &[];

    let recipe = Recipe {
        title: "茶".to_owned(),
        servings: 150,
        oven: Some(0),
        ..Recipe::default()
    };
    assert_eq!(recipe.encode_to_vec(), PREDICTED, "predict the bytes");
}

/// Gives an encoded recipe another title.
fn rename(recipe: &[u8], title: &str) -> Result<Vec<u8>, DecodeError> {
    let mut recipe = OldRecipe::decode(recipe)?;
    recipe.title = title.to_owned();
    Ok(recipe.encode_to_vec())
}

#[test]
#[should_panic(expected = "renaming a recipe loses what was added to it")]
fn exercise_2_renaming_loses_nothing() {
    let recipe = Recipe {
        title: "Tea".to_owned(),
        servings: 4,
        ..Recipe::default()
    };
    // The field 99, which the contract does not have yet, with the string `x`.
    let added = b"\x9a\x06\x01x";
    let newer = [&recipe.encode_to_vec()[..], added].concat();

    let renamed = rename(&newer, "茶").expect("it is a recipe");
    let recipe = Recipe::decode(&renamed[..]).expect("it is a recipe");
    assert_eq!(recipe.title, "茶");
    let is_kept = |field: &[u8]| renamed.windows(field.len()).any(|part| part == field);
    assert!(
        is_kept(b"\x20\x04") && is_kept(added),
        "renaming a recipe loses what was added to it"
    );
}
