//! `deadlines-client place MILLISECONDS [URI]` places an order, and
//! `deadlines-client track MILLISECONDS [URI]` tracks it, in so much time.

use std::{env, time::Duration};

use anyhow::{Context, bail};
use deadlines::{
    deadline::Deadline,
    escape::escape,
    pb::{PlaceOrderRequest, TrackOrderRequest, order_service_client::OrderServiceClient},
};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let [command @ ("place" | "track"), milliseconds, rest @ ..] = args.as_slice() else {
        bail!("say `place` or `track`, and how many milliseconds it may take");
    };
    let milliseconds = milliseconds
        .parse()
        .with_context(|| format!("{milliseconds:?} is no number of milliseconds"))?;
    let uri = rest.first().unwrap_or(&"http://127.0.0.1:50051");
    let endpoint =
        Endpoint::from_shared(uri.to_string()).with_context(|| format!("{uri:?} is not a URI"))?;
    let client = OrderServiceClient::new(endpoint.connect_lazy());

    // From here on the time runs, to connect included.
    let deadline = Deadline::after(Duration::from_millis(milliseconds));
    let done = match *command {
        "place" => place(client, deadline).await,
        _ => track(client, deadline).await,
    };
    if let Err(status) = done {
        println!("{:?}: {}", status.code(), escape(status.message()));
    }
    Ok(())
}

// ANCHOR: place
async fn place(mut client: OrderServiceClient<Channel>, deadline: Deadline) -> Result<(), Status> {
    let order = PlaceOrderRequest {
        article: "茶".to_owned(),
        count: 2,
    };
    let request = deadline.request(order)?;
    let response = deadline.bound(client.place_order(request)).await?;
    println!(
        "placed: {}",
        escape(&response.into_inner().hands.join(", "))
    );
    Ok(())
}
// ANCHOR_END: place

// ANCHOR: track
async fn track(mut client: OrderServiceClient<Channel>, deadline: Deadline) -> Result<(), Status> {
    let order = TrackOrderRequest {
        article: "茶".to_owned(),
    };
    let request = deadline.request(order)?;
    let response = deadline.bound(client.track_order(request)).await?;
    let mut places = response.into_inner();
    // Each message, and so all of them.
    while let Some(place) = deadline.bound(places.message()).await? {
        println!("with the {}", escape(&place.place));
    }
    Ok(())
}
// ANCHOR_END: track
