//! The chapter `manual-service`, as its reader runs it.

use anyhow::ensure;
use harness::{Listing, Result};

/// The same method of a service with another name.
#[test]
fn a_client_of_another_service_is_told_so() -> Result {
    let server = Listing::build("manual-service")?.server("manual-service-server")?;
    let end = Listing::build("hello-world")?.run("hello-world-client", [server.uri()])?;
    assert_eq!(end.code, 1);
    ensure!(end.output.contains("not implemented"), "{}", end.output);
    assert_eq!(server.stop()?.code, 0);
    Ok(())
}

#[test]
fn names_in_any_script_are_greeted() -> Result {
    let listing = Listing::build("manual-service")?;
    let server = listing.server("manual-service-server")?;
    let end = listing.run("manual-service-client", [&server.uri(), "世界"])?;
    assert_eq!((end.code, end.output.as_str()), (0, "Hello, 世界!\n"));
    Ok(())
}
