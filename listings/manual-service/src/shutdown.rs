//! Stopping a server: on which signal, and how long it may take.

use std::{io, pin::Pin, process, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time,
};

/// What a process that Ctrl-C ended reports to its shell: 128, and SIGINT's number.
const INTERRUPTED: i32 = 130;

/// Resolves at Ctrl-C, or when the system asks the process to end. A second
/// signal ends the process at once.
///
/// The call itself installs the handlers. If the first poll of the future did
/// it, as with `tokio::signal::ctrl_c`, a signal that came before it would kill
/// the process.
///
/// # Errors
///
/// Fails if the system refuses the handlers.
pub fn signals() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut next = async move || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    Ok(async move {
        next().await;
        // tokio never removes a handler, so without this task a second Ctrl-C
        // would have no effect.
        tokio::spawn(async move {
            next().await;
            process::exit(INTERRUPTED);
        });
    })
}

/// Tells a server when to stop.
pub type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs the server that `serve` starts. When `shutdown` resolves, the server is
/// told to stop, and its open calls have `limit` to end.
///
/// The limit is necessary because tonic has none: it waits until each client has
/// closed its connection, and a client that has stalled never does. Connections
/// that are open after `limit` close when the process, or its runtime, ends.
///
/// # Errors
///
/// Fails if the server does.
pub async fn drain<S, E>(
    shutdown: impl Future<Output = ()>,
    limit: Duration,
    serve: impl FnOnce(Stop) -> S,
) -> Result<(), E>
where
    S: Future<Output = Result<(), E>>,
{
    let (stop, stopped) = oneshot::channel::<()>();
    let server = serve(Box::pin(async {
        stopped.await.ok();
    }));
    let expired = async {
        shutdown.await;
        // This fails only if the server has ended.
        stop.send(()).ok();
        time::sleep(limit).await;
    };
    tokio::select! {
        result = server => result,
        () = expired => {
            tracing::warn!(?limit, "closing connections that are still open");
            Ok(())
        }
    }
}
