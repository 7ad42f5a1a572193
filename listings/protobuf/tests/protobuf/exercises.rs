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
#[should_panic(expected = "renaming a recipe loses its servings")]
fn exercise_2_renaming_loses_nothing() {
    let recipe = Recipe {
        title: "Tea".to_owned(),
        servings: 4,
        ..Recipe::default()
    };
    let renamed = rename(&recipe.encode_to_vec(), "茶").expect("it is a recipe");
    let renamed = Recipe::decode(&renamed[..]).expect("it is a recipe");
    assert_eq!(renamed.title, "茶");
    assert_eq!(renamed.servings, 4, "renaming a recipe loses its servings");
}
