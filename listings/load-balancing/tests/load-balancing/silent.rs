//! Servers that are connected to and say nothing, something else, or too little: each
//! beside a healthy one, or alone.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use anyhow::Result;
use load_balancing::{
    SERVICE,
    backend::Backend,
    balanced::Balanced,
    channels::channel,
    pb::greeter_service_server::GreeterServiceServer,
    policy::{PickFirst, RoundRobin},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    process::Command,
    sync::watch,
    time::Instant,
};
use tonic::{
    Code,
    codegen::http,
    transport::{self, server::TcpIncoming},
};
use tonic_health::ServingStatus;

use super::{Server, Slow, hello, shares, soon};

/// What a server answers to `Watch`.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Nothing,
    Headers,
    HalfAMessage,
    /// That it does not know the service, by the code, as tonic's does.
    NotFound,
    /// The same, by a message.
    ServiceUnknown,
}

/// A server that speaks HTTP/2, and so answers pings, and has an odd health service. The
/// receiver knows when it was connected to.
async fn odd(answer: Answer) -> Result<(SocketAddr, watch::Receiver<Vec<Instant>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (accepted, seen) = watch::channel(Vec::new());
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            accepted.send_modify(|all| all.push(Instant::now()));
            tokio::spawn(answering(answer, connection));
        }
    });
    Ok((address, seen))
}

async fn answering(answer: Answer, connection: TcpStream) -> Result<()> {
    let mut connection = h2::server::handshake(connection).await?;
    // What is dropped is reset.
    let (mut calls, mut answers) = (Vec::new(), Vec::new());
    while let Some(call) = connection.accept().await {
        let (_, mut respond) = call?;
        let headers = http::Response::builder().header("content-type", "application/grpc");
        match answer {
            Answer::Nothing => {}
            Answer::NotFound => {
                let headers = headers.header("grpc-status", "5");
                respond.send_response(headers.body(())?, true)?;
            }
            Answer::Headers => answers.push(respond.send_response(headers.body(())?, false)?),
            Answer::HalfAMessage | Answer::ServiceUnknown => {
                let mut stream = respond.send_response(headers.body(())?, false)?;
                let message = b"\0\0\0\0\x02\x08\x03";
                let cut = usize::from(matches!(answer, Answer::HalfAMessage));
                stream.send_data(message[..message.len() - cut].into(), false)?;
                answers.push(stream);
            }
        }
        calls.push(respond);
    }
    Ok(())
}

/// Calls begin at once, and go elsewhere; then it is out.
async fn is_passed_over(answer: Answer) -> Result<()> {
    let healthy = Server::start().await?;
    let (mute, _) = odd(answer).await?;
    for policy in ["pick-first", "round-robin", "least-pending", "weighted"] {
        let both = [(mute, 1), (healthy.address, 1)];
        let channel = soon("it begins", channel(policy, &both)).await??;
        let shares = soon("it is called", shares(&channel, 20, &[&healthy])).await??;
        assert_eq!(shares, [20, 0], "{policy}");
    }
    let mut alone = Balanced::new(PickFirst, [Backend::new(mute, 1)]);
    soon("it settles", alone.settled()).await?;
    let status = soon("it is said", hello(alone)).await?.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let why = format!("nobody can be called: {mute}: it did not say how it is in 5s");
    assert_eq!(status.message(), why);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_watch_is_passed_over() -> Result<()> {
    is_passed_over(Answer::Nothing).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_watch_with_headers_is_passed_over() -> Result<()> {
    is_passed_over(Answer::Headers).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_watch_with_half_a_message_is_passed_over() -> Result<()> {
    is_passed_over(Answer::HalfAMessage).await
}

/// What a port does with each connection.
#[derive(Clone, Copy, Debug)]
enum Port {
    Closes,
    Resets,
    SpeaksHttp1,
    SpeaksAndSaysGoodbye,
}

/// No call goes there, and the pauses between the attempts grow.
async fn is_backed_off(port: Port) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (accepted, mut seen) = watch::channel(Vec::new());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            accepted.send_modify(|all| all.push(Instant::now()));
            meet(port, &mut stream).await.ok();
        }
    });
    let healthy = Server::start().await?;
    let backends = [address, healthy.address].map(|address| Backend::new(address, 1));
    let mut channel = Balanced::new(PickFirst, backends);
    soon("it settles", channel.settled()).await?;
    let attempts = seen.wait_for(|accepted| accepted.len() == 5);
    let calls = async {
        loop {
            let message = hello(channel.clone()).await.expect("one is healthy");
            assert!(message.contains(&healthy.address.to_string()));
            tokio::time::sleep(Duration::from_millis(1)).await;
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
            "{port:?}: {waited:?}"
        );
    }
    Ok(())
}

async fn meet(port: Port, stream: &mut TcpStream) -> Result<()> {
    match port {
        Port::Closes => {}
        Port::Resets => stream.set_zero_linger()?,
        Port::SpeaksHttp1 => {
            stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await?
        }
        Port::SpeaksAndSaysGoodbye => {
            // SETTINGS, and GOAWAY.
            stream.write_all(b"\0\0\0\x04\0\0\0\0\0").await?;
            stream
                .write_all(b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0")
                .await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_closes_is_backed_off() -> Result<()> {
    is_backed_off(Port::Closes).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_resets_is_backed_off() -> Result<()> {
    is_backed_off(Port::Resets).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_http1_is_backed_off() -> Result<()> {
    is_backed_off(Port::SpeaksHttp1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_speaks_and_says_goodbye_is_backed_off() -> Result<()> {
    is_backed_off(Port::SpeaksAndSaysGoodbye).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_health_service_does_not_know_ours_is_out() -> Result<()> {
    for answer in [Answer::NotFound, Answer::ServiceUnknown] {
        let (address, mut connected) = odd(answer).await?;
        let backend = Backend::new(address, 1);
        let mut channel = Balanced::new(RoundRobin::default(), [backend]);
        soon("it settles", channel.settled()).await?;
        let status = hello(channel.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        let why = format!("its health service does not know {SERVICE}");
        let message = format!("nobody can be called: {address}: {why}");
        assert_eq!(status.message(), message);
        if matches!(answer, Answer::NotFound) {
            // It is asked again, and less and less often.
            let asked = connected.wait_for(|connected| connected.len() == 4);
            let asked = soon("it is asked again", asked).await??.clone();
            for (pause, two) in [50, 100, 200].into_iter().zip(asked.windows(2)) {
                assert!(two[1] - two[0] >= Duration::from_millis(pause));
            }
        }
    }
    Ok(())
}

/// SERVING, and no answer to a call.
#[tokio::test(flavor = "multi_thread")]
async fn the_client_ends_although_a_server_never_answers() -> Result<()> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_service_status(SERVICE, ServingStatus::Serving)
        .await;
    let server = Server::run(|listener, _| {
        transport::Server::builder()
            .add_service(health)
            .add_service(GreeterServiceServer::new(Slow::new()))
            .serve_with_incoming(TcpIncoming::from(listener))
    });
    let server = server.await?;
    for policy in ["one", "round-robin"] {
        let mut client = Command::new(env!("CARGO_BIN_EXE_load-balancing-client"));
        client.args([policy, "10", &server.address.to_string()]);
        client.stdout(Stdio::piped()).kill_on_drop(true);
        let output = soon("it ends", client.output()).await??;
        let printed = String::from_utf8(output.stdout)?;
        assert!(
            printed.contains("   10  DeadlineExceeded: "),
            "{policy}: {printed}"
        );
    }
    Ok(())
}
