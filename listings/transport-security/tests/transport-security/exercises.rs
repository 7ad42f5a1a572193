//! The exercises of the chapter. Each test passes because it is expected to
//! panic: remove that line, and the test fails until the exercise is solved.

use std::fs;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use tempfile::TempDir;
use transport_security::{authority::Authority, identity::peer, tls::Tls};

#[test]
#[should_panic(expected = "a name of two parts is not looked at")]
fn exercise_1_a_name_is_one_word() {
    let folder = TempDir::new().expect("there is room");
    let authority = Authority::open(folder.path()).expect("it is made");
    for (name, good) in [("jack", true), ("jack/", false), ("mike/jack", false)] {
        let uri = format!("spiffe://example.org/{name}");
        authority.issue_client(&uri, 30).expect("it is issued");
        let file = folder.path().join("client.pem");
        let certificate = CertificateDer::from_pem_file(file).expect("it is one");
        let known = peer(&certificate).is_some();
        assert_eq!(known, good, "a name of two parts is not looked at");
    }
}

#[tokio::test]
#[should_panic(expected = "an older certificate takes the place of a newer one")]
async fn exercise_2_a_backup_that_is_put_back_is_not_taken() {
    let folder = TempDir::new().expect("there is room");
    let file = |name: &str| folder.path().join(name);
    let authority = Authority::open(folder.path()).expect("it is made");
    let issue = |days| {
        let names = ["localhost".to_owned()];
        authority.issue_server(&names, days).expect("it is issued");
    };
    issue(10);
    let backup = ["server.pem", "server.key"].map(|name| (name, fs::read(file(name))));
    issue(30);
    let mut tls = Tls::open(folder.path()).await.expect("it is good");
    for (name, bytes) in backup {
        fs::write(file(name), bytes.expect("it was read")).expect("there is room");
    }
    let reloaded = tls.reload().await;
    assert!(
        reloaded.is_err(),
        "an older certificate takes the place of a newer one"
    );
    // A newer one is taken.
    issue(60);
    tls.reload().await.expect("it is newer");
}
