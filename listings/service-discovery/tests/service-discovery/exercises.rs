//! The exercise of the chapter. The test passes because it is expected to panic:
//! remove that line, and the test fails until the exercise is solved.

use service_discovery::{
    address::Address,
    resolve::{Map, resolve},
    target::Target,
};

#[tokio::test]
#[should_panic(expected = "a set of addresses is no target yet")]
async fn exercise_1_a_target_can_be_a_set_of_addresses() {
    let text = "ipv4:127.0.0.1:50051,127.0.0.1:50052";
    let target: Target = text.parse().expect("a set of addresses is no target yet");
    assert_eq!(target.to_string(), text);
    let name = resolve(&target, &Map::new()).expect("there is nothing to resolve");
    let known = name.known.borrow().clone().unwrap_or_default();
    let addresses: Vec<_> = known.addresses.into_iter().collect();
    let expected = [50051, 50052].map(|port| Address::Tcp(([127, 0, 0, 1], port).into()));
    assert_eq!(addresses, expected);
    for bad in [
        "ipv4:",
        "ipv4:127.0.0.1",
        "ipv4:127.0.0.1:50051,",
        "ipv4:[::1]:50051",
        "ipv4:localhost:50051",
    ] {
        assert!(bad.parse::<Target>().is_err(), "{bad}");
    }
}
