//! The chapter `conformance`, as its reader runs it.

use anyhow::ensure;
use conformance::cases::CASES;
use harness::{Listing, Result};

#[harness::test]
fn client_and_server_pass_every_case() -> Result {
    let listing = Listing::build("conformance")?;
    let server = listing.server("conformance-server")?;
    for case in CASES {
        let output = listing.run("conformance-client", [case, &server.uri()])?;
        assert_eq!((output.code, output.text), (0, format!("{case} passes\n")));
    }
    assert_eq!(server.stop()?.code, 0);
    Ok(())
}

#[harness::test]
fn invalid_arguments_are_reported() -> Result {
    let listing = Listing::build("conformance")?;
    for (arguments, message) in [
        (&[][..], "say which case"),
        (&["empty_unary", "nowhere"], "cannot reach nowhere"),
    ] {
        let output = listing.run("conformance-client", arguments)?;
        ensure!(
            output.code == 1 && output.text.contains(message),
            "{}",
            output.text
        );
    }
    Ok(())
}
