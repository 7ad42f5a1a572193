//! What prost makes of each kind of field, and what it does with what it does not know.

mod exercises;

use std::time::SystemTime;

use prost::{DecodeError, Message};
use protobuf::pb::kitchen::{
    measure::v1::{Amount, Unit},
    recipe::v1::{
        OldRecipe, Recipe,
        recipe::{Author, Course, Source},
    },
};

#[test]
fn nothing_is_sent_for_a_default_value() {
    let recipe = Recipe {
        servings: 0,
        title: String::new(),
        oven: None,
        ..Recipe::default()
    };
    assert!(recipe.encode_to_vec().is_empty());
    assert_eq!(Recipe::decode(&[][..]), Ok(Recipe::default()));
}

#[test]
fn an_optional_field_tells_zero_from_nothing() {
    let cold = Recipe {
        oven: Some(0),
        ..Recipe::default()
    };
    let bytes = cold.encode_to_vec();
    assert_eq!(Recipe::decode(&bytes[..]), Ok(cold));
    assert_eq!(Recipe::default().oven, None);
}

#[test]
fn a_message_comes_back_as_it_was_sent() {
    let recipe = Recipe {
        title: "番茄炒蛋".to_owned(),
        ingredients: [(
            "番茄".to_owned(),
            Amount {
                value: 2.0,
                unit: Unit::Piece.into(),
            },
        )]
        .into(),
        course: Course::Main.into(),
        source: Some(Source::Url("https://example.org".to_owned())),
        ..Recipe::default()
    };
    assert_eq!(Recipe::decode(&recipe.encode_to_vec()[..]), Ok(recipe));
}

/// The fields 12 and 13, which cannot both be set by a program in Rust.
#[test]
fn the_last_field_of_a_oneof_wins() {
    let recipe = Recipe::decode(&b"\x62\x01a\x6a\x01b"[..]);
    let source = recipe.map(|recipe| recipe.source);
    assert_eq!(source, Ok(Some(Source::Url("b".to_owned()))));
}

// ANCHOR: unknown_fields
#[test]
fn prost_drops_fields_that_it_does_not_know() -> Result<(), DecodeError> {
    let recipe = Recipe {
        title: "Soup".to_owned(),
        servings: 4,
        ..Recipe::default()
    };
    let old = OldRecipe::decode(&recipe.encode_to_vec()[..])?;
    assert_eq!(old.title, "Soup");

    let passed_on = Recipe::decode(&old.encode_to_vec()[..])?;
    assert_eq!(passed_on.servings, 0);
    Ok(())
}
// ANCHOR_END: unknown_fields

#[test]
fn a_new_member_of_a_oneof_arrives_as_none_and_is_lost() -> Result<(), DecodeError> {
    let recipe = Recipe {
        source: Some(Source::Url("https://example.org".to_owned())),
        ..Recipe::default()
    };
    let old = OldRecipe::decode(&recipe.encode_to_vec()[..])?;
    assert_eq!(old.source, None);
    assert!(old.encode_to_vec().is_empty());
    Ok(())
}

// ANCHOR: unknown_value
#[test]
fn an_unknown_enum_value_stays_a_number() -> Result<(), DecodeError> {
    let recipe = Recipe::decode(&b"\x50\x63"[..])?;
    assert_eq!(recipe.course, 99);
    assert_eq!(Course::try_from(99).ok(), None);
    // The getter cannot say that it does not know the value.
    assert_eq!(recipe.course(), Course::Unspecified);
    assert_eq!(recipe.encode_to_vec(), b"\x50\x63");
    Ok(())
}
// ANCHOR_END: unknown_value

#[test]
fn text_that_is_not_utf_8_is_an_error() {
    let error = Recipe::decode(&b"\x0a\x01\xff"[..]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to decode Protobuf message: Recipe.title: invalid string value: data is not UTF-8 encoded"
    );
}

#[test]
fn a_field_of_another_type_is_an_error() {
    // The field 4, which is a number, with a length.
    let error = Recipe::decode(&b"\x22\x01a"[..]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to decode Protobuf message: Recipe.servings: invalid wire type: LengthDelimited (expected Varint)"
    );
}

#[test]
fn bytes_do_not_say_of_which_type_they_are() {
    let author = Author {
        name: "Soup".to_owned(),
    };
    let recipe = OldRecipe::decode(&author.encode_to_vec()[..]);
    assert_eq!(recipe.map(|it| it.title), Ok("Soup".to_owned()));
}

#[test]
fn messages_may_be_nested_a_hundred_deep() {
    // A group of unknown fields: a start and an end for each level.
    let nested = |depth: usize| [[0x9b, 0x06].repeat(depth), [0x9c, 0x06].repeat(depth)].concat();
    assert!(Recipe::decode(&nested(100)[..]).is_ok());
    assert!(Recipe::decode(&nested(101)[..]).is_err());
}

/// prost-types 0.14.6, where overflow is checked, as in debug builds. When this test
/// fails, the page need no longer warn.
#[cfg(debug_assertions)]
#[test]
#[should_panic(expected = "overflow")]
fn the_most_negative_duration_panics() {
    let longest = prost_types::Duration {
        seconds: i64::MIN,
        nanos: 0,
    };
    let _ = std::time::Duration::try_from(longest);
}

#[test]
fn conversions_do_not_check_the_range_of_the_specification() {
    let year_10000 = prost_types::Timestamp {
        seconds: 253_402_300_800,
        nanos: 0,
    };
    assert!(SystemTime::try_from(year_10000).is_ok());
}
