//! The authority, and its files.

use std::{fs, os::unix::fs::PermissionsExt};

use tempfile::TempDir;
use transport_security::authority::{Authority, MAX_DAYS};

use crate::{JACK, Pki, Result};

#[test]
fn an_authority_is_made_once_and_issues_anew_each_time() -> Result {
    let pki = Pki::new()?;
    let read = |name: &str| fs::read_to_string(pki.file(name));
    let all = [
        "ca.pem",
        "ca.key",
        "server.pem",
        "server.key",
        "client.pem",
        "client.key",
    ];
    let before: Vec<_> = all.map(read).into_iter().collect::<Result<_, _>>()?;
    pki.issue(30)?;
    for (name, before) in all.iter().zip(before) {
        let same = read(name)? == before;
        assert_eq!(same, name.starts_with("ca."), "{name}");
    }
    // Nothing is left of what was written beside them.
    let files = fs::read_dir(pki.path())?.count();
    assert_eq!(files, all.len() + 1);
    assert_eq!(read(".gitignore")?, "*\n");
    Ok(())
}

#[test]
fn keys_are_their_owner_s_alone() -> Result {
    let pki = Pki::new()?;
    pki.issue(30)?;
    for file in fs::read_dir(pki.path())? {
        let file = file?;
        let mode = file.metadata()?.permissions().mode() & 0o777;
        let name = file.file_name().to_string_lossy().into_owned();
        assert_eq!(mode == 0o600, name.ends_with(".key"), "{name}: {mode:o}");
    }
    Ok(())
}

#[test]
fn what_it_cannot_do_it_says() -> Result {
    let folder = TempDir::new()?;
    let authority = Authority::open(folder.path())?;
    let names = ["localhost".to_owned()];
    for days in [MAX_DAYS + 1, -MAX_DAYS - 1, i64::MAX, i64::MIN] {
        let error = authority.issue_server(&names, days).expect_err("too many");
        assert!(error.to_string().contains("at most"), "{error}");
    }
    assert!(authority.issue_server(&[], 30).is_err());
    assert!(
        authority
            .issue_server(&["李雷.example".to_owned()], 30)
            .is_err()
    );
    assert!(
        authority
            .issue_client("spiffe://example.org/李雷", 30)
            .is_err()
    );
    authority.issue_client(JACK, 30)?;

    fs::write(folder.path().join("ca.key"), "李雷")?;
    let error = Authority::open(folder.path()).err().ok_or("it is no key")?;
    assert!(error.to_string().contains("ca.key"), "{error:#}");
    fs::write(folder.path().join("file"), "")?;
    let error = Authority::open(&folder.path().join("file")).err();
    assert!(
        error
            .ok_or("it is no folder")?
            .to_string()
            .contains("cannot make")
    );
    Ok(())
}
