//! The service: it knows who calls, and nothing of tokens.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::broadcast;
use tokio_stream::{
    Stream, StreamExt,
    wrappers::{BroadcastStream, errors::BroadcastStreamRecvError},
};
use tonic::{Extensions, Request, Response, Status};

use crate::{
    pb::{
        CloseAccountRequest, CloseAccountResponse, GetBalanceRequest, GetBalanceResponse,
        TransferRequest, TransferResponse, WatchTransfersRequest, WatchTransfersResponse,
        account_service_server::AccountService,
    },
    token::Claims,
};

/// A client that watches transfers may be so many behind.
const BEHIND: usize = 64;

/// The accounts, by whose they are. A clone shares them.
#[derive(Clone, Debug)]
pub struct Accounts {
    cents: Arc<Mutex<HashMap<String, u64>>>,
    transfers: broadcast::Sender<WatchTransfersResponse>,
}

impl Accounts {
    /// Accounts with so many cents.
    pub fn new<'a>(accounts: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        let accounts = accounts.into_iter();
        let cents = accounts.map(|(who, cents)| (who.to_owned(), cents));
        Self {
            cents: Arc::new(Mutex::new(cents.collect())),
            transfers: broadcast::Sender::new(BEHIND),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        // A task that panicked has left it whole: nothing in between can.
        self.cents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn balance(&self, who: &str) -> Result<u64, Status> {
        let cents = self.lock().get(who).copied();
        cents.ok_or_else(|| Status::not_found("you have no account here"))
    }

    /// What is left.
    fn transfer(&self, from: &str, to: &str, cents: u64) -> Result<u64, Status> {
        if cents == 0 {
            return Err(Status::invalid_argument("`cents` is 0: send at least 1"));
        }
        if from == to {
            return Err(Status::invalid_argument("`to` is your own account"));
        }
        let mut accounts = self.lock();
        let has = accounts.get(from);
        let has = *has.ok_or_else(|| Status::not_found("you have no account here"))?;
        let left = has.checked_sub(cents).ok_or_else(|| {
            Status::failed_precondition(format!("there are only {has} cents in your account"))
        })?;
        let other = accounts.get_mut(to);
        let other = other.ok_or_else(|| Status::not_found("nobody has the account `to`"))?;
        *other = other
            .checked_add(cents)
            .ok_or_else(|| Status::failed_precondition("the account `to` is full"))?;
        accounts.insert(from.to_owned(), left);
        // While it is locked, so that they are told in their order. None may watch.
        let told = WatchTransfersResponse {
            from: from.to_owned(),
            to: to.to_owned(),
            cents,
        };
        self.transfers.send(told).ok();
        Ok(left)
    }
}

// ANCHOR: caller
/// Whose account it is. It is not in the request: there a caller could write what
/// they like.
///
/// # Errors
///
/// `INTERNAL` if nobody has looked at the token: the service is served without its
/// layer.
fn caller(extensions: &Extensions) -> Result<&Claims, Status> {
    extensions.get().ok_or_else(|| {
        tracing::error!("a call has come past the door");
        Status::internal("the server has made a mistake")
    })
}
// ANCHOR_END: caller

#[tonic::async_trait]
impl AccountService for Accounts {
    // ANCHOR: get_balance
    async fn get_balance(
        &self,
        request: Request<GetBalanceRequest>,
    ) -> Result<Response<GetBalanceResponse>, Status> {
        let caller = caller(request.extensions())?;
        let cents = self.balance(&caller.sub)?;
        Ok(Response::new(GetBalanceResponse { cents }))
    }
    // ANCHOR_END: get_balance

    async fn transfer(
        &self,
        request: Request<TransferRequest>,
    ) -> Result<Response<TransferResponse>, Status> {
        let from = caller(request.extensions())?.sub.clone();
        let TransferRequest { to, cents } = request.into_inner();
        let cents = self.transfer(&from, &to, cents)?;
        Ok(Response::new(TransferResponse { cents }))
    }

    type WatchTransfersStream =
        Pin<Box<dyn Stream<Item = Result<WatchTransfersResponse, Status>> + Send>>;

    async fn watch_transfers(
        &self,
        request: Request<WatchTransfersRequest>,
    ) -> Result<Response<Self::WatchTransfersStream>, Status> {
        let who = caller(request.extensions())?.sub.clone();
        let transfers = BroadcastStream::new(self.transfers.subscribe());
        self.balance(&who)?;
        let theirs = transfers.filter_map(move |transfer| match transfer {
            Ok(told) => (told.from == who || told.to == who).then_some(Ok(told)),
            Err(BroadcastStreamRecvError::Lagged(missed)) => Some(Err(Status::data_loss(format!(
                "{missed} transfers were missed: read faster, and call again"
            )))),
        });
        Ok(Response::new(Box::pin(theirs)))
    }

    async fn close_account(
        &self,
        _: Request<CloseAccountRequest>,
    ) -> Result<Response<CloseAccountResponse>, Status> {
        Err(Status::unimplemented("accounts are kept for ever"))
    }
}
