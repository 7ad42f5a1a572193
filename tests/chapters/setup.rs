//! The chapter `setup`: which ways of generating code need protoc.

use harness::{Result, workspace};

/// `tonic_prost_build` runs protoc by default. The listings use protox, so that a reader needs
/// nothing but Rust.
#[harness::test]
fn compile_protos_needs_protoc_and_protox_does_not() -> Result {
    let proto = workspace().proto();
    let out = tempfile::tempdir()?;
    let builder = || tonic_prost_build::configure().out_dir(out.path());

    let mut config = tonic_prost_build::Config::new();
    config.protoc_executable("no-such-protoc");
    let error = builder()
        .compile_with_config(
            config,
            &[proto.join("hello/v1/hello.proto").as_path()],
            &[proto.as_path()],
        )
        .expect_err("there is no such protoc");
    assert!(error.to_string().contains("protoc"), "{error}");

    let descriptors = protox::compile(["hello/v1/hello.proto"], [&proto])?;
    builder().compile_fds(descriptors)?;
    assert!(out.path().join("hello.v1.rs").is_file());
    Ok(())
}

#[harness::test]
fn protox_reads_no_editions() -> Result {
    let folder = tempfile::tempdir()?;
    let proto = folder.path().join("greeting.proto");
    for (first, reads) in [
        ("syntax = \"proto2\";", true),
        ("syntax = \"proto3\";", true),
        ("edition = \"2023\";", false),
    ] {
        std::fs::write(&proto, format!("{first}\nmessage Greeting {{}}\n"))?;
        let compiled = protox::compile([&proto], [folder.path()]);
        assert_eq!(compiled.is_ok(), reads, "{first}");
    }
    Ok(())
}
