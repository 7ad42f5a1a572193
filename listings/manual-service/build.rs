//! Generates the code of a service that is described here, and in no contract.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    // The description is this file: nothing else in the package changes it.
    println!("cargo:rerun-if-changed=build.rs");

    // ANCHOR: service
    let say_hello = Method::builder()
        .name("say_hello")
        .route_name("SayHello")
        .comment("Answers with a greeting for the name in the request.")
        .comment("")
        .comment("Fails with INVALID_ARGUMENT if the name is empty or longer than 64 characters.")
        .input_type("crate::messages::SayHelloRequest")
        .output_type("crate::messages::SayHelloResponse")
        .codec_path("crate::json::JsonCodec")
        .build();
    let greeter = Service::builder()
        .package("greeting.v1")
        .name("GreeterService")
        .comment("Greets people by name.")
        .method(say_hello)
        .build();
    Builder::new().compile(&[greeter]);
    // ANCHOR_END: service
}
