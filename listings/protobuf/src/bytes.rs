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
    show("title: empty", |recipe| recipe.title = String::new());
    show("title: 汤", |recipe| recipe.title = "汤".to_owned());
    show("photo: 3 bytes", |recipe| recipe.photo = vec![1, 2, 3]);
    show("vegetarian: true", |recipe| recipe.vegetarian = true);
    show("servings: 0", |recipe| recipe.servings = 0);
    show("servings: 4", |recipe| recipe.servings = 4);
    show("servings: 300", |recipe| recipe.servings = 300);
    show("price_difference: -1", |recipe| {
        recipe.price_difference = -1
    });
    show("rating: 4.5", |recipe| recipe.rating = 4.5);
    show("oven: None", |recipe| recipe.oven = None);
    show("oven: Some(0)", |recipe| recipe.oven = Some(0));
    show("steps: mix, bake", |recipe| {
        recipe.steps = vec!["mix".to_owned(), "bake".to_owned()];
    });
    show("ingredients: 1 egg", |recipe| {
        let one = Amount {
            value: 1.0,
            unit: Unit::Piece.into(),
        };
        recipe.ingredients.insert("egg".to_owned(), one);
    });
    show("course: Dessert", |recipe| {
        recipe.set_course(Course::Dessert)
    });
    show("author: no name", |recipe| {
        recipe.author = Some(Author::default())
    });
    show("source: Book, empty", |recipe| {
        recipe.source = Some(Source::Book(String::new()));
    });
    show("created_at: 60 s", |recipe| {
        recipe.created_at = Some(Timestamp {
            seconds: 60,
            nanos: 0,
        });
    });
    show("cooking_time: 1 h", |recipe| {
        recipe.cooking_time = Some(Duration {
            seconds: 3600,
            nanos: 0,
        });
    });
    show("votes: 5, 4, 5", |recipe| recipe.votes = vec![5, 4, 5]);
    show("type: a", |recipe| recipe.r#type = "a".to_owned());
}

// ANCHOR: show
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
// ANCHOR_END: show
