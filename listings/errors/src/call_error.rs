//! What a call to the registry can end with, as its client needs it.

use std::time::Duration;

use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::{
    details::detail,
    error::{DOMAIN, PERSON_NOT_FOUND},
    pb::SimilarNames,
};

// ANCHOR: call_error
/// Why a call has failed.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct CallError {
    /// For a program, which acts on it.
    pub kind: Kind,
    /// For the user in front of the screen.
    pub message: String,
    /// All that has come, for a log.
    #[source]
    pub status: Box<Status>,
}

/// What a program can act on.
#[derive(Clone, Debug)]
pub enum Kind {
    /// The registry knows nobody of that name, but people of these.
    NotFound { similar: Vec<String> },
    /// These fields cannot be taken.
    Invalid(Vec<FieldViolation>),
    /// Too many are asking. Ask again after this long.
    Busy { retry_after: Duration },
    /// The registry has failed. Its keepers know it under this number.
    Failed { number: String },
    /// Anything else, from the registry or from the way there.
    Other(Code),
}
// ANCHOR_END: call_error

// ANCHOR: from_status
impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        // Details that cannot be read are left out: the code is what counts.
        let details = status.get_error_details();
        let message = details.localized_message().map_or_else(
            || format!("{:?}: {}", status.code(), status.message()),
            |localized| localized.message.clone(),
        );
        Self {
            kind: kind(&status, &details).unwrap_or(Kind::Other(status.code())),
            message,
            status: Box::new(status),
        }
    }
}

/// None if there are not the details that make it more than a code.
fn kind(status: &Status, details: &ErrorDetails) -> Option<Kind> {
    Some(match status.code() {
        // A proxy may say `NOT_FOUND` as well, of something else.
        Code::NotFound if is(PERSON_NOT_FOUND, details) => Kind::NotFound {
            similar: detail::<SimilarNames>(status).unwrap_or_default().names,
        },
        Code::InvalidArgument => Kind::Invalid(details.bad_request()?.field_violations.clone()),
        Code::ResourceExhausted | Code::Unavailable => Kind::Busy {
            retry_after: details.retry_info()?.retry_delay?,
        },
        Code::Internal | Code::DataLoss => Kind::Failed {
            number: details.request_info()?.request_id.clone(),
        },
        _ => return None,
    })
}

/// Whether it is this reason, and of this service.
fn is(reason: &str, details: &ErrorDetails) -> bool {
    let info = details.error_info();
    info.is_some_and(|info| info.reason == reason && info.domain == DOMAIN)
}
// ANCHOR_END: from_status
