//! What is checked of the server's own certificates before they are used.

use std::fs;

use futures_util::{StreamExt, stream};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use time::{Duration, OffsetDateTime};
use tokio::net::TcpListener;
use transport_security::{
    accept::accepted,
    causes::{advice, causes},
    connect::Files,
    tls::Tls,
};

use crate::{Log, Pki, Result, connect, greeter, hello};

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// How a certificate differs from a good one.
type Change = fn(&mut CertificateParams);

fn params(name: &str, change: Change) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::DAY, now + Duration::DAY);
    change(&mut params);
    Ok(params)
}

fn authority(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

fn root(name: &str, change: Change) -> Result<Issuer> {
    let mut params = params(name, authority)?;
    change(&mut params);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// Between the root and the server.
fn intermediate(root: &Issuer, change: Change) -> Result<Issuer> {
    let mut params = params("intermediate", authority)?;
    change(&mut params);
    Ok(CertifiedIssuer::signed_by(
        params,
        KeyPair::generate()?,
        root,
    )?)
}

/// A server's certificate, and its key, in PEM.
fn leaf(issuer: &Issuer, change: Change) -> Result<[String; 2]> {
    let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let now = OffsetDateTime::now_utc();
    // It outlives the certificate that it replaces, as a renewed one does.
    (params.not_before, params.not_after) = (now - Duration::DAY, now + Duration::DAY * 60);
    change(&mut params);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?.pem();
    Ok([certificate, key.serialize_pem()])
}

fn expired(params: &mut CertificateParams) {
    params.not_after = OffsetDateTime::now_utc() - Duration::HOUR;
}

fn for_clients(params: &mut CertificateParams) {
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
}

/// Makes these the files of a server, whose clients stay those of `pki`.
fn write(pki: &Pki, own_ca: &str, root: &Issuer, chain: &[&str], key: &str) -> Result {
    fs::write(pki.file("ca.pem"), own_ca.to_owned() + &root.pem())?;
    fs::write(pki.file("server.pem"), chain.concat())?;
    Ok(fs::write(pki.file("server.key"), key)?)
}

#[tokio::test]
async fn a_chain_that_no_client_accepts_is_not_taken() -> Result {
    let pki = Pki::new()?;
    let (address, mut tls) = greeter(pki.path()).await?;
    let own_ca = fs::read_to_string(pki.file("ca.pem"))?;
    let (root, other) = (root("root", |_| {})?, root("other", |_| {})?);
    let good = intermediate(&root, |_| {})?;

    // It is taken if nothing is wrong with it, and clients find it good.
    let [server, key] = leaf(&good, |_| {})?;
    write(&pki, &own_ca, &root, &[&server, &good.pem()], &key)?;
    tls.reload().await?;
    hello(connect(address, &pki.files()).await?).await?;

    let issuers: [(&str, &Issuer, Change); 3] = [
        (
            "certificate 2 in server.pem is not valid now",
            &root,
            expired,
        ),
        ("serverAuth", &root, for_clients),
        ("is an intermediate certificate missing?", &other, |_| {}),
    ];
    for (says, issuer, change) in issuers {
        let issuer = intermediate(issuer, change)?;
        let [server, key] = leaf(&issuer, |_| {})?;
        write(&pki, &own_ca, &root, &[&server, &issuer.pem()], &key)?;
        let error = format!("{:#}", tls.reload().await.expect_err(says));
        assert!(error.contains(says), "{error}");
    }

    let leaves: [(&str, Change); 6] = [
        ("certificate 1 in server.pem is not valid now", expired),
        (
            "certificate 1 in server.pem is not valid now",
            |params: &mut CertificateParams| {
                params.not_before = OffsetDateTime::now_utc() + Duration::HOUR;
            },
        ),
        ("serverAuth", for_clients),
        ("authority's own", authority),
        ("is for no name", |params| params.subject_alt_names.clear()),
        ("is for no name", |params| {
            let uri = crate::JACK.try_into().expect("it is ASCII");
            params.subject_alt_names = vec![rcgen::SanType::URI(uri)];
        }),
    ];
    for (says, change) in leaves {
        let [server, key] = leaf(&good, change)?;
        write(&pki, &own_ca, &root, &[&server, &good.pem()], &key)?;
        let error = format!("{:#}", tls.reload().await.expect_err(says));
        assert!(error.contains(says), "{error}");
    }

    let [server, key] = leaf(&good, |_| {})?;
    let unrelated = leaf(&good, |_| {})?;
    for (says, chain) in [
        (
            "is an intermediate certificate missing?",
            vec![server.as_str()],
        ),
        ("intermediate certificate", vec![&server, &unrelated[0]]),
        ("are no pair", vec![&unrelated[0], &good.pem()]),
    ] {
        write(&pki, &own_ca, &root, &chain, &key)?;
        let error = format!("{:#}", tls.reload().await.expect_err(says));
        assert!(error.contains(says), "{error}");
    }
    // All the while the first one was in use.
    hello(connect(address, &pki.files()).await?).await?;
    Ok(())
}

/// The file may hold an authority that has expired, beside its successor.
#[tokio::test]
async fn an_authority_that_has_expired_counts_no_longer() -> Result {
    let pki = Pki::new()?;
    let own_ca = fs::read_to_string(pki.file("ca.pem"))?;
    let [server, key] = ["server.pem", "server.key"].map(|name| fs::read_to_string(pki.file(name)));
    let old = root("old", expired)?;
    let log = Log::begins();
    // The server's own authority is still good.
    write(&pki, &own_ca, &old, &[&server?], &key?)?;
    Tls::open(pki.path()).await?;
    // And then it is not.
    let [server, key] = leaf(&old, |_| {})?;
    write(&pki, &own_ca, &old, &[&server], &key)?;
    let error = Tls::open(pki.path()).await.err().ok_or("it is taken")?;
    let error = format!("{error:#}");
    assert!(error.contains("a valid authority in ca.pem"), "{error}");
    let warning = "certificate 2 in ca.pem is not valid now";
    assert_eq!(log.ends().matches(warning).count(), 2);
    Ok(())
}

/// `openssl x509 -req` makes one, unless it is told to add an extension.
#[tokio::test]
async fn a_certificate_of_version_1_is_named_as_such() -> Result {
    let pki = Pki::new()?;
    fs::write(pki.file("server.pem"), include_str!("version-1.pem"))?;
    let error = Tls::open(pki.path()).await.err().ok_or("it is taken")?;
    let error = format!("{error:#}");
    assert!(error.contains("is of X.509 version 1"), "{error}");
    assert!(!error.contains("pair"), "{error}");
    Ok(())
}

/// What many guides make with one command.
#[tokio::test]
async fn one_certificate_is_not_both_authority_and_server() -> Result {
    let pki = Pki::new()?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()])?;
    authority(&mut params);
    let both = params.self_signed(&key)?.pem();
    fs::write(pki.file("ca.pem"), &both)?;
    fs::write(pki.file("server.pem"), &both)?;
    fs::write(pki.file("server.key"), key.serialize_pem())?;
    let error = Tls::open(pki.path()).await.err().ok_or("it is taken")?;
    let error = format!("{error:#}");
    assert!(error.contains("authority's own"), "{error}");

    // A client that shows it is told to look into the server's log, which explains it.
    let (log, trusting) = (Log::begins(), Pki::new()?);
    let own_ca = fs::read_to_string(trusting.file("ca.pem"))?;
    fs::write(trusting.file("ca.pem"), own_ca + &both)?;
    let tls = Tls::open(trusting.path()).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("https://{}", listener.local_addr()?).parse()?;
    let files = Files {
        identity: Some((pki.file("server.pem"), pki.file("server.key"))),
        ..trusting.files()
    };
    let accepting = async {
        let connection = listener.accept().await.map(|(connection, _)| connection);
        let connections = stream::iter([connection]);
        accepted(connections, tls.config()).count().await
    };
    let (error, let_in) = tokio::join!(files.check(&uri), accepting);
    assert_eq!(let_in, 0);
    let error = error.err().ok_or("it is let in")?;
    let advice_on_alert = advice(error.as_ref()).ok_or("no advice")?;
    assert!(advice_on_alert.ends_with("its log says why"), "{error:?}");
    let log = log.ends();
    assert!(
        log.contains("problem=\"the certificate is an authority's own"),
        "{log}"
    );

    // A client of a server that did not look is told the same.
    let address = crate::refused::careless(pki.path()).await?;
    let error = connect(address, &pki.files()).await;
    let error = error.err().ok_or("it is trusted")?;
    let last = causes(error.as_ref()).last().map(ToString::to_string);
    let last = last.ok_or("no cause")?;
    assert!(last.contains("CaUsedAsEndEntity"), "{last}");
    let advice = advice(error.as_ref()).ok_or("no advice")?;
    assert!(advice.contains("authority's own"), "{advice}");
    Ok(())
}
