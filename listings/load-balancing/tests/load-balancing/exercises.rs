//! The exercise of the chapter. The test passes because it is expected to panic:
//! remove that line, and the test fails until the exercise is solved.

use std::sync::Arc;

use load_balancing::{
    backend::{Backend, Pending},
    policy::{LeastPending, Policy},
};

#[test]
#[should_panic(expected = "the strong one is taken for busy")]
fn exercise_1_pending_calls_are_counted_by_weight() {
    let backend = |port, weight| Arc::new(Backend::new(([127, 0, 0, 1], port).into(), weight));
    let both = [backend(1, 3), backend(2, 1)];
    let policy = LeastPending::default();
    let in_progress = [&both[0], &both[0], &both[1]].map(|one| Pending::new(one.clone()));
    for _ in 0..10 {
        let picked = policy.pick(&both);
        assert!(
            Arc::ptr_eq(picked, &both[0]),
            "the strong one is taken for busy"
        );
    }
    drop(in_progress);
    let _four = [0; 4].map(|one: usize| Pending::new(both[one].clone()));
    let picked = policy.pick(&both);
    assert!(
        Arc::ptr_eq(picked, &both[1]),
        "the weak one has nothing to do"
    );
}
