//! What can go wrong in the registry, and what its callers are told of it.

use std::{io, path::PathBuf, time::Duration};

use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};
use uuid::Uuid;

use crate::{details::with_detail, language::Language, pb::SimilarNames};

/// Whose reasons these are. Two services may have reasons of one name.
pub const DOMAIN: &str = "registry.example.com";

/// The reason of [`Error::NotFound`].
pub const PERSON_NOT_FOUND: &str = "PERSON_NOT_FOUND";

// ANCHOR: error
/// What can go wrong in the registry: nothing in here knows of gRPC.
#[derive(Debug, Error)]
pub enum Error {
    /// Nobody has the name.
    #[error("nobody has the name {name:?}")]
    NotFound {
        /// The name.
        name: String,
        /// Names that are nearly this one, the nearest first.
        similar: Vec<String>,
    },
    /// A person is not as a person must be.
    #[error("{} of the fields cannot be taken", .0.len())]
    Invalid(Vec<Violation>),
    /// Too many people came at once.
    #[error("too many people at once: try again in {} s", .retry_after.as_secs())]
    Busy {
        /// How long to wait.
        retry_after: Duration,
    },
    /// What was kept of a person cannot be read any more.
    #[error("what is kept in {} is damaged", path.display())]
    Damaged {
        /// The person's file.
        path: PathBuf,
    },
    /// The system has failed.
    #[error("cannot use {}", path.display())]
    Storage {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// One field, and what to send in it instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its path in the request.
    pub field: &'static str,
    /// What is wrong, and what to send.
    pub description: String,
}
// ANCHOR_END: error

// ANCHOR: refusal
/// An error, and the language of the user who is told of it.
#[derive(Debug)]
pub struct Refusal {
    error: Error,
    language: Language,
}

impl Error {
    /// To be told in `language`.
    pub fn told_in(self, language: Language) -> Refusal {
        Refusal {
            error: self,
            language,
        }
    }
}
// ANCHOR_END: refusal

// ANCHOR: localized
impl Error {
    /// What a person in front of a screen is told, in `language`.
    fn localized(&self, language: Language) -> String {
        match (self, language) {
            (Self::NotFound { name, .. }, Language::English) => {
                format!("We know nobody called {name}.")
            }
            (Self::NotFound { name, .. }, Language::Chinese) => format!("没有叫{name}的人。"),
            (Self::Invalid(_), Language::English) => {
                "Please look through what you filled in.".into()
            }
            (Self::Invalid(_), Language::Chinese) => "请检查填写的内容。".into(),
            (Self::Busy { .. }, Language::English) => "We are busy. Please wait a moment.".into(),
            (Self::Busy { .. }, Language::Chinese) => "系统繁忙，请稍候。".into(),
            (Self::Damaged { .. } | Self::Storage { .. }, Language::English) => {
                "Something is wrong on our side.".into()
            }
            (Self::Damaged { .. } | Self::Storage { .. }, Language::Chinese) => {
                "系统出错了。".into()
            }
        }
    }
}
// ANCHOR_END: localized

// ANCHOR: status
impl From<Refusal> for Status {
    fn from(Refusal { error, language }: Refusal) -> Self {
        let mut details = ErrorDetails::new();
        details.set_localized_message(language.tag(), error.localized(language));
        // For programmers, and in English.
        let sentence = error.to_string();
        match error {
            Error::NotFound { name, similar } => {
                details
                    .set_error_info(PERSON_NOT_FOUND, DOMAIN, [])
                    .set_resource_info("person.v1.Person", name, "", "");
                let status = Status::with_error_details(Code::NotFound, sentence, details);
                with_detail(&status, &SimilarNames { names: similar })
            }
            Error::Invalid(violations) => {
                let violations: Vec<_> = violations
                    .into_iter()
                    .map(|it| FieldViolation::new(it.field, it.description))
                    .collect();
                details.set_bad_request(violations);
                Status::with_error_details(Code::InvalidArgument, sentence, details)
            }
            Error::Busy { retry_after } => {
                details
                    .set_retry_info(Some(retry_after))
                    .add_quota_failure_violation("people", "they come too fast");
                Status::with_error_details(Code::ResourceExhausted, sentence, details)
            }
            Error::Damaged { .. } => hidden(Code::DataLoss, &error, details),
            Error::Storage { .. } => hidden(Code::Internal, &error, details),
        }
    }
}
// ANCHOR_END: status

// ANCHOR: hidden
/// Says that something is wrong with the registry, but not what: the cause is logged
/// under a number, and the caller gets the number.
fn hidden(code: Code, error: &Error, mut details: ErrorDetails) -> Status {
    let number = Uuid::new_v4().to_string();
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(number, ?code, %error, cause, "hidden from the caller");
    details.set_request_info(&number, "");
    let sentence = format!("the registry has failed: ask its keepers about {number}");
    Status::with_error_details(code, sentence, details)
}
// ANCHOR_END: hidden
