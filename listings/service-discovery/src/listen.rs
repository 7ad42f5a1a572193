//! A socket in the file system to listen on.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{fs::FileTypeExt, net::UnixStream},
    path::{Path, PathBuf},
};

use tokio::net::UnixListener;

// ANCHOR: unix
/// Listens at `path`, in the place of whoever listened there and has died.
///
/// # Errors
///
/// Fails if somebody listens there still, or the system refuses.
pub fn unix(path: &Path) -> io::Result<(UnixListener, Socket)> {
    // A socket stays when its program is killed. Nobody answers at it then. (Nor at a
    // file of another kind, which is none of ours.)
    let socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if socket && UnixStream::connect(path).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
    {
        fs::remove_file(path)?;
    }
    Ok((UnixListener::bind(path)?, Socket(path.to_owned())))
}

/// The socket in the file system, which is removed with this.
#[derive(Debug)]
pub struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // Whoever comes next removes it, if we cannot.
        fs::remove_file(&self.0).ok();
    }
}
// ANCHOR_END: unix
