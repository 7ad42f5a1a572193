//! The exercise of the chapter. The test passes because it is expected to panic:
//! remove that line, and the test fails until the exercise is solved.

use std::sync::Arc;

use load_balancing::{
    backend::Backend,
    policy::{Policy, Weighted},
};

#[test]
#[should_panic(expected = "one without weight is called")]
fn exercise_a_weight_of_0_is_for_when_there_is_nobody_else() {
    let backend = |port, weight| Arc::new(Backend::new(([127, 0, 0, 1], port).into(), weight));
    let (none, one) = (backend(1, 0), backend(2, 1));
    let policy = Weighted::default();
    for _ in 0..10 {
        let picked = policy.pick(std::slice::from_ref(&none));
        assert!(Arc::ptr_eq(picked, &none), "nobody is called");
    }
    let both = [none, one];
    for _ in 0..10 {
        let picked = policy.pick(&both);
        assert!(
            Arc::ptr_eq(picked, &both[1]),
            "one without weight is called"
        );
    }
}
