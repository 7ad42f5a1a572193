//! Who may do what.

use std::collections::HashMap;

use crate::token::Claims;

// ANCHOR: policy
/// What a caller needs for a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing, not even a token.
    Public,
    /// A token with this scope.
    Scope(&'static str),
}

/// What each method of a server needs. One that is not in here is refused to
/// everybody: adding a method means deciding who may call it.
#[derive(Clone, Debug)]
pub struct Policy {
    methods: HashMap<&'static str, Access>,
}

/// Of this server.
pub const METHODS: [(&str, Access); 5] = [
    (
        "/account.v1.AccountService/GetBalance",
        Access::Scope("accounts.read"),
    ),
    (
        "/account.v1.AccountService/Transfer",
        Access::Scope("accounts.write"),
    ),
    (
        "/account.v1.AccountService/WatchTransfers",
        Access::Scope("accounts.read"),
    ),
    ("/grpc.health.v1.Health/Check", Access::Public),
    ("/grpc.health.v1.Health/Watch", Access::Public),
];
// ANCHOR_END: policy

impl Policy {
    /// With these methods, by their paths.
    pub fn new(methods: impl IntoIterator<Item = (&'static str, Access)>) -> Self {
        Self {
            methods: methods.into_iter().collect(),
        }
    }

    // ANCHOR: allows
    /// Whether anybody may call the method.
    pub fn is_public(&self, method: &str) -> bool {
        self.methods.get(method) == Some(&Access::Public)
    }

    /// Whether somebody with these claims may call the method.
    pub fn allows(&self, method: &str, claims: &Claims) -> bool {
        match self.methods.get(method) {
            Some(Access::Public) => true,
            Some(Access::Scope(scope)) => claims.allow(scope),
            None => false,
        }
    }
    // ANCHOR_END: allows
}
