//! Stopping a server: on which signal, and how long it may take.

use std::{io, pin::Pin, process, thread, time::Duration};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use tokio::{sync::oneshot, time};

/// What a process reports to its shell when it ends without finishing: 128, and
/// SIGINT's number.
const INTERRUPTED: i32 = 130;

/// How long the process may take to end once its server has stopped.
const GRACE: Duration = Duration::from_secs(1);

/// Resolves at Ctrl-C, or when the system asks the process to end.
///
/// After that the process ends at once if a second signal comes, or if it still
/// runs a second after `limit`. `limit` is how long the server may take to stop: what
/// [`drain`] is given, and whatever `main` does before it drains.
///
/// The call itself installs the handlers. If the first poll of the future did
/// it, as with `tokio::signal::ctrl_c`, a signal that came before it would kill
/// the process.
///
/// # Errors
///
/// Fails if the system refuses the handlers.
pub fn signals(limit: Duration) -> io::Result<impl Future<Output = ()>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (first, shutdown) = oneshot::channel();
    // A thread, because tokio looks at signals and timers between two tasks, and
    // clients that flood the server can keep its threads busy for seconds.
    thread::spawn(move || {
        let mut signals = signals.forever();
        signals.next();
        first.send(()).ok();
        thread::spawn(move || {
            thread::sleep(limit + GRACE);
            tracing::error!(?limit, "exiting: the process still runs after its drain");
            process::exit(INTERRUPTED);
        });
        signals.next();
        process::exit(INTERRUPTED);
    });
    Ok(async {
        shutdown.await.ok();
    })
}

/// Tells a server when to stop.
pub type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs the server that `serve` starts. When `shutdown` resolves, the server is
/// told to stop, and its open calls have `limit` to end.
///
/// The limit is necessary because tonic has none: it waits until each connection
/// is closed, and one whose client has stalled never is. Connections that are open
/// after `limit` close when the process, or its runtime, ends.
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
