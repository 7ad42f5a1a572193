//! Generates the Rust code of the contracts, without protoc.

/// Where the contracts are.
const PROTO: &str = "../../proto";

// ANCHOR: main
fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo watches the package's own folder only: without this line a change
    // to a contract outside it would go unnoticed.
    println!("cargo:rerun-if-changed={PROTO}");

    let contract = protox::compile(["hello/v1/hello.proto"], [PROTO])?;
    tonic_prost_build::compile_fds(contract)?;
    println!("cargo:rerun-if-changed=src/registry/etcd.proto");
    // The server's half too: the tests play an etcd that has forgotten its past.
    let etcd = protox::compile(["src/registry/etcd.proto"], ["src/registry"])?;
    tonic_prost_build::compile_fds(etcd)?;
    Ok(())
}
// ANCHOR_END: main
