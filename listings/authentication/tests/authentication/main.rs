//! What the service, its layer, its issuer and its clients promise, and the exercises of the
//! chapter.

mod accounts;
mod attacks;
mod clients;
mod exercises;
mod files;
mod issuer;
mod keys;
mod logs;
mod rotation;
mod support;
mod tokens;
