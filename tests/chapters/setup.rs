//! What the chapter `setup` says of protoc.

use harness::{Result, workspace};

/// The classic way asks for protoc; protox, which the listings use, does not.
#[test]
fn compile_protos_starts_protoc_and_protox_does_not() -> Result {
    let proto = workspace().proto();
    let out = tempfile::tempdir()?;
    let generate = || tonic_prost_build::configure().out_dir(out.path());

    let mut config = tonic_prost_build::Config::new();
    config.protoc_executable("no-such-protoc");
    let error = generate()
        .compile_with_config(
            config,
            &[proto.join("hello/v1/hello.proto").as_path()],
            &[proto.as_path()],
        )
        .expect_err("there is no such program");
    assert!(error.to_string().contains("protoc"), "{error}");

    let contract = protox::compile(["hello/v1/hello.proto"], [&proto])?;
    generate().compile_fds(contract)?;
    assert!(out.path().join("hello.v1.rs").is_file());
    Ok(())
}
