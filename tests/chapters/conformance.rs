//! The chapter `conformance`, as its reader runs it.

use anyhow::ensure;
use conformance::cases::CASES;
use harness::{Listing, Result};

#[test]
fn the_programs_pass_each_case() -> Result {
    let listing = Listing::build("conformance")?;
    let server = listing.server("conformance-server")?;
    for case in CASES {
        let end = listing.run("conformance-client", [case, &server.uri()])?;
        assert_eq!((end.code, end.output), (0, format!("{case} passes\n")));
    }
    assert_eq!(server.stop()?.code, 0);
    Ok(())
}

#[test]
fn the_client_says_what_it_takes() -> Result {
    let listing = Listing::build("conformance")?;
    for (arguments, says) in [
        (&[][..], "say which case"),
        (&["empty_unary", "nowhere"], "cannot reach nowhere"),
    ] {
        let end = listing.run("conformance-client", arguments)?;
        ensure!(end.code == 1 && end.output.contains(says), "{}", end.output);
    }
    Ok(())
}
