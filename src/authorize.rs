//! `createBroker({authorize})`: questions to JavaScript about registrations, and its answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use linkup_broker::{AuthRequest, Authorize, Decision};
use napi_derive::napi;
use serde_json::json;
use tokio::sync::oneshot;

use crate::mailbox::{Kind, Mailbox, Value};

type Answer = oneshot::Sender<Result<(), String>>;

/// The questions that JavaScript was asked, until it has answered or nobody waits any more.
static ASKED: Mutex<Option<HashMap<u32, Answer>>> = Mutex::new(None);

fn take(question: u32) -> Option<Answer> {
    ASKED.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.remove(&question)
}

/// Asks JavaScript who may register at one broker.
pub struct Hook {
    /// The environment's mailbox.
    pub mailbox: Arc<Mailbox>,
    /// The broker's handle.
    pub broker: u32,
}

/// A question. Dropped, nobody waits for its answer.
struct Question(u32);

impl Drop for Question {
    fn drop(&mut self) {
        drop(take(self.0));
    }
}

impl Authorize for Hook {
    fn authorize(&self, request: AuthRequest) -> Decision {
        let question = Question(linkup_driver::next_id());
        let (answer, answered) = oneshot::channel();
        ASKED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(question.0, answer);
        let AuthRequest { id, token, origin, address } = request;
        let address = address.to_string();
        let info = json!({
            "broker": self.broker, "id": id.as_str(), "token": token, "origin": origin, "address": address,
        });
        self.mailbox.post(Kind::Authorize, question.0, Value::Text(info.to_string()), Value::Null);
        Box::pin(async move {
            let decision = answered.await;
            drop(question);
            decision.unwrap_or_else(|_| Err("the broker closes".to_owned()))
        })
    }
}

/// The decision about an AUTHORIZE: a reason denies.
#[napi(catch_unwind)]
pub fn authorized(question: u32, reason: Option<String>) {
    if let Some(answer) = take(question) {
        // Nobody waits any more where it took too long.
        let _ = answer.send(reason.map_or(Ok(()), Err));
    }
}
