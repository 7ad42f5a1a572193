//! Servers that are connected to, and are not ready: each beside a healthy one.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use service_discovery::{
    channel::Balanced,
    name::Name,
    pb::{SayHelloRequest, greeter_service_client::GreeterServiceClient},
    retry::retried,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{self, Instant},
};

use super::{PATIENCE, Server, known, soon, tcp};

/// The preface of a server, and the end of all calls on its connection.
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
const GOAWAY: &[u8] = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// What a peer does with a connection.
#[derive(Clone, Copy, Debug)]
enum Peer {
    Closes,
    Resets,
    ClosesWhenSpokenTo,
    SpeaksHttp1,
    SpeaksAndCloses,
    SaysGoodbye,
    SpeaksAndSaysGoodbye,
}

impl Peer {
    async fn start(self) -> Result<(SocketAddr, watch::Receiver<Vec<Instant>>)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (accepted, seen) = watch::channel(Vec::new());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                accepted.send_modify(|all| all.push(Instant::now()));
                self.meet(stream).await.ok();
            }
        });
        Ok((address, seen))
    }

    async fn meet(self, mut stream: TcpStream) -> Result<()> {
        let answer = match self {
            Self::Closes => return Ok(()),
            Self::Resets => {
                stream.set_zero_linger()?;
                return Ok(());
            }
            Self::ClosesWhenSpokenTo => vec![],
            Self::SpeaksHttp1 => b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n".to_vec(),
            Self::SpeaksAndCloses => SETTINGS.to_vec(),
            Self::SaysGoodbye => GOAWAY.to_vec(),
            Self::SpeaksAndSaysGoodbye => [SETTINGS, GOAWAY].concat(),
        };
        stream.read_exact(&mut [0; 24]).await?;
        stream.write_all(&answer).await?;
        stream.shutdown().await?;
        // What is closed with something unread is reset, which could come first.
        while stream.read(&mut [0; 1024]).await? > 0 {}
        Ok(())
    }
}

/// Beside a healthy server, no call goes to a server that has not spoken HTTP/2, and the
/// pauses between the attempts to connect grow.
async fn is_kept_out(peer: Peer) -> Result<()> {
    let healthy = Server::start().await?;
    let (address, mut accepted) = peer.start().await?;
    let mut set = known([&healthy]);
    set.addresses.extend(tcp(&[address]));
    let mut channel = Balanced::new(Name::fixed("hello:myworld", set));
    channel.settled().await;
    let attempts = accepted.wait_for(|accepted| accepted.len() == 5);
    let calls = async {
        loop {
            let name = "李雷".to_owned();
            let answer = retried(SayHelloRequest { name }, PATIENCE, |request| {
                let mut client = GreeterServiceClient::new(channel.clone());
                async move { client.say_hello(request).await }
            });
            let (response, more) = answer.await.expect("there is a healthy server");
            assert!(response.message.contains(&healthy.address.to_string()));
            // One that has spoken may get a call before it closes.
            let spoken = matches!(peer, Peer::SpeaksAndCloses | Peer::SpeaksAndSaysGoodbye);
            assert!(more == 0 || spoken, "{more} more attempts");
            time::sleep(Duration::from_millis(1)).await;
        }
    };
    let attempts = soon("it is tried again", async {
        tokio::select! {
            attempts = attempts => attempts.map(|attempts| attempts.clone()),
            () = calls => unreachable!(),
        }
    })
    .await??;
    // At least half of 100, 200, 400 and 800 ms.
    for (pause, two) in [50, 100, 200, 400].into_iter().zip(attempts.windows(2)) {
        let waited = two[1] - two[0];
        assert!(
            waited >= Duration::from_millis(pause),
            "{peer:?}: {waited:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_closes_is_kept_out() -> Result<()> {
    is_kept_out(Peer::Closes).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_resets_is_kept_out() -> Result<()> {
    is_kept_out(Peer::Resets).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_closes_when_spoken_to_is_kept_out() -> Result<()> {
    is_kept_out(Peer::ClosesWhenSpokenTo).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_http1_is_kept_out() -> Result<()> {
    is_kept_out(Peer::SpeaksHttp1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_goodbye_first_is_kept_out() -> Result<()> {
    is_kept_out(Peer::SaysGoodbye).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_and_closes_is_backed_off() -> Result<()> {
    is_kept_out(Peer::SpeaksAndCloses).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_and_says_goodbye_is_backed_off() -> Result<()> {
    is_kept_out(Peer::SpeaksAndSaysGoodbye).await
}
