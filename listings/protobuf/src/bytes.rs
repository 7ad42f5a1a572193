//! `protobuf-bytes` prints what single fields of a message become on the wire.

use prost::Message;
use prost_types::{Duration, Timestamp};
use protobuf::pb::kitchen::{
    measure::v1::{Amount, Unit},
    recipe::v1::{
        Recipe,
        recipe::{Author, Course, Source},
    },
};

fn main() {
    show("title: empty", |it| it.title = String::new());
    show("title: 汤", |it| it.title = "汤".to_owned());
    show("photo: 3 bytes", |it| it.photo = vec![1, 2, 3]);
    show("vegetarian: true", |it| it.vegetarian = true);
    show("servings: 0", |it| it.servings = 0);
    show("servings: 4", |it| it.servings = 4);
    show("servings: 300", |it| it.servings = 300);
    show("price_difference: -1", |it| it.price_difference = -1);
    show("rating: 4.5", |it| it.rating = 4.5);
    show("oven: None", |it| it.oven = None);
    show("oven: Some(0)", |it| it.oven = Some(0));
    show("steps: mix, bake", |it| {
        it.steps = vec!["mix".to_owned(), "bake".to_owned()];
    });
    show("ingredients: 1 egg", |it| {
        let one = Amount {
            value: 1.0,
            unit: Unit::Piece.into(),
        };
        it.ingredients.insert("egg".to_owned(), one);
    });
    show("course: Dessert", |it| it.set_course(Course::Dessert));
    show("author: no name", |it| it.author = Some(Author::default()));
    show("source: Book, empty", |it| {
        it.source = Some(Source::Book(String::new()));
    });
    show("created_at: 60 s", |it| {
        it.created_at = Some(Timestamp {
            seconds: 60,
            nanos: 0,
        });
    });
    show("cooking_time: 1 h", |it| {
        it.cooking_time = Some(Duration {
            seconds: 3600,
            nanos: 0,
        });
    });
    show("type: a", |it| it.r#type = "a".to_owned());
}

/// Prints the bytes of a recipe that has this field only.
fn show(field: &str, set: impl FnOnce(&mut Recipe)) {
    let mut recipe = Recipe::default();
    set(&mut recipe);
    let bytes = recipe.encode_to_vec();
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let hex = if hex.is_empty() {
        "(nothing)".to_owned()
    } else {
        hex.join(" ")
    };
    println!("{field:<22}{hex}");
}
