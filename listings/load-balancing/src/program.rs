//! What the programs of this crate have in common.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Logs what this crate has to say, to the standard output.
pub fn log() {
    let ours = Targets::new().with_target("load_balancing", LevelFilter::INFO);
    // Whatever collects the lines adds the time: journald, or a container's runtime.
    let lines = tracing_subscriber::fmt::layer()
        .without_time()
        .with_target(false);
    tracing_subscriber::registry().with(lines).with(ours).init();
}

/// Resolves at Ctrl-C, or when the system asks the process to end.
///
/// The call itself installs the handlers, and not the first poll of what it
/// returns: a signal that came in between would kill the process.
///
/// # Errors
///
/// Fails if the system refuses the handlers.
pub fn shutdown() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
