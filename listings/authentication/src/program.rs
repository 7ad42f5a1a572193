//! What the programs of this crate have in common.

use anyhow::Context;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Logs what is worth `level`, to the standard output.
///
/// # Errors
///
/// Fails if `level` is none.
pub fn log(level: &str) -> anyhow::Result<()> {
    let level: LevelFilter = level
        .parse()
        .with_context(|| format!("{level:?} is no level: say info or debug"))?;
    // At TRACE also what the libraries say, which is a lot.
    let ours = match level {
        LevelFilter::TRACE => Targets::new().with_default(level),
        _ => Targets::new()
            .with_target("authentication", level)
            // The issuer's server logs here that it cannot accept connections.
            .with_target("axum::serve", LevelFilter::ERROR),
    };
    // Whatever collects the lines adds the time: journald, or a container's runtime.
    let lines = tracing_subscriber::fmt::layer()
        .without_time()
        .with_target(false);
    tracing_subscriber::registry().with(lines).with(ours).init();
    Ok(())
}
