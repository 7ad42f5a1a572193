//! Generates the Rust code of the contract, without protoc.

/// Where the contract is: it is gRPC's and not ours, and so it is in here.
const PROTO: &str = "proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={PROTO}");

    let contract = protox::compile(["proto/grpc/testing/test.proto"], [PROTO])?;
    tonic_prost_build::compile_fds(contract)?;
    Ok(())
}
