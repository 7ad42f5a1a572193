//! What the mailboxes and the service promise, and the exercises of the chapter.

mod exercises;
mod mailboxes;
mod post;
