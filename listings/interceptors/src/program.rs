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
    // Our own lines: at DEBUG the transport has many of its own.
    let ours = Targets::new()
        .with_target("interceptors", level)
        .with_target("tower_http", level);
    // Whatever collects the lines adds the time: journald, or a container's runtime.
    let lines = tracing_subscriber::fmt::layer()
        .without_time()
        .with_target(false);
    tracing_subscriber::registry().with(lines).with(ours).init();
    Ok(())
}
