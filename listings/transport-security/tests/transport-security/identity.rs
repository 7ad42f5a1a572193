//! Who somebody is, by their certificate.

use std::{fs, time::Duration};

use rcgen::{CertificateParams, DnType, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use time::OffsetDateTime;
use tonic::{Code, Request};
use transport_security::{
    greeter::Greeter,
    identity::{Peer, identify, is_valid, peer},
    pb::{SayHelloRequest, greeter_service_server::GreeterService},
};

use x509_parser::time::ASN1Time;

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
        // What people call it is not a name of the certificate.
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

#[test]
fn a_certificate_is_valid_from_its_beginning_until_its_end() -> Result {
    let pki = Pki::new()?;
    let certificate = CertificateDer::from_pem_file(pki.file("client.pem"))?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate)?;
    let [from, until] = [parsed.validity().not_before, parsed.validity().not_after];
    for (time, valid) in [
        (from.timestamp() - 1, false),
        (from.timestamp(), true),
        (until.timestamp(), true),
        (until.timestamp() + 1, false),
    ] {
        let time = ASN1Time::from_timestamp(time)?;
        assert_eq!(is_valid(&certificate, time), valid, "{time}");
    }
    assert!(!is_valid(b"no certificate", ASN1Time::now()));
    Ok(())
}

/// The connection is the same as before.
#[tokio::test]
async fn a_certificate_that_expires_ends_the_calls_of_its_connection() -> Result {
    let pki = Pki::new()?;
    let (address, _tls) = greeter(pki.path()).await?;
    // On a slow machine it may have expired before the first call.
    let mut seconds = 2;
    let (channel, until) = loop {
        let until = OffsetDateTime::now_utc() + Duration::from_secs(seconds);
        issue(&pki, |params| {
            params.subject_alt_names = vec![uri(JACK)];
            params.not_after = until;
        })?;
        let channel = connect(address, &pki.files()).await?;
        if hello(channel.clone()).await.is_ok() {
            break (channel, until);
        }
        seconds *= 2;
    };
    // Its last second counts as a whole.
    let left = Duration::try_from(until - OffsetDateTime::now_utc()).unwrap_or_default();
    tokio::time::sleep(left + Duration::from_secs(1)).await;
    let status = hello(channel).await.expect_err("it has expired");
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert!(status.message().contains("has expired"), "{status}");
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
