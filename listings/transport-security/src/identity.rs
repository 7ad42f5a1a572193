//! Who calls: the name in the client's certificate.

use std::sync::Arc;

use tonic::{Request, Status};
use x509_parser::{extensions::GeneralName, prelude::X509Certificate, time::ASN1Time};

/// How the names of our clients begin, after the specification SPIFFE: the URI of a
/// trust domain, and who it is in there.
pub const TRUST_DOMAIN: &str = "spiffe://example.org/";

// ANCHOR: identify
/// Who makes a call, for its handler to find in the request's extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer(pub Arc<str>);

/// An interceptor: lets a call pass once it knows whose it is.
///
/// # Errors
///
/// `UNAUTHENTICATED` if the certificate does not say. That it is genuine was checked in
/// the handshake. That it was valid then as well, but the connection may have been open
/// for months since, so each call looks at the time again.
pub fn identify(mut request: Request<()>) -> Result<Request<()>, Status> {
    let certificates = request.peer_certs().unwrap_or_default();
    let now = ASN1Time::now();
    if !certificates.iter().all(|shown| is_valid(shown, now)) {
        return Err(Status::unauthenticated(
            "your certificate, or one that you sent with it, has expired: connect with a new one",
        ));
    }
    let peer = certificates
        .first()
        .and_then(|certificate| peer(certificate))
        .ok_or_else(|| {
            Status::unauthenticated(format!("your certificate names nobody of {TRUST_DOMAIN}"))
        })?;
    request.extensions_mut().insert(peer);
    Ok(request)
}
// ANCHOR_END: identify

/// Whether a certificate in DER is valid at `time`.
pub fn is_valid(certificate: &[u8], time: ASN1Time) -> bool {
    x509_parser::parse_x509_certificate(certificate)
        .is_ok_and(|(_, certificate)| certificate.validity().is_valid_at(time))
}

// ANCHOR: peer
/// The identity that a certificate names, in DER. It has exactly one URI among its alternative
/// names, as SPIFFE wants it: of two, it would be up to us which one to believe.
pub fn peer(certificate: &[u8]) -> Option<Peer> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let mut uris = uris(&certificate)?.into_iter();
    let (uri, None) = (uris.next()?, uris.next()) else {
        return None;
    };
    let name = uri.strip_prefix(TRUST_DOMAIN)?;
    (!name.is_empty()).then(|| Peer(name.into()))
}

fn uris<'a>(certificate: &'a X509Certificate) -> Option<Vec<&'a str>> {
    let names = certificate.subject_alternative_name().ok()??;
    let uris = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
    Some(uris.collect())
}
// ANCHOR_END: peer
