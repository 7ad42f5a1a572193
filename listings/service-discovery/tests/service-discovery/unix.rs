//! Sockets in the file system.

use std::future::pending;

use anyhow::Result;
use service_discovery::{
    channel::Balanced,
    greeter::Greeter,
    listen,
    resolve::{Map, resolve},
};
use tokio_stream::wrappers::UnixListenerStream;

use super::hello;

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_called_by_its_path() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("greeter.sock");
    let (listener, socket) = listen::unix(&path)?;
    let here = "世界".to_owned();
    let incoming = UnixListenerStream::new(listener);
    tokio::spawn(service_discovery::serve(
        incoming,
        Greeter { here },
        pending(),
    ));
    for form in ["unix:", "unix://"] {
        let target = format!("{form}{}", path.display()).parse()?;
        let channel = Balanced::new(resolve(&target, &Map::new())?);
        assert_eq!(hello(channel).await?, "Hello, 李雷! This is 世界.");
    }
    // A program that listens there is not driven away.
    assert!(listen::unix(&path).is_err());
    drop(socket);
    assert!(!path.exists());
    Ok(())
}

#[tokio::test]
async fn a_socket_that_was_left_behind_is_replaced() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("greeter.sock");
    // Its owner is gone, and it is not.
    drop(std::os::unix::net::UnixListener::bind(&path)?);
    assert!(path.exists());
    let (_listener, _socket) = listen::unix(&path)?;
    // A file that is not a socket is somebody's, and stays.
    let file = dir.path().join("letter.txt");
    std::fs::write(&file, "你好")?;
    assert!(listen::unix(&file).is_err());
    assert_eq!(std::fs::read_to_string(&file)?, "你好");
    Ok(())
}

/// The old process still has calls, and has stopped listening; then the new one starts.
#[tokio::test]
async fn the_socket_of_the_next_process_stays() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("greeter.sock");
    let (old_listener, old_socket) = listen::unix(&path)?;
    drop(old_listener);
    // The clock of a file system ticks in milliseconds, and no process starts in one.
    let probe = dir.path().join("clock");
    let made = |path| anyhow::Ok(std::fs::symlink_metadata(path)?.modified()?);
    while !probe.exists() || made(&probe)? == made(&path)? {
        std::fs::write(&probe, "你好")?;
    }
    let (_listener, socket) = listen::unix(&path)?;
    drop(old_socket);
    assert!(path.exists());
    tokio::net::UnixStream::connect(&path).await?;
    drop(socket);
    assert!(!path.exists());
    Ok(())
}
