//! A chain of services with one budget. The clock is paused: it goes on when
//! everything waits, so no test takes time, and each moment is exact.

use std::{
    cell::RefCell,
    collections::HashMap,
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    io,
    sync::Once,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use deadlines::{
    deadline::Deadline,
    layer::{DeadlineLayer, MARGIN},
    link::{Link, TRACK_EVERY},
    malformed::{Repaired, repaired},
    pb::{
        PlaceOrderRequest, TrackOrderRequest, order_service_client::OrderServiceClient,
        order_service_server::OrderServiceServer,
    },
};
use http::HeaderValue;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{
    Code, Request, Status,
    body::Body,
    metadata::AsciiMetadataValue,
    server::NamedService,
    service::LayerExt,
    transport::{Endpoint, Server, Uri},
};
use tower::{Layer, Service, ServiceExt, service_fn};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::set_global_default,
};

type Client = OrderServiceClient<Repaired>;

const WORK: Duration = Duration::from_millis(200);

type Connections = mpsc::Sender<io::Result<DuplexStream>>;

/// A client in this process, whose connections do without sockets: the other ends
/// come out of a channel.
fn client(connections: Connections) -> Client {
    let connector = service_fn(move |_: Uri| {
        let connections = connections.clone();
        async move {
            let (ours, theirs) = duplex(64 * 1024);
            connections
                .send(Ok(theirs))
                .await
                .map_err(io::Error::other)?;
            Ok::<_, io::Error>(TokioIo::new(ours))
        }
    });
    let endpoint = Endpoint::from_static("http://in-this-process");
    Client::new(repaired(endpoint.connect_with_connector_lazy(connector)))
}

/// A service in this process.
fn service(name: &str, at_most: Duration, next: Option<Client>) -> Client {
    let link = Link {
        name: name.to_owned(),
        work: WORK,
        next,
    };
    let orders = DeadlineLayer { at_most }.named_layer(OrderServiceServer::new(link));
    let (connections, incoming) = mpsc::channel(1);
    let server = Server::builder().add_service(orders);
    tokio::spawn(server.serve_with_incoming(ReceiverStream::new(incoming)));
    client(connections)
}

/// Shop, warehouse, carrier.
fn chain() -> Client {
    let at_most = Duration::from_secs(10);
    let carrier = service("carrier", at_most, None);
    let warehouse = service("warehouse", at_most, Some(carrier));
    service("shop", at_most, Some(warehouse))
}

fn order() -> PlaceOrderRequest {
    PlaceOrderRequest {
        article: "茶".to_owned(),
        count: 2,
    }
}

/// What a call with this budget ends with, and after how long.
async fn place(mut shop: Client, budget: Duration) -> (Result<Vec<String>, Status>, Duration) {
    let began = Instant::now();
    let deadline = Deadline::after(budget);
    let result = match deadline.request(order()) {
        Ok(request) => deadline.bound(shop.place_order(request)).await,
        Err(status) => Err(status),
    };
    (result.map(|it| it.into_inner().hands), began.elapsed())
}

/// The log: what became of the work of each service, in order. All tasks of a test
/// are on its thread. There is one subscriber for all tests: tracing remembers for the
/// whole process which lines anybody wants.
struct Log;

thread_local! {
    static LINES: RefCell<HashMap<String, Vec<String>>> = RefCell::default();
}

impl Log {
    fn begins() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| set_global_default(Log).expect("it is the only one"));
        LINES.take();
        Self
    }

    fn of(&self, name: &str) -> Vec<String> {
        LINES.with_borrow(|lines| lines.get(name).cloned().unwrap_or_default())
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("deadlines")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let name = fields.0.remove("name").unwrap_or_default();
        let message = fields.0.remove("message").unwrap_or_default();
        LINES.with_borrow_mut(|lines| lines.entry(name).or_default().push(message));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Fields(HashMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}").trim_matches('"').to_owned();
        self.0.insert(field.name(), value);
    }
}

const DONE: [&str; 2] = ["work begins", "work done"];
const DROPPED: [&str; 2] = ["work begins", "work dropped"];

#[tokio::test(start_paused = true)]
async fn with_time_enough_the_order_goes_through_all_hands() {
    let log = Log::begins();
    let (hands, took) = place(chain(), Duration::from_secs(1)).await;
    assert_eq!(
        hands.expect("there is time"),
        ["shop", "warehouse", "carrier"]
    );
    assert_eq!(took, WORK * 3);
    for name in ["shop", "warehouse", "carrier"] {
        assert_eq!(log.of(name), DONE, "{name}");
    }
}

/// 300 ms for three services that need 200 ms each. Each hop keeps back its margin,
/// so the answer of the last one finds the first still waiting.
#[tokio::test(start_paused = true)]
async fn with_too_little_the_work_stops_where_it_is() {
    let log = Log::begins();
    let (hands, took) = place(chain(), Duration::from_millis(300)).await;
    assert_eq!(
        hands.expect_err("too little").code(),
        Code::DeadlineExceeded
    );
    assert!(took <= Duration::from_millis(300), "{took:?}");
    assert!(took >= Duration::from_millis(300) - MARGIN * 3, "{took:?}");
    // What is left to do is done, and there is nothing that takes time.
    sleep(Duration::from_secs(10)).await;
    assert_eq!(log.of("shop"), DONE);
    assert_eq!(log.of("warehouse"), DROPPED);
    assert!(log.of("carrier").is_empty());
}

#[tokio::test(start_paused = true)]
async fn with_a_little_more_the_last_is_dropped() {
    let log = Log::begins();
    let (hands, _) = place(chain(), Duration::from_millis(500)).await;
    assert_eq!(
        hands.expect_err("too little").code(),
        Code::DeadlineExceeded
    );
    sleep(Duration::from_secs(10)).await;
    assert_eq!(log.of("warehouse"), DONE);
    assert_eq!(log.of("carrier"), DROPPED);
}

#[tokio::test(start_paused = true)]
async fn without_any_time_nothing_is_begun() {
    let log = Log::begins();
    let (hands, took) = place(chain(), Duration::ZERO).await;
    assert_eq!(hands.expect_err("nothing").code(), Code::DeadlineExceeded);
    assert_eq!(took, Duration::ZERO);
    let (hands, _) = place(chain(), MARGIN).await;
    assert_eq!(hands.expect_err("nothing").code(), Code::DeadlineExceeded);
    sleep(Duration::from_secs(10)).await;
    assert!(log.of("shop").is_empty());
    // Not even by a handler that would be ready at once.
    let handler = service_fn(|_| {
        let response = http::Response::new(Body::empty());
        ready(Ok::<_, Infallible>(response))
    });
    let mut request = http::Request::new(Body::empty());
    let header = HeaderValue::from_static("5m");
    request.headers_mut().insert("grpc-timeout", header);
    let layer = DeadlineLayer { at_most: WORK };
    let response = layer.layer(handler).oneshot(request).await;
    let response = response.expect("it cannot fail");
    assert_eq!(response.headers()["grpc-status"], "4");
}

/// No deadline has passed: the client has gone.
#[tokio::test(start_paused = true)]
async fn when_the_first_gives_up_the_last_stops() {
    let log = Log::begins();
    let call = tokio::spawn(place(chain(), Duration::from_secs(10)));
    sleep(WORK * 5 / 2).await;
    assert_eq!(log.of("carrier"), ["work begins"]);
    call.abort();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(log.of("carrier"), DROPPED);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_gets_the_limit() {
    let log = Log::begins();
    let mut slow = service("slow", WORK / 2, None);
    let status = slow.place_order(order()).await.expect_err("it is late");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(log.of("slow"), DROPPED);
    // And a client that asks for more than that gets no more.
    let (hands, took) = place(slow, Duration::from_secs(60)).await;
    assert_eq!(
        hands.expect_err("it is late").code(),
        Code::DeadlineExceeded
    );
    assert_eq!(took, WORK / 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_at_its_deadline_after_what_came_before() {
    let mut shop = chain();
    let budget = TRACK_EVERY * 5 / 2;
    let mut request = Request::new(TrackOrderRequest {
        article: "茶".to_owned(),
    });
    request.set_timeout(budget);
    let began = Instant::now();
    let mut places = shop
        .track_order(request)
        .await
        .expect("it begins")
        .into_inner();
    let mut count = 0;
    let status = loop {
        match places.message().await {
            Ok(Some(_)) if count < 10 => count += 1,
            Ok(Some(_)) => panic!("nobody ends it"),
            Ok(None) => panic!("it ends as if all were well"),
            Err(status) => break status,
        }
    };
    assert_eq!((status.code(), count), (Code::DeadlineExceeded, 3));
    // Here the client's own timer does not run any more: the server ends it.
    assert_eq!(began.elapsed(), budget - MARGIN);
}

/// The transport asks a response for no more than its client reads.
#[tokio::test(start_paused = true)]
async fn a_response_that_nobody_reads_is_dropped_at_its_deadline() {
    let (work, mut dropped) = mpsc::channel::<()>(1);
    let handler = service_fn(move |_| {
        let work = work.clone();
        let frames = tokio_stream::pending::<Result<Frame<Bytes>, Status>>();
        let frames = frames.map(move |frame| {
            let _holds = &work;
            frame
        });
        let response = http::Response::new(Body::new(StreamBody::new(frames)));
        ready(Ok::<_, Infallible>(response))
    });
    let layer = DeadlineLayer { at_most: WORK };
    let request = http::Request::new(Body::empty());
    let _unread = layer.layer(handler).oneshot(request).await;
    let began = Instant::now();
    let dropped = timeout(WORK * 10, dropped.recv()).await;
    assert_eq!(dropped, Ok(None), "nobody holds it");
    assert_eq!(began.elapsed(), WORK);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_that_is_none_is_refused_at_the_door() {
    let log = Log::begins();
    for (values, says) in [
        (&["5"][..], "units"),
        (&["-1S"], "digits"),
        (&["123456789S"], "more than 8"),
        (&["1S", "2S"], "twice"),
    ] {
        let mut request = Request::new(order());
        for value in values {
            let value = AsciiMetadataValue::from_static(value);
            request.metadata_mut().append("grpc-timeout", value);
        }
        let status = chain().place_order(request).await.expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument, "{values:?}");
        assert!(status.message().contains(says), "{status}");
    }
    assert!(log.of("shop").is_empty());
}

/// From 100 seconds on tonic sends whole milliseconds, and its own timer is early.
#[tokio::test(start_paused = true)]
async fn a_timer_that_is_early_is_still_a_timer() {
    let budget = Duration::from_secs(100) + Duration::from_micros(900);
    // Nobody takes the connection out of the channel.
    let (connections, _never) = mpsc::channel(1);
    let (result, took) = place(client(connections), budget).await;
    assert_eq!(result.expect_err("late").code(), Code::DeadlineExceeded);
    assert!(took < budget, "{took:?}");
}

/// Whose time is up is told by the clock: a call that somebody cancels early is
/// cancelled.
#[tokio::test(start_paused = true)]
async fn cancelled_becomes_deadline_exceeded_when_the_time_is_up_and_not_before() {
    let deadline = Deadline::after(Duration::from_secs(1));
    let cancelled = async || Err::<(), _>(Status::cancelled("Timeout expired"));
    let status = deadline.bound(cancelled()).await.expect_err("cancelled");
    assert_eq!(status.code(), Code::Cancelled);
    sleep(Duration::from_secs(1)).await;
    let status = deadline.bound(cancelled()).await.expect_err("too late");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    // What is there is there, though the time is up.
    assert!(deadline.bound(async { Ok(()) }).await.is_ok());
}

/// What the next service is told: the time that the shop's own work took is gone, and
/// so is its margin.
#[tokio::test(start_paused = true)]
async fn the_next_service_gets_what_is_left() {
    let (timeouts, mut told) = mpsc::channel(1);
    let (connections, incoming) = mpsc::channel(1);
    let server = Server::builder().add_service(Recording(timeouts));
    tokio::spawn(server.serve_with_incoming(ReceiverStream::new(incoming)));
    let shop = service("shop", Duration::from_secs(10), Some(client(connections)));
    let (_, _) = place(shop, Duration::from_secs(5)).await;
    let left = Duration::from_secs(5) - WORK - MARGIN;
    assert_eq!(told.recv().await, Some(format!("{}u", left.as_micros())));
}

/// Sends the `grpc-timeout` of each call through the channel.
#[derive(Clone)]
struct Recording(mpsc::Sender<String>);

impl NamedService for Recording {
    const NAME: &'static str = "order.v1.OrderService";
}

impl Service<http::Request<Body>> for Recording {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let timeout = &request.headers()["grpc-timeout"];
        let timeout = String::from_utf8_lossy(timeout.as_bytes()).into_owned();
        self.0.try_send(timeout).expect("there is one call");
        ready(Ok(Status::not_found("sold out").into_http()))
    }
}

/// The next service, or something between it and us, sends details that are not
/// base64: tonic 0.14.9 would panic.
#[tokio::test(start_paused = true)]
async fn malformed_details_of_the_next_service_are_left_out() {
    let (connections, incoming) = mpsc::channel(1);
    let server = Server::builder().add_service(Malformed);
    tokio::spawn(server.serve_with_incoming(ReceiverStream::new(incoming)));
    let shop = service("shop", Duration::from_secs(10), Some(client(connections)));
    let (hands, _) = place(shop, Duration::from_secs(5)).await;
    let status = hands.expect_err("the next one has failed");
    assert_eq!(
        (status.code(), status.message()),
        (Code::NotFound, "sold out")
    );
}

/// Ends each call with details that are not base64.
#[derive(Clone)]
struct Malformed;

impl NamedService for Malformed {
    const NAME: &'static str = "order.v1.OrderService";
}

impl Service<http::Request<Body>> for Malformed {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<Body>) -> Self::Future {
        let mut response = Status::not_found("sold out").into_http();
        let details = HeaderValue::from_static("!!!");
        let headers = response.headers_mut();
        headers.insert("grpc-status-details-bin", details);
        ready(Ok(response))
    }
}

#[tokio::test(start_paused = true)]
async fn bad_orders_are_refused() {
    let mut shop = chain();
    for (article, count) in [("", 1), (&"茶".repeat(86), 1), ("茶", 0)] {
        let order = PlaceOrderRequest {
            article: article.to_owned(),
            count,
        };
        let status = shop.place_order(order).await.expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument);
    }
}

#[test]
fn a_budget_without_end_has_one() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let _inside = runtime.as_ref().expect("a runtime").enter();
    assert!(Deadline::after(Duration::MAX) > Deadline::after(Duration::from_secs(1)));
}
