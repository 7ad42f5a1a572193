//! Generates the Rust code of two contracts, one of which imports the other.

/// Where the contracts are.
const PROTO: &str = "../../proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={PROTO}");

    // protox finds what a contract imports; the well-known types are built into it.
    let contracts = protox::compile(["kitchen/recipe/v1/recipe.proto"], [PROTO])?;
    tonic_prost_build::configure()
        .include_file("pb.rs")
        .compile_fds(contracts)?;
    Ok(())
}
