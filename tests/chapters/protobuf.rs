//! The chapter `protobuf`: its table of types, which the compiler checks.

use std::{collections::HashMap, fmt::Write, fs};

use anyhow::ensure;
use harness::{Listing, Result, table, workspace};
use prost_types::{Duration, Timestamp};
use protobuf::pb::kitchen::{
    measure::v1::Amount,
    recipe::v1::{
        Recipe,
        recipe::{Author, Source},
    },
};
use tonic::{Code, Request, client::Grpc, codegen::http::uri::PathAndQuery, transport::Endpoint};
use tonic_prost::ProstCodec;

/// What the contract declares, and the field, its type and its default value in Rust: the same text
/// is compiled and printed.
macro_rules! fields {
    ($($declared:literal => $field:ident: $type:ty = $default:expr;)*) => {
        /// Does not compile if a field has another type.
        fn default_values_are_as_told(recipe: Recipe) -> Result {
            $(
                let (value, default): ($type, $type) = (recipe.$field, $default);
                ensure!(value == default, "{}: {value:?}", $declared);
            )*
            Ok(())
        }

        const FIELDS: &[[&str; 4]] = &[
            $([$declared, stringify!($field), stringify!($type), stringify!($default)],)*
        ];
    };
}

fields! {
    "string title" => title: String = String::new();
    "bytes photo" => photo: Vec<u8> = Vec::new();
    "bool vegetarian" => vegetarian: bool = false;
    "uint32 servings" => servings: u32 = 0;
    "sint32 price_difference" => price_difference: i32 = 0;
    "double rating" => rating: f64 = 0.0;
    "optional uint32 oven" => oven: Option<u32> = None;
    "repeated string steps" => steps: Vec<String> = Vec::new();
    "map<string, kitchen.measure.v1.Amount> ingredients" =>
        ingredients: HashMap<String, Amount> = HashMap::new();
    "Course course" => course: i32 = 0;
    "Author author" => author: Option<Author> = None;
    "oneof source" => source: Option<Source> = None;
    "google.protobuf.Timestamp created_at" => created_at: Option<Timestamp> = None;
    "google.protobuf.Duration cooking_time" => cooking_time: Option<Duration> = None;
    "repeated uint32 votes" => votes: Vec<u32> = Vec::new();
    "string type" => r#type: String = String::new();
}

#[harness::test]
fn fields_have_the_types_of_the_table() -> Result {
    default_values_are_as_told(Recipe::default())?;

    let contract = workspace().proto().join("kitchen/recipe/v1/recipe.proto");
    let contract = fs::read_to_string(contract)?;
    let mut table =
        "| in the contract | field | type | default |\n| --- | --- | --- | --- |\n".to_owned();
    for [declared, field, rust_type, default] in FIELDS {
        ensure!(
            contract.contains(declared),
            "the contract has no {declared}"
        );
        writeln!(
            table,
            "| `{declared}` | `{field}` | `{rust_type}` | `{default}` |"
        )?;
    }
    table::compare(
        "tests/chapters/output/protobuf-fields.md",
        &table,
        str::to_owned,
    )
}

#[harness::test]
fn non_ascii_title_is_utf_8_on_the_wire() -> Result {
    let output = Listing::build("protobuf")?.run("protobuf-bytes", [""; 0])?;
    ensure!(output.text.contains("0a 03 e6 b1 a4"), "{}", output.text);
    Ok(())
}

/// What prost generates for a contract with odd names.
#[harness::test]
fn odd_names_and_wrappers_are_generated_as_told() -> Result {
    let dir = tempfile::TempDir::new()?;
    let proto = "syntax = \"proto3\";\n\
                 package shop.type.v1;\n\
                 import \"google/protobuf/empty.proto\";\n\
                 import \"google/protobuf/wrappers.proto\";\n\
                 message Odd {\n\
                 string self = 1; string super = 2; string crate = 3; string extern = 4;\n\
                 string createdAt = 5; string match = 6;\n\
                 google.protobuf.Empty empty = 7; google.protobuf.StringValue wrapped = 8;\n\
                 int32 whole = 9; sint32 signed = 10; sfixed32 fixed = 11;\n\
                 Odd inner = 12;\n\
                 }\n";
    fs::write(dir.path().join("odd.proto"), proto)?;
    let contracts = protox::compile(["odd.proto"], [dir.path()])?;
    tonic_prost_build::configure()
        .out_dir(dir.path())
        .include_file("pb.rs")
        .compile_fds(contracts)?;

    let generated = fs::read_to_string(dir.path().join("shop.r#type.v1.rs"))?;
    for field in [
        "pub self_: ::prost::alloc::string::String",
        "pub super_:",
        "pub crate_:",
        "pub extern_:",
        "pub created_at:",
        "pub r#match:",
        "pub empty: ::core::option::Option<()>",
        "pub wrapped: ::core::option::Option<::prost::alloc::string::String>",
        "pub inner: ::core::option::Option<::prost::alloc::boxed::Box<Odd>>",
        "pub whole: i32",
        "pub signed: i32",
        "pub fixed: i32",
    ] {
        ensure!(generated.contains(field), "no {field}: {generated}");
    }
    let modules = fs::read_to_string(dir.path().join("pb.rs"))?;
    ensure!(modules.contains("pub mod r#type {"), "{modules}");
    Ok(())
}

#[harness::test]
fn negative_numbers_have_the_sizes_of_the_page() {
    use prost::encoding::{int32, sfixed32, sint32};
    // One byte is the field's number.
    assert_eq!(int32::encoded_len(1, &-1), 1 + 10);
    assert_eq!(sint32::encoded_len(1, &-1), 1 + 1);
    assert_eq!(sfixed32::encoded_len(1, &-1), 1 + 4);
}

#[harness::test]
fn options_of_the_builder_change_the_types_as_told() -> Result {
    let dir = tempfile::TempDir::new()?;
    let contracts = protox::compile(["kitchen/recipe/v1/recipe.proto"], [workspace().proto()])?;
    tonic_prost_build::configure()
        .out_dir(dir.path())
        .bytes(".")
        .btree_map(".")
        .compile_fds(contracts)?;
    let generated = fs::read_to_string(dir.path().join("kitchen.recipe.v1.rs"))?;
    for text in ["pub photo: ::prost::bytes::Bytes", "BTreeMap<"] {
        ensure!(generated.contains(text), "no {text}: {generated}");
    }
    Ok(())
}

/// A request whose name need not be UTF-8.
#[derive(Clone, PartialEq, prost::Message)]
struct BadRequest {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
}

#[harness::test]
async fn bad_bytes_are_answered_with_internal() -> Result {
    let server = Listing::build("hello-world")?.server("hello-world-server")?;
    let channel = Endpoint::from_shared(server.uri())?.connect().await?;
    let mut grpc = Grpc::new(channel);
    grpc.ready().await?;
    let codec = ProstCodec::<BadRequest, hello_world::pb::SayHelloResponse>::default();
    let path = PathAndQuery::from_static("/hello.v1.GreeterService/SayHello");
    let name = vec![0xff];
    let answer = grpc
        .unary(Request::new(BadRequest { name }), path, codec)
        .await;
    let status = answer.expect_err("the name is not UTF-8");
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(
        status.message(),
        "failed to decode Protobuf message: SayHelloRequest.name: \
         invalid string value: data is not UTF-8 encoded"
    );
    Ok(())
}
