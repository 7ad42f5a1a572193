// TEMPLATE: `cargo xtask new` copies this file, with the new slug for `hello-world`.
//! The chapter `hello-world`, as its reader runs it.

use harness::{Result, start_server};

#[harness::test]
fn client_prints_the_greeting() -> Result {
    let (listing, server) = start_server("hello-world")?;
    let client = listing.run("hello-world-client", [&server.uri(), "世界"])?;
    assert_eq!((client.text.as_str(), client.code), ("Hello, 世界!\n", 0));
    assert_eq!(server.stop()?.code, 0);
    Ok(())
}
