//! Generates the Rust code of the contract, without protoc.

/// Where the contracts are.
const PROTO: &str = "../../proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo watches the package's own folder only: without this line a change
    // to a contract outside it would go unnoticed.
    println!("cargo:rerun-if-changed={PROTO}");

    let contract = protox::compile(
        ["person/v1/person.proto", "person/v1/error_details.proto"],
        [PROTO],
    )?;
    let mut config = prost_build::Config::new();
    // Each message knows its name and its type URL, which an `Any` carries.
    config
        .enable_type_names()
        .type_name_domain(["."], "type.googleapis.com");
    tonic_prost_build::configure()
        // A method that a server does not write is `UNIMPLEMENTED`.
        .generate_default_stubs(true)
        .compile_fds_with_config(contract, config)?;
    Ok(())
}
