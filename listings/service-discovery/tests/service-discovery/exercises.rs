//! The exercise of the chapter. The test passes because it is expected to panic:
//! remove that line, and the test fails until the exercise is solved.

use service_discovery::{
    resolve::{Map, resolve},
    target::Target,
};

#[tokio::test]
#[should_panic(expected = "a set of addresses is no target yet")]
async fn exercise_a_target_may_be_a_set_of_addresses() {
    let target = "ipv4:127.0.0.1:50051,127.0.0.1:50052".parse::<Target>();
    let target = target.expect("a set of addresses is no target yet");
    let name = resolve(&target, &Map::new()).expect("there is nothing to resolve");
    let known = name.known.borrow().clone().unwrap_or_default();
    assert_eq!(known.addresses.len(), 2);
    for bad in [
        "ipv4:",
        "ipv4:127.0.0.1",
        "ipv4:[::1]:50051",
        "ipv4:localhost:50051",
    ] {
        assert!(bad.parse::<Target>().is_err(), "{bad}");
    }
}
