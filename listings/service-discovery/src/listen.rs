//! A socket in the file system to listen on.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{
        fs::{FileTypeExt, MetadataExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use tokio::net::UnixListener;

// ANCHOR: unix
/// Listens at `path`, and replaces the socket of a program that listened there and died.
///
/// # Errors
///
/// Fails if somebody listens there still, or the system refuses.
pub fn unix(path: &Path) -> io::Result<(UnixListener, Socket)> {
    // A socket stays when its program is killed. Nobody answers at it then. (Nor at a
    // file of another kind, which does not belong to us.)
    let socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if socket && UnixStream::connect(path).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
    {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    let socket = Socket {
        path: path.to_owned(),
        id: id(path)?,
    };
    Ok((listener, socket))
}

/// The socket in the file system, which is removed with this.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    id: (u64, u64, i64, i64),
}

impl Drop for Socket {
    fn drop(&mut self) {
        // While our last calls ended, the next process may have put its own socket
        // there: without it, it could not be called. What we cannot remove, the next
        // process does.
        if id(&self.path).is_ok_and(|there| there == self.id) {
            fs::remove_file(&self.path).ok();
        }
    }
}

/// Which file this is: the device, the inode, and when the inode was made. The number
/// of an inode that was removed may be given again at once.
fn id(path: &Path) -> io::Result<(u64, u64, i64, i64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino(), file.mtime(), file.mtime_nsec()))
}
// ANCHOR_END: unix
