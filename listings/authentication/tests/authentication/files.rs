//! What is on the disk, and who may read it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use authentication::{certificates, secrets};

use crate::support::Result;

fn mode(path: &Path) -> std::io::Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o777)
}

#[test]
fn keys_and_secrets_are_their_owner_s_alone() -> Result {
    let parent = tempfile::tempdir()?;
    let folder = parent.path().join("secrets");
    certificates::make(&folder)?;
    secrets::read_or_make(&folder.join("teller.secret"))?;
    assert_eq!(mode(&folder)?, 0o700);
    for file in ["server.key", "teller.secret"] {
        assert_eq!(mode(&folder.join(file))?, 0o600, "{file}");
    }
    // Also when one was there that was not.
    let key = folder.join("server.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644))?;
    certificates::make(&folder)?;
    assert_eq!(mode(&key)?, 0o600);
    Ok(())
}

#[test]
fn a_secret_is_made_once_and_git_passes_over_it() -> Result {
    let parent = tempfile::tempdir()?;
    let folder = parent.path().join("geheim-秘密");
    secrets::folder(&folder)?;
    let file = folder.join("jack.password");
    let made = secrets::read_or_make(&file)?;
    assert_eq!(made.len(), 43);
    assert_eq!(secrets::read_or_make(&file)?, made);
    assert_ne!(secrets::read_or_make(&folder.join("other"))?, made);
    assert_eq!(fs::read_to_string(folder.join(".gitignore"))?, "*\n");
    Ok(())
}

/// The key of the authority is nowhere.
#[test]
fn there_is_one_key_and_it_is_the_server_s() -> Result {
    let folder = tempfile::tempdir()?;
    certificates::make(folder.path())?;
    let mut keys = 0;
    for file in fs::read_dir(folder.path())? {
        let text = fs::read_to_string(file?.path())?;
        keys += text.matches("BEGIN PRIVATE KEY").count();
    }
    assert_eq!(keys, 1);
    Ok(())
}
