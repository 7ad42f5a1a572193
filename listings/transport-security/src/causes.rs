//! Why a connection could not be made: all that is known, down to TLS.

use std::{error::Error, io, iter};

use rustls::{AlertDescription, CertificateError};

// ANCHOR: causes
/// An error, what caused it, what caused that, and so on.
pub fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| {
        // An `io::Error` that was made from another error prints that error, but it
        // does not call it its source: it leaves one out.
        let inner = error.downcast_ref().and_then(io::Error::get_ref);
        inner.map_or_else(|| error.source(), |inner| Some(inner))
    })
}
// ANCHOR_END: causes

// ANCHOR: advice
/// What to do about it, if TLS is what failed.
pub fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let tls = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>())?;
    advice_on(tls)
}

fn advice_on(error: &rustls::Error) -> Option<&'static str> {
    use AlertDescription as Alert;
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage};
    Some(match error {
        InvalidCertificate(CertificateError::UnknownIssuer) => {
            "another authority has issued the server's certificate: is this the right ca.pem?"
        }
        InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the server has a certificate for another name: call it by a name that is in there",
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the server's certificate has expired: its keepers have to renew it"
        }
        AlertReceived(Alert::CertificateRequired) => {
            "the server wants to know who you are: name a certificate and its key"
        }
        AlertReceived(Alert::UnknownCA) => {
            "the server does not know the authority of your certificate: ask its keepers for one"
        }
        AlertReceived(Alert::CertificateExpired) => "your certificate has expired: renew it",
        AlertReceived(
            Alert::BadCertificate | Alert::CertificateUnknown | Alert::UnsupportedCertificate,
        ) => "the server does not accept your certificate: its log says why",
        InvalidMessage(_) => "that is no TLS: is it the right port?",
        _ => return defect(error),
    })
}
// ANCHOR_END: advice

/// What is wrong with a certificate that was not issued as TLS needs it.
pub fn defect(error: &rustls::Error) -> Option<&'static str> {
    let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error else {
        return None;
    };
    // The error is of the crate `webpki`, which rustls does not export.
    match other.0.to_string().as_str() {
        "CaUsedAsEndEntity" => Some(
            "the certificate is an authority's own, which no server or client may show: \
             issue another one with it",
        ),
        "EndEntityUsedAsCa" => Some("one certificate was issued with another that may not issue"),
        "UnsupportedCertVersion" => {
            Some("the certificate is not of X.509 version 3: issue it again")
        }
        _ => None,
    }
}
