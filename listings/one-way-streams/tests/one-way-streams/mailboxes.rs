//! What the mailboxes promise, without a network.

use std::{sync::Arc, time::Duration};

use one_way_streams::{
    mailboxes::{Limits, Mailboxes},
    pb::Message,
};
use tokio::{sync::Barrier, time};
use tonic::{Code, Status};

fn message(from: &str, to: &str, content: &str) -> Message {
    Message {
        from: from.to_owned(),
        to: to.to_owned(),
        content: content.to_owned(),
    }
}

fn small() -> Mailboxes {
    Mailboxes::new(Limits {
        mailboxes: 2,
        messages: 3,
        ..Limits::default()
    })
}

/// Fills the mailbox of Mike, which holds three.
async fn filled() -> Result<Mailboxes, Status> {
    let mailboxes = small();
    for content in ["一", "二", "三"] {
        mailboxes.put(message("jack", "mike", content)).await?;
    }
    Ok(mailboxes)
}

#[tokio::test]
async fn a_message_goes_to_whom_it_is_for() -> Result<(), Status> {
    let mailboxes = small();
    mailboxes.put(message("jack", "mike", "在吗")).await?;
    let mut mike = mailboxes.receive("mike")?;
    let first = mike.next().await?.and_then(|response| response.message);
    assert_eq!(first, Some(message("jack", "mike", "在吗")));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_one_who_sent_it_does_not_get_it() -> Result<(), Status> {
    let mailboxes = small();
    mailboxes.put(message("jack", "mike", "在吗")).await?;
    assert_eq!(mailboxes.receive("jack")?.next().await?, None);
    Ok(())
}

#[tokio::test]
async fn two_senders_at_the_same_moment_lose_nothing() -> Result<(), Status> {
    let mailboxes = Mailboxes::new(Limits::default());
    let together = Arc::new(Barrier::new(2));
    let sender = async |from: &'static str| {
        together.wait().await;
        for content in 0..100 {
            let message = message(from, "mike", &content.to_string());
            mailboxes.put(message).await?;
        }
        Ok::<_, Status>(())
    };
    tokio::try_join!(sender("jack"), sender("anna"))?;

    let mut mike = mailboxes.receive("mike")?;
    let mut seen = [Vec::new(), Vec::new()];
    for _ in 0..200 {
        let response = mike.next().await?.and_then(|response| response.message);
        let message = response.ok_or_else(|| Status::data_loss("a message is lost"))?;
        seen[usize::from(message.from == "anna")].push(message.content);
    }
    let all: Vec<_> = (0..100).map(|content| content.to_string()).collect();
    assert_eq!(seen, [all.clone(), all]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_sender_waits_for_room_and_then_gives_up() -> Result<(), Status> {
    let mailboxes = filled().await?;
    let start = time::Instant::now();
    let status = mailboxes
        .put(message("jack", "mike", "四"))
        .await
        .expect_err("there is no room");
    assert_eq!(start.elapsed(), Limits::default().patience);
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(
        status.message(),
        "the mailbox of \"mike\" is full and stayed so for 5s: send the rest later"
    );
    // Another mailbox is not concerned.
    mailboxes.put(message("jack", "anna", "一")).await
}

#[tokio::test(start_paused = true)]
async fn a_sender_goes_on_once_there_is_room() -> Result<(), Status> {
    let mailboxes = filled().await?;
    let acknowledge = async {
        time::sleep(Duration::from_secs(1)).await;
        let first = mailboxes.receive("mike")?.next().await?;
        let first = first.ok_or_else(|| Status::data_loss("the first is lost"))?;
        mailboxes.acknowledge("mike", first.number)
    };
    tokio::try_join!(mailboxes.put(message("jack", "mike", "四")), acknowledge)?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_leaves_while_it_waits_has_put_nothing() -> Result<(), Status> {
    let mailboxes = filled().await?;
    let put = mailboxes.put(message("jack", "mike", "四"));
    time::timeout(Duration::from_secs(1), put)
        .await
        .expect_err("there is no room");

    let mut mike = mailboxes.receive("mike")?;
    let mut contents = Vec::new();
    while let Some(response) = mike.next().await? {
        contents.extend(response.message.map(|message| message.content));
    }
    assert_eq!(contents, ["一", "二", "三"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_receiver_is_woken_and_does_not_wait_longer_than_idle() -> Result<(), Status> {
    let mailboxes = small();
    let mut mike = mailboxes.receive("mike")?;
    let start = time::Instant::now();
    let send = async {
        time::sleep(Duration::from_secs(1)).await;
        mailboxes.put(message("jack", "mike", "在吗")).await
    };
    let (response, ()) = tokio::try_join!(mike.next(), send)?;
    assert!(response.is_some());
    assert_eq!(start.elapsed(), Duration::from_secs(1), "not a tick later");

    assert_eq!(mike.next().await?, None);
    let idle = Limits::default().idle;
    assert_eq!(start.elapsed(), Duration::from_secs(1) + idle);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_was_not_acknowledged_comes_again_with_its_number() -> Result<(), Status> {
    let mailboxes = filled().await?;
    let mut numbers = Vec::new();
    let mut mike = mailboxes.receive("mike")?;
    for _ in 0..2 {
        numbers.extend(mike.next().await?.map(|response| response.number));
    }
    mailboxes.acknowledge("mike", numbers[0])?;
    drop(mike); // It dies: it has two, and has dealt with one.

    let mut mike = mailboxes.receive("mike")?;
    let mut again = Vec::new();
    while let Some(response) = mike.next().await? {
        again.push((
            response.number,
            response.message.unwrap_or_default().content,
        ));
    }
    assert_eq!(again[0], (numbers[1], "二".to_owned()));
    assert_eq!(again[1].1, "三");
    assert_eq!(again.len(), 2);
    Ok(())
}

#[tokio::test]
async fn the_last_receiver_that_comes_has_the_mailbox() -> Result<(), Status> {
    let mailboxes = filled().await?;
    let mut old = mailboxes.receive("mike")?;
    old.next().await?;
    let mut new = mailboxes.receive("mike")?;
    let status = old.next().await.expect_err("it was taken over");
    assert_eq!(status.code(), Code::Aborted);
    let first = new.next().await?.and_then(|response| response.message);
    assert_eq!(first.map(|message| message.content).as_deref(), Some("一"));
    Ok(())
}

#[tokio::test]
async fn only_what_was_handed_out_can_be_acknowledged() -> Result<(), Status> {
    let mailboxes = filled().await?;
    let mut mike = mailboxes.receive("mike")?;
    let first = mike.next().await?.map_or(0, |response| response.number);
    for through in [first + 1, u64::MAX] {
        let status = mailboxes
            .acknowledge("mike", through)
            .expect_err("mike has one message");
        assert_eq!(status.code(), Code::OutOfRange);
    }
    mailboxes.acknowledge("mike", first)?;
    assert!(mike.next().await?.is_some(), "the second is still there");

    // Once more, too late, or for nobody: nothing is left to do.
    mailboxes.acknowledge("mike", first)?;
    mailboxes.acknowledge("nobody", u64::MAX)
}

/// However its uses begin and end together, a mailbox that is empty is removed
/// when the last of them has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_empty_mailbox_is_left() -> Result<(), Status> {
    let mailboxes = small();
    for _ in 0..500 {
        let together = Arc::new(Barrier::new(4));
        let uses: Vec<_> = (0..4)
            .map(|_| {
                let (mailboxes, together) = (mailboxes.clone(), Arc::clone(&together));
                tokio::spawn(async move {
                    let receiver = mailboxes.receive("mike");
                    together.wait().await;
                    drop(receiver);
                })
            })
            .collect();
        for each in uses {
            each.await
                .map_err(|error| Status::from_error(error.into()))?;
        }
        assert_eq!(mailboxes.count(), 0);
    }
    Ok(())
}

#[tokio::test]
async fn there_is_room_for_so_many_mailboxes_and_empty_ones_go() -> Result<(), Status> {
    let mailboxes = filled().await?;
    let anna = mailboxes.receive("anna")?;
    let status = mailboxes.receive("李").expect_err("there are two");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(
        status.message(),
        "there are 2 mailboxes, and no room for one more: try again later"
    );
    drop(anna);
    mailboxes.receive("李")?;
    assert_eq!(mailboxes.count(), 1, "mike's has messages, 李's has not");
    Ok(())
}
