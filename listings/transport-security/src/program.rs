//! What the programs of this crate have in common.

use std::{convert::Infallible, io};

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::tls::Tls;

/// Logs what this crate has to say, to the standard output.
pub fn log() {
    let ours = Targets::new().with_target("transport_security", LevelFilter::INFO);
    // Whatever collects the lines adds the time: journald, or a container's runtime.
    let lines = tracing_subscriber::fmt::layer()
        .without_time()
        .with_target(false);
    tracing_subscriber::registry().with(lines).with(ours).init();
}

// ANCHOR: reloading
/// Reloads `tls` at each SIGHUP. What it returns has to be polled, and never ends.
///
/// # Errors
///
/// Fails if the system refuses the handler, which the call itself installs: without
/// one, the signal would end the process.
pub fn reloading(mut tls: Tls) -> io::Result<impl Future<Output = Infallible>> {
    let mut hangup = signal(SignalKind::hangup())?;
    tracing::info!(
        pid = std::process::id(),
        "SIGHUP reads the certificate again"
    );
    Ok(async move {
        loop {
            if hangup.recv().await.is_none() {
                std::future::pending().await
            }
            if let Err(error) = tls.reload().await {
                let error = format!("{error:#}");
                tracing::error!(error, "the old certificate stays");
            }
        }
    })
}
// ANCHOR_END: reloading
