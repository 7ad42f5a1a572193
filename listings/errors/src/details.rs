//! Details of our own: messages that `tonic-types` does not know.

use prost::{Message, Name};
use prost_types::Any;
use tonic::Status;

// ANCHOR: with_detail
/// `status` with one detail more.
pub fn with_detail(status: &Status, detail: &impl Name) -> Status {
    // What travels as the details is a whole `google.rpc.Status`, in which the
    // details are a list. Bytes that do not decode hold no details to keep.
    let mut whole = tonic_types::Status::decode(status.details()).unwrap_or_default();
    whole.code = status.code().into();
    whole.message = status.message().to_owned();
    whole.details.push(any(detail));
    Status::with_details_and_metadata(
        status.code(),
        status.message(),
        whole.encode_to_vec().into(),
        status.metadata().clone(),
    )
}

/// Not `Any::from_msg`, which may fail: a vector grows.
fn any<T: Name>(detail: &T) -> Any {
    Any {
        type_url: T::type_url(),
        value: detail.encode_to_vec(),
    }
}
// ANCHOR_END: with_detail

// ANCHOR: detail
/// The first detail that is a `T`; none if there is none, or if it is damaged.
pub fn detail<T: Name + Default>(status: &Status) -> Option<T> {
    let whole = tonic_types::Status::decode(status.details()).ok()?;
    let mut details = whole.details.iter();
    details.find_map(|any| any.to_msg().ok())
}
// ANCHOR_END: detail
