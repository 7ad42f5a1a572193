//! What the services promise of deadlines, and the exercises of the chapter.

mod chain;
mod exercises;
mod grpc_timeout;
mod patience;
