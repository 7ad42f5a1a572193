//! The chapter `manual-service`, as its reader runs it.

use anyhow::ensure;
use harness::{Listing, Result};

/// Hello World has the same method in a service with another name.
#[harness::test]
fn call_to_another_service_is_unimplemented() -> Result {
    let server = Listing::build("manual-service")?.server("manual-service-server")?;
    let output = Listing::build("hello-world")?.run("hello-world-client", [server.uri()])?;
    assert_eq!(output.code, 1);
    ensure!(output.text.contains("not implemented"), "{}", output.text);
    assert_eq!(server.stop()?.code, 0);
    Ok(())
}

#[harness::test]
fn non_ascii_name_is_greeted() -> Result {
    let listing = Listing::build("manual-service")?;
    let server = listing.server("manual-service-server")?;
    let output = listing.run("manual-service-client", [&server.uri(), "世界"])?;
    assert_eq!((output.code, output.text.as_str()), (0, "Hello, 世界!\n"));
    Ok(())
}
