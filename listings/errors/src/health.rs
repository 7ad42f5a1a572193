//! Reporting a shutdown to the clients that ask for the server's health.

use std::time::Duration;

use tokio::time;
use tonic::server::NamedService;
use tonic_health::{ServingStatus, server::HealthReporter};

/// Reports `NOT_SERVING` for the service `S`, and ends every watch after `farewell`.
///
/// The server as a whole, whose name is the empty string, no longer serves either:
/// Kubernetes and `grpc_health_probe` ask for that name unless they are told
/// another. `farewell` is the time in which clients notice, and go elsewhere. The
/// watches have to end because the server waits for them as for any other call.
pub async fn report_shutdown<S: NamedService>(mut reporter: HealthReporter, farewell: Duration) {
    let names = ["", S::NAME];
    for name in names {
        let leaving = ServingStatus::NotServing;
        reporter.set_service_status(name, leaving).await;
    }
    time::sleep(farewell).await;
    for name in names {
        reporter.clear_service_status(name).await;
    }
}
