//! A module for each chapter: what its programs do, run as processes.

mod hello_world;
mod setup;
