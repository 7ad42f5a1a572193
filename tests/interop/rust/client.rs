//! The calls of each case with tonic. Each function returns the lines that the clients in other
//! languages print.

use std::{error::Error, fs, time::Duration};

use anyhow::{Context, bail};
use harness::Result;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Response, Status, Streaming,
    metadata::{AsciiMetadataValue, BinaryMetadataValue, MetadataMap},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_types::{ErrorDetail, StatusExt};

/// For each call.
const TIMEOUT: Duration = Duration::from_secs(10);

type Lines = Vec<String>;

async fn connect(address: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint.timeout(TIMEOUT).connect().await?)
}

/// `CODE_NAME: message` of a call that must fail.
fn failed<T>(ended: Result<Response<T>, Status>) -> Result<String> {
    let status = ended.err().context("the call did not fail")?;
    Ok(format!("{}: {}", name(status.code()), status.message()))
}

/// The name that the specification has for a code.
fn name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

// ANCHOR: hello
pub async fn hello(address: &str) -> Result<Lines> {
    use hello_world::pb::{SayHelloRequest, greeter_service_client::GreeterServiceClient};

    let mut client = GreeterServiceClient::new(connect(address).await?);
    let mut greet = async |name: &str| {
        let name = name.to_owned();
        client.say_hello(SayHelloRequest { name }).await
    };
    let mut lines = Lines::new();
    for name in ["Ferris", "世界"] {
        lines.push(greet(name).await?.into_inner().message);
    }
    lines.push(failed(greet("").await)?);
    Ok(lines)
}
// ANCHOR_END: hello

pub async fn mailbox(address: &str) -> Result<Lines> {
    use one_way_streams::pb::{
        AcknowledgeMessagesRequest, Message, ReceiveMessagesRequest, SendMessagesRequest,
        message_service_client::MessageServiceClient,
    };

    let mut client = MessageServiceClient::new(connect(address).await?);
    let messages = |to: &str, contents: &[&str]| {
        let message = |content: &&str| SendMessagesRequest {
            message: Some(Message {
                from: "jack".to_owned(),
                to: to.to_owned(),
                content: (*content).to_owned(),
            }),
        };
        tokio_stream::iter(contents.iter().map(message).collect::<Vec<_>>())
    };
    let sent = client.send_messages(messages("mike", &["一", "二", "三"]));
    let mut lines = vec![format!("taken {}", sent.await?.into_inner().taken)];

    let user = "mike".to_owned();
    let received = client.receive_messages(ReceiveMessagesRequest { user });
    let mut received = received.await?.into_inner();
    let (mut first, mut last) = (None, 0);
    for _ in 0..3 {
        let response = received.message().await?.context("a message is missing")?;
        let message = response.message.context("no message")?;
        // The server's numbers begin anywhere: we count from one.
        let first = *first.get_or_insert(response.number);
        last = response.number;
        lines.push(format!(
            "{} {}: {}",
            last - first + 1,
            message.from,
            message.content
        ));
    }
    // Dropping the stream cancels the call, so its status can no longer be read.
    drop(received);
    lines.push(name(Code::Cancelled));

    let acknowledge = async |user: &str, through: u64| {
        let user = user.to_owned();
        let request = AcknowledgeMessagesRequest { user, through };
        client.clone().acknowledge_messages(request).await
    };
    acknowledge("mike", last).await?;
    let first = first.context("no message")?;
    lines.push(format!("acknowledged {}", last - first + 1));
    // 李雷 has not received what is acknowledged here.
    client
        .clone()
        .send_messages(messages("李雷", &["四"]))
        .await?;
    lines.push(failed(acknowledge("李雷", u64::MAX).await)?);
    Ok(lines)
}

pub async fn chat(address: &str) -> Result<Lines> {
    use bidirectional_streams::pb::{
        ChatRequest, ChatResponse, chat_response::Event, chat_service_client::ChatServiceClient,
    };

    let client = ChatServiceClient::new(connect(address).await?);
    let join = async |from: &'static str, to: &'static str| -> Result<_> {
        let (say, requests) = mpsc::channel(1);
        let mut request = Request::new(ReceiverStream::new(requests));
        let metadata = request.metadata_mut();
        metadata.insert("from", AsciiMetadataValue::from_static(from));
        metadata.insert("to", AsciiMetadataValue::from_static(to));
        let heard = client.clone().chat(request).await?.into_inner();
        Ok((say, heard))
    };
    let hear = async |who: &str, heard: &mut Streaming<ChatResponse>| -> Result<String> {
        let response = heard.message().await?.context("the stream has ended")?;
        Ok(match response.event.context("no event")? {
            Event::Message(it) => format!("{who}: {} says {}", it.from, it.content),
            Event::Presence(it) if it.here => format!("{who}: {} is here", it.name),
            Event::Presence(it) => format!("{who}: {} is not here", it.name),
        })
    };
    let content = |text: &str| ChatRequest {
        content: text.to_owned(),
    };

    let mut lines = Lines::new();
    let (jack_says, mut jack) = join("jack", "mike").await?;
    lines.push(hear("jack", &mut jack).await?);
    let (mike_says, mut mike) = join("mike", "jack").await?;
    lines.push(hear("mike", &mut mike).await?);
    lines.push(hear("jack", &mut jack).await?);
    jack_says.send(content("你好")).await?;
    lines.push(hear("mike", &mut mike).await?);
    mike_says.send(content("再见")).await?;
    lines.push(hear("jack", &mut jack).await?);
    drop(mike_says);
    if mike.message().await?.is_none() {
        lines.push("mike: OK".to_owned());
    }
    lines.push(hear("jack", &mut jack).await?);
    drop(jack_says);
    if jack.message().await?.is_none() {
        lines.push("jack: OK".to_owned());
    }
    let without_names = client.clone().chat(tokio_stream::pending()).await;
    lines.push(failed(without_names)?);
    Ok(lines)
}

pub async fn metadata(address: &str) -> Result<Lines> {
    use metadata::pb::{
        GetPriceRequest, ListPricesRequest, till_service_client::TillServiceClient,
    };

    fn about_us<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert_bin(
            "name-bin",
            BinaryMetadataValue::from_bytes("李雷".as_bytes()),
        );
        metadata.append("voucher", AsciiMetadataValue::from_static("SPRING"));
        metadata.append("voucher", AsciiMetadataValue::from_static("NEW"));
        request
    }
    fn line(metadata: &MetadataMap, key: &str) -> Result<String> {
        let value = metadata
            .get(key)
            .with_context(|| format!("{key} is missing"))?;
        Ok(format!("{key} {}", value.to_str()?))
    }

    let mut client = TillServiceClient::new(connect(address).await?);
    let article = "bread".to_owned();
    let price = client
        .get_price(about_us(GetPriceRequest { article }))
        .await?;
    // Of a single message, tonic puts headers and trailers together.
    let metadata = price.metadata();
    let greeting = metadata.get_bin("greeting-bin").context("it is missing")?;
    let greeting = String::from_utf8(greeting.to_bytes()?.to_vec())?;
    let mut lines = vec![
        line(metadata, "vouchers")?,
        format!("greeting-bin {greeting}"),
        format!("{} cents", price.get_ref().cents),
        line(metadata, "articles")?,
        line(metadata, "cents")?,
    ];
    let prices = client.list_prices(about_us(ListPricesRequest {})).await?;
    let mut prices = prices.into_inner();
    while let Some(price) = prices.message().await? {
        lines.push(format!("{} {}", price.article, price.cents));
    }
    let trailers = prices.trailers().await?.context("there are none")?;
    lines.push(line(&trailers, "articles")?);
    Ok(lines)
}

pub async fn person(address: &str) -> Result<Lines> {
    use errors::pb::{
        CreatePeopleRequest, GetPersonRequest, Person, person_service_client::PersonServiceClient,
    };

    let mut client = PersonServiceClient::new(connect(address).await?);
    let people = |people: &[(&str, u32)]| {
        let request = |&(name, age): &(&str, u32)| CreatePeopleRequest {
            person: Some(Person {
                name: name.to_owned(),
                age,
                ..Person::default()
            }),
        };
        tokio_stream::iter(people.iter().map(request).collect::<Vec<_>>())
    };
    let name = |name: &str| GetPersonRequest {
        name: name.to_owned(),
    };

    let created = client.create_people(people(&[("jenny", 21), ("jack", 18)]));
    let mut lines = vec![format!("created {}", created.await?.into_inner().created)];
    let jenny = client.get_person(name("jenny")).await?.into_inner();
    let jenny = jenny.person.context("no person")?;
    lines.push(format!("{} {}", jenny.name, jenny.age));

    let status = client
        .get_person(name("jeny"))
        .await
        .expect_err("there is no such person");
    lines.push(failed::<()>(Err(status.clone()))?);
    lines.extend(details(&status)?);
    let status = client.create_people(people(&[("", 200)])).await;
    let status = status.expect_err("they are not as people are");
    lines.push(failed::<()>(Err(status.clone()))?);
    lines.extend(details(&status)?);
    Ok(lines)
}

// ANCHOR: details
fn details(status: &Status) -> Result<Lines> {
    let mut lines = Lines::new();
    for detail in status.check_error_details_vec()? {
        match detail {
            ErrorDetail::ErrorInfo(it) => {
                lines.push(format!("reason {} of {}", it.reason, it.domain))
            }
            ErrorDetail::ResourceInfo(it) => {
                lines.push(format!("no {} {}", it.resource_type, it.resource_name));
            }
            ErrorDetail::BadRequest(it) => lines.extend(
                it.field_violations
                    .iter()
                    .map(|it| format!("{}: {}", it.field, it.description)),
            ),
            ErrorDetail::LocalizedMessage(it) => {
                lines.push(format!("{}: {}", it.locale, it.message));
            }
            other => bail!("a detail that we do not know: {other:?}"),
        }
    }
    // Of a type that tonic-types does not know.
    if let Some(similar) = errors::details::detail::<errors::pb::SimilarNames>(status) {
        lines.push(format!("similar: {}", similar.names.join(", ")));
    }
    Ok(lines)
}
// ANCHOR_END: details

pub async fn deadline(address: &str) -> Result<Lines> {
    use deadlines::{
        deadline::Deadline,
        pb::{PlaceOrderRequest, order_service_client::OrderServiceClient},
    };

    let client = OrderServiceClient::new(connect(address).await?);
    let place = async |budget: Duration| {
        let deadline = Deadline::after(budget);
        let article = "bread".to_owned();
        let request = deadline.request(PlaceOrderRequest { article, count: 1 })?;
        deadline.bound(client.clone().place_order(request)).await
    };
    let hasty = place(Duration::from_millis(50)).await;
    let hasty = hasty.err().context("it was in time")?;
    let placed = place(TIMEOUT).await?.into_inner();
    Ok(vec![name(hasty.code()), placed.hands.join(", ")])
}

pub async fn tls(address: &str, files: [&str; 4]) -> Result<Lines> {
    use transport_security::pb::{SayHelloRequest, greeter_service_client::GreeterServiceClient};

    let [ca, certificate, key, other_ca] = files;
    let identity = Identity::from_pem(fs::read(certificate)?, fs::read(key)?);
    let greet = async |ca: &str, identity: Option<Identity>| -> Result<String, Status> {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(fs::read(ca)?));
        if let Some(identity) = identity {
            tls = tls.identity(identity);
        }
        let endpoint = Endpoint::from_shared(format!("https://{address}"));
        let channel = endpoint.and_then(|it| it.tls_config(tls));
        let unavailable = |error: tonic::transport::Error| Status::from_error(error.into());
        let channel = channel.map_err(unavailable)?.connect_lazy();
        let name = "Ferris".to_owned();
        let call = GreeterServiceClient::new(channel)
            .say_hello(SayHelloRequest { name })
            .await;
        call.map(|response| response.into_inner().message)
    };
    let mut lines = vec![greet(ca, Some(identity.clone())).await?];
    for (ca, identity) in [(other_ca, Some(identity)), (ca, None)] {
        let status = greet(ca, identity).await.err().context("it was let in")?;
        // What comes from the server has no source. A connection that broke is
        // UNKNOWN or CANCELLED in tonic, and UNAVAILABLE to everybody else.
        let code = match status.source() {
            Some(_) => Code::Unavailable,
            None => status.code(),
        };
        lines.push(name(code));
    }
    Ok(lines)
}

pub async fn token(address: &str, ca: &str, token: &str) -> Result<Lines> {
    use authentication::pb::{
        CloseAccountRequest, GetBalanceRequest, account_service_client::AccountServiceClient,
    };

    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(fs::read(ca)?));
    let endpoint = Endpoint::from_shared(format!("https://{address}"))?.tls_config(tls)?;
    let mut client = AccountServiceClient::new(endpoint.timeout(TIMEOUT).connect().await?);
    let mut bearer: AsciiMetadataValue = format!("Bearer {token}").parse()?;
    bearer.set_sensitive(true);

    let mut request = Request::new(GetBalanceRequest {});
    request
        .metadata_mut()
        .insert("authorization", bearer.clone());
    let balance = client.get_balance(request).await?.into_inner().cents;
    let without = client.get_balance(GetBalanceRequest {}).await;
    let mut request = Request::new(CloseAccountRequest {});
    request.metadata_mut().insert("authorization", bearer);
    let not_allowed = client.close_account(request).await;
    Ok(vec![
        format!("{balance} cents"),
        failed(without)?,
        failed(not_allowed)?,
    ])
}
