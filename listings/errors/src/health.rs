//! Reporting a shutdown to the clients that ask for the server's health.

use std::time::Duration;

use tokio::time;
use tonic::server::NamedService;
use tonic_health::{ServingStatus, server::HealthReporter};

const NOT_SERVING: ServingStatus = ServingStatus::NotServing;

/// How long a watch stays open after the server was told to stop.
const LINGER: Duration = Duration::from_millis(100);

/// Reports `NOT_SERVING` for the service `S`, returns after `farewell`, and ends
/// every watch soon after that.
///
/// The server as a whole, whose name is the empty string, no longer serves either:
/// Kubernetes and `grpc_health_probe` ask for that name unless they are told
/// another. `farewell` is the time in which clients notice, and go elsewhere. The
/// watches have to end because the server waits for them as for any other call.
pub async fn report_shutdown<S: NamedService>(mut reporter: HealthReporter, farewell: Duration) {
    let names = ["", S::NAME];
    for name in names {
        reporter.set_service_status(name, NOT_SERVING).await;
    }
    time::sleep(farewell).await;
    tokio::spawn(async move {
        // A client whose watch ends asks again at once. By now the server has told
        // it to use another connection.
        time::sleep(LINGER).await;
        for name in names {
            // Removing a name is the only way to end its watches. It is set again
            // for checks that are still on their way: an unknown name is NOT_FOUND.
            reporter.clear_service_status(name).await;
            reporter.set_service_status(name, NOT_SERVING).await;
        }
    });
}
