//! What is done with the answers of an agent of Consul that is odd.

use std::sync::Arc;

use anyhow::Result;
use service_discovery::{
    name::Known,
    registry::{Registration, consul::Consul},
    resolve,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::soon;

/// An agent: what it was asked, and what it answers, which is one thing for each path.
struct Agent {
    consul: Arc<Consul>,
    asked: watch::Receiver<Vec<String>>,
}

impl Agent {
    async fn start(answer: fn(&str) -> Vec<u8>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let consul = Arc::new(Consul::new(listener.local_addr()?)?);
        let (sender, asked) = watch::channel(Vec::new());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sender = sender.clone();
                tokio::spawn(async move { answers(stream, answer, sender).await });
            }
        });
        Ok(Self { consul, asked })
    }
}

async fn answers(
    stream: TcpStream,
    answer: fn(&str) -> Vec<u8>,
    asked: watch::Sender<Vec<String>>,
) -> Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        stream.read_line(&mut line).await?;
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).await?;
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        stream.read_exact(&mut vec![0; length]).await?;
        stream.write_all(&answer(&path)).await?;
        asked.send_modify(|asked| asked.push(path));
    }
}

fn says(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nx-consul-index: 1\r\ncontent-length: {length}\r\n\r\n{body}")
        .into()
}

/// Releases differ in what they answer to a heartbeat of what they do not know.
async fn is_registered_again(answer: fn(&str) -> Vec<u8>) -> Result<()> {
    let mut agent = Agent::start(answer).await?;
    let registration =
        Registration::new(agent.consul.clone(), "greeter", ([127, 0, 0, 1], 1).into());
    let twice = |asked: &Vec<String>| {
        let register = asked.iter().filter(|path| path.ends_with("/register"));
        register.count() == 2
    };
    soon("it is registered again", agent.asked.wait_for(twice)).await??;
    soon("it ends", registration.end()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_that_is_not_found_registers_again() -> Result<()> {
    is_registered_again(|path| match path.contains("/check/") {
        true => says("404 Not Found", "Unknown check ID"),
        false => says("200 OK", ""),
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_that_is_an_error_registers_again() -> Result<()> {
    is_registered_again(|path| match path.contains("/check/") {
        true => says("500 Internal Server Error", "does not have associated TTL"),
        false => says("200 OK", ""),
    })
    .await
}

/// 600 MiB of spaces would be read, if they were.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_end_is_not_kept() -> Result<()> {
    let agent = Agent::start(|_| {
        let length = 600 << 20;
        let mut answer =
            format!("HTTP/1.1 200 OK\r\nx-consul-index: 1\r\ncontent-length: {length}\r\n\r\n");
        answer += &" ".repeat(5 << 20);
        answer.into()
    })
    .await?;
    let mut name = resolve::registered("consul:greeter", agent.consul, "greeter");
    let problem =
        |known: &Option<Known>| known.as_ref().is_some_and(|known| known.problem.is_some());
    let known = soon("it is said", name.known.wait_for(problem))
        .await??
        .clone();
    let problem = known.and_then(|known| known.problem).unwrap_or_default();
    assert!(
        problem.ends_with("the answer of Consul is too long"),
        "{problem}"
    );
    Ok(())
}
