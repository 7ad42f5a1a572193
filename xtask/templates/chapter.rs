//! The chapter `SLUG`, as its reader runs it: real programs, real sockets.

use harness::{Listing, Result};

#[test]
fn the_client_gets_its_greeting() -> Result {
    let listing = Listing::build("SLUG")?;
    let server = listing.server("SLUG-server")?;
    let client = listing.run("SLUG-client", [&server.uri(), "世界"])?;
    assert_eq!((client.output.as_str(), client.code), ("Hello, 世界!\n", 0));
    assert_eq!(server.stop()?.code, 0);
    Ok(())
}
