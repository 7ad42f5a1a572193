//! One test for each Rust block of the pages, made by `build.rs` with skeptic.

/// What the generated tests call: skeptic's own runtime, with this book's
/// compiler, and messages that name the page.
mod skeptic {
    pub mod rt {
        use std::{env, panic, sync::Once};

        type Test = fn(&str, &str, &str, &str);

        pub fn run_test(root: &str, out: &str, target: &str, text: &str) {
            check(::skeptic::rt::run_test, root, out, target, text);
        }

        pub fn compile_test(root: &str, out: &str, target: &str, text: &str) {
            check(::skeptic::rt::compile_test, root, out, target, text);
        }

        fn check(test: Test, root: &str, out: &str, target: &str, text: &str) {
            prepare();
            let fails = |test: Test| panic::catch_unwind(|| test(root, out, target, text)).is_err();
            let (place, expected) = place_of(text);
            let broken = if expected == "should_panic" {
                // skeptic alone would take an error of the compiler for the panic.
                if fails(::skeptic::rt::compile_test) {
                    Some("does not compile")
                } else if !fails(::skeptic::rt::run_test) {
                    Some("should panic and does not")
                } else {
                    None
                }
            } else {
                fails(test).then_some("fails")
            };
            if let Some(what) = broken {
                panic!(
                    "\n{place}: this Rust block {what}; what the compiler or the program said is above.\n\
                     Mend the block, or the listing that it includes.\n"
                );
            }
        }

        /// `//@ src/page.md:7 should_panic`, the first line that `build.rs` writes.
        fn place_of(text: &str) -> (&str, &str) {
            let first = text.trim_start().lines().next().unwrap_or_default();
            let first = first
                .strip_prefix("//@ ")
                .expect("build.rs names the place");
            first.split_once(' ').unwrap_or((first, ""))
        }

        fn prepare() {
            static ONCE: Once = Once::new();
            ONCE.call_once(|| {
                // SAFETY: std's lock orders this with every reader in Rust, and no
                // code that reads the environment without it runs in these tests.
                unsafe { env::set_var("RUSTC", env!("CARGO_BIN_EXE_snippet-rustc")) };

                // skeptic panics with the compiler's whole command, pages of it:
                // what `check` says below is what helps.
                let print = panic::take_hook();
                panic::set_hook(Box::new(move |panic| {
                    let said = panic.payload().downcast_ref::<String>();
                    if !said.is_some_and(|said| said.starts_with("Command failed:")) {
                        print(panic);
                    }
                }));
            });
        }
    }
}

include!(concat!(env!("OUT_DIR"), "/skeptic-tests.rs"));
