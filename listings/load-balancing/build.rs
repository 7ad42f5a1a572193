//! Generates the Rust code of the contract, without protoc.

/// Where the contracts are.
const PROTO: &str = "../../proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo watches the package's own folder only: without this line a change
    // to a contract outside it would go unnoticed.
    println!("cargo:rerun-if-changed={PROTO}");

    let contract = protox::compile(["hello/v1/hello.proto"], [PROTO])?;
    tonic_prost_build::compile_fds(contract)?;
    Ok(())
}
