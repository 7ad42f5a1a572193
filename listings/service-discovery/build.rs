//! Generates the Rust code of the contracts, without protoc.

/// Where the contracts are.
const PROTO: &str = "../../proto";

/// Where the one is that etcd is called by.
const ETCD: &str = "src/registry";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo watches the package's own folder only: without this line a change
    // to a contract outside it would go unnoticed.
    println!("cargo:rerun-if-changed={PROTO}");
    println!("cargo:rerun-if-changed={ETCD}/etcd.proto");

    let contract = protox::compile(["hello/v1/hello.proto"], [PROTO])?;
    tonic_prost_build::compile_fds(contract)?;
    // The server's half too: the tests play an etcd that has forgotten its past.
    let etcd = protox::compile(["etcd.proto"], [ETCD])?;
    tonic_prost_build::compile_fds(etcd)?;
    Ok(())
}
