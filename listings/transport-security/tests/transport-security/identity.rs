//! Who somebody is, by their certificate.

use std::fs;

use rcgen::{CertificateParams, DnType, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tonic::{Code, Request};
use transport_security::{
    greeter::Greeter,
    identity::{Peer, identify, peer},
    pb::{SayHelloRequest, greeter_service_server::GreeterService},
};

use crate::{JACK, Pki, Result, connect, greeter, hello};

/// Puts a certificate of the authority's into the client's place.
fn issue(pki: &Pki, change: impl FnOnce(&mut CertificateParams)) -> Result {
    let key = KeyPair::from_pem(&fs::read_to_string(pki.file("ca.key"))?)?;
    let issuer = Issuer::from_ca_cert_pem(&fs::read_to_string(pki.file("ca.pem"))?, key)?;
    let mut params = CertificateParams::default();
    change(&mut params);
    let key = KeyPair::generate()?;
    fs::write(
        pki.file("client.pem"),
        params.signed_by(&key, &issuer)?.pem(),
    )?;
    Ok(fs::write(pki.file("client.key"), key.serialize_pem())?)
}

fn uri(uri: &str) -> SanType {
    SanType::URI(uri.try_into().expect("it is ASCII"))
}

#[tokio::test]
async fn a_certificate_that_names_nobody_of_ours_opens_nothing() -> Result {
    let pki = Pki::new()?;
    let (address, _tls) = greeter(pki.path()).await?;
    let bad: [&dyn Fn(&mut CertificateParams); 6] = [
        &|_| {},
        // What people call it is no name.
        &|params| params.distinguished_name.push(DnType::CommonName, "jack"),
        &|params| params.subject_alt_names = vec![uri("spiffe://example.com/jack")],
        &|params| params.subject_alt_names = vec![uri("spiffe://example.org/")],
        &|params| params.subject_alt_names = vec![uri(JACK), uri("spiffe://example.org/mike")],
        &|params| {
            let name = JACK.try_into().expect("it is ASCII");
            params.subject_alt_names = vec![SanType::DnsName(name)];
        },
    ];
    for change in bad {
        issue(&pki, change)?;
        let status = hello(connect(address, &pki.files()).await?).await;
        let status = status.expect_err("it names nobody");
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
        assert!(status.message().contains("names nobody"), "{status}");
    }
    // Beside a URI there may be other names.
    issue(&pki, |params| {
        let name = "laptop.example.org".try_into().expect("it is ASCII");
        params.subject_alt_names = vec![SanType::DnsName(name), uri(JACK)];
    })?;
    hello(connect(address, &pki.files()).await?).await?;
    Ok(())
}

#[test]
fn bytes_that_are_no_certificate_name_nobody() -> Result {
    let pki = Pki::new()?;
    let certificate = CertificateDer::from_pem_file(pki.file("client.pem"))?;
    assert_eq!(peer(&certificate), Some(Peer("jack".into())));
    for length in 0..certificate.len() {
        assert_eq!(peer(&certificate[..length]), None);
    }
    Ok(())
}

/// Without TLS, and without the interceptor.
#[tokio::test]
async fn nobody_is_let_in_by_default() {
    let status = identify(Request::new(())).expect_err("who is it?");
    assert_eq!(status.code(), Code::Unauthenticated);
    let name = "李雷".to_owned();
    let status = Greeter
        .say_hello(Request::new(SayHelloRequest { name }))
        .await;
    assert_eq!(status.expect_err("who is it?").code(), Code::Internal);
}

#[tokio::test]
async fn a_name_that_cannot_be_greeted_is_refused() {
    for name in ["", " ", &"雷".repeat(65)] {
        let name = name.to_owned();
        let mut request = Request::new(SayHelloRequest { name });
        request.extensions_mut().insert(Peer("jack".into()));
        let status = Greeter.say_hello(request).await.expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument);
    }
}
