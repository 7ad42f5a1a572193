//! What a server may send as details, and what becomes of the client.

use axum::{
    Router,
    body::{Body, Bytes},
    routing::any,
};
use errors::{
    call_error::{CallError, Kind},
    details::detail,
    malformed::{drop_malformed_details, repaired},
    pb::{
        GetPersonRequest, ListPeopleRequest, SimilarNames,
        person_service_client::PersonServiceClient,
    },
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message;
use prost_types::Any;
use tokio::net::TcpListener;
use tonic::{
    Code, Status,
    metadata::BinaryMetadataValue,
    service::Routes,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_types::StatusExt;
use tower::ServiceBuilder;

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Where a server puts the status.
#[derive(Clone, Copy)]
enum In {
    /// Of a response that has nothing else.
    Headers,
    /// Behind the messages of a stream.
    Trailers,
}

/// A server that ends each call with this `grpc-status` and these details.
async fn server(place: In, status: &'static str, details: &[u8]) -> Result<Channel> {
    let mut end = HeaderMap::new();
    end.insert("grpc-status", HeaderValue::from_static(status));
    end.insert("grpc-status-details-bin", HeaderValue::from_bytes(details)?);
    let answer = any(async move || {
        let end = end.clone();
        let mut response = match place {
            In::Headers => {
                let mut response = Response::new(Body::empty());
                response.headers_mut().extend(end);
                response
            }
            In::Trailers => {
                let end = tokio_stream::once(Ok::<_, Status>(Frame::<Bytes>::trailers(end)));
                Response::new(Body::new(StreamBody::new(end)))
            }
        };
        let grpc = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert("content-type", grpc);
        response
    });
    serve(Router::new().fallback_service(answer)).await
}

/// A proxy that answers each call itself.
async fn proxy(status: u16, content_type: &'static str) -> Result<Channel> {
    let status = StatusCode::from_u16(status)?;
    let answer = any(async move || {
        let mut response = Response::new(Body::from("<html>no server</html>"));
        *response.status_mut() = status;
        let content_type = HeaderValue::from_static(content_type);
        response.headers_mut().insert("content-type", content_type);
        response
    });
    serve(Router::new().fallback_service(answer)).await
}

async fn serve(router: Router) -> Result<Channel> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?);
    let server = Server::builder().add_routes(Routes::from(router));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    Ok(Channel::from_shared(uri)?.connect().await?)
}

/// As gRPC's document "HTTP to gRPC Status Code Mapping" has it.
#[tokio::test]
async fn a_proxy_s_page_ends_a_call_with_the_status_of_its_http_status() -> Result {
    for (http, code) in [
        (200, Code::Unknown),
        (400, Code::Internal),
        (401, Code::Unauthenticated),
        (403, Code::PermissionDenied),
        (404, Code::Unimplemented),
        (418, Code::Unknown),
        (429, Code::Unavailable),
        (500, Code::Unknown),
        (502, Code::Unavailable),
        (503, Code::Unavailable),
        (504, Code::Unavailable),
    ] {
        for content_type in ["text/html", "text/html; charset=utf-8", "application/json"] {
            let channel = repaired(proxy(http, content_type).await?);
            let mut client = PersonServiceClient::new(channel);
            let status = client.get_person(request()).await.expect_err("no server");
            assert_eq!(status.code(), code, "{http}: {status}");
            let status = match client.list_people(ListPeopleRequest {}).await {
                Ok(people) => people.into_inner().message().await.expect_err("no server"),
                Err(status) => status,
            };
            assert_eq!(status.code(), code, "{http}: {status}");
        }
    }
    // A proxy that passes on the content-type of the request.
    let channel = repaired(proxy(503, "application/grpc").await?);
    let call = PersonServiceClient::new(channel)
        .get_person(request())
        .await;
    assert_eq!(call.expect_err("no server").code(), Code::Unavailable);
    Ok(())
}

/// tonic 0.14.9. When this test fails, `drop_foreign_body` is no longer needed.
#[tokio::test]
async fn without_it_a_page_is_read_as_a_message() -> Result {
    let mut client = PersonServiceClient::new(proxy(503, "text/html").await?);
    let status = client.get_person(request()).await.expect_err("no server");
    assert_eq!(status.code(), Code::Internal);
    assert!(
        status.message().contains("compression flag: 60"),
        "{status}"
    );
    Ok(())
}

fn request() -> GetPersonRequest {
    GetPersonRequest {
        name: "李雷".to_owned(),
    }
}

/// What a call ends with, behind [`drop_malformed_details`].
async fn ended(status: &'static str, details: &[u8]) -> Result<Status> {
    let channel = server(In::Headers, status, details).await?;
    let channel = ServiceBuilder::new()
        .map_response(drop_malformed_details)
        .service(channel);
    let mut client = PersonServiceClient::new(channel);
    let result = client.get_person(request()).await;
    Ok(result.err().ok_or("it failed")?)
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    let value = BinaryMetadataValue::from_bytes(bytes);
    value.as_encoded_bytes().to_vec()
}

/// tonic 0.14.9. When this test fails, [`drop_malformed_details`] is no longer needed.
#[tokio::test]
async fn without_it_details_that_are_not_base64_are_a_panic() -> Result {
    for place in [In::Headers, In::Trailers] {
        let mut client = PersonServiceClient::new(server(place, "5", b"!!!").await?);
        let call = tokio::spawn(async move {
            let people = client.list_people(ListPeopleRequest {}).await?;
            people.into_inner().message().await
        });
        let panic = call.await.expect_err("it panics").into_panic();
        let said = panic.downcast_ref::<String>().ok_or("a sentence")?;
        assert!(said.starts_with("Invalid status header"), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn with_it_they_are_gone_and_the_status_stays() -> Result {
    for broken in [&b"!!!"[..], b"\xff", b"a", b"===="] {
        let status = ended("5", broken).await?;
        assert_eq!(status.code(), Code::NotFound);
        assert!(status.details().is_empty(), "{status:?}");
    }
    let channel = server(In::Trailers, "5", b"!!!").await?;
    let channel = ServiceBuilder::new()
        .map_response(drop_malformed_details)
        .service(channel);
    let mut client = PersonServiceClient::new(channel);
    let people = client.list_people(ListPeopleRequest {}).await?;
    let ended = people.into_inner().message().await;
    assert_eq!(ended.expect_err("it failed").code(), Code::NotFound);
    Ok(())
}

#[tokio::test]
async fn details_that_do_not_decode_leave_the_code() -> Result {
    let status = ended("5", &base64(b"\xff\xff\xff")).await?;
    assert_eq!(status.details(), b"\xff\xff\xff");
    assert!(status.check_error_details().is_err());
    assert!(status.get_error_details_vec().is_empty());
    assert_eq!(detail::<SimilarNames>(&status), None);
    let CallError { kind, .. } = status.into();
    assert!(matches!(kind, Kind::Other(Code::NotFound)), "{kind:?}");
    Ok(())
}

/// One bad detail takes the good ones with it, if they are asked for together.
#[tokio::test]
async fn a_damaged_detail_spoils_those_that_are_read_with_it() -> Result {
    let good = tonic_types::pb::RequestInfo {
        request_id: "7".to_owned(),
        ..Default::default()
    };
    let details = [
        ("RetryInfo", b"\xff\xff".to_vec()),
        ("RequestInfo", good.encode_to_vec()),
    ];
    let status = ended("14", &base64(&status(14, details).encode_to_vec())).await?;
    assert!(status.check_error_details().is_err());
    assert!(status.get_error_details().request_info().is_none());
    let info = status.get_details_request_info();
    assert_eq!(info.ok_or("alone it is read")?.request_id, "7");
    Ok(())
}

fn status<const N: usize>(code: i32, details: [(&str, Vec<u8>); N]) -> tonic_types::Status {
    let any = |(name, value)| Any {
        type_url: format!("type.googleapis.com/google.rpc.{name}"),
        value,
    };
    tonic_types::Status {
        code,
        message: String::new(),
        details: details.map(any).into(),
    }
}

#[tokio::test]
async fn a_detail_of_a_type_that_we_do_not_know_is_passed_over() -> Result {
    let good = tonic_types::pb::RequestInfo {
        request_id: "7".to_owned(),
        ..Default::default()
    };
    let details = [
        ("FromTomorrow", b"\xff\xff".to_vec()),
        ("RequestInfo", good.encode_to_vec()),
    ];
    let status = ended("13", &base64(&status(13, details).encode_to_vec())).await?;
    assert_eq!(status.check_error_details_vec()?.len(), 1);
    let CallError { kind, .. } = status.into();
    assert!(matches!(kind, Kind::Failed { number } if number == "7"));
    Ok(())
}

#[tokio::test]
async fn a_code_that_we_do_not_know_is_unknown() -> Result {
    for code in ["99", "17", "-1", "five"] {
        let status = ended(code, &base64(b"")).await?;
        assert_eq!(status.code(), Code::Unknown, "{code}");
        let CallError { kind, .. } = status.into();
        assert!(matches!(kind, Kind::Other(Code::Unknown)), "{kind:?}");
    }
    Ok(())
}
