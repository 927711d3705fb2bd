//! Calls for which no thread waits.
//!
//! Messages and most calls to the log's services need their connection's thread only until the driver has them. The
//! driver itself puts what came of them into words, and sends it: waking a thread for that cost more than the rest of an
//! answer.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use log::error;
use serde::Serialize;

use super::door::{Promise, Reply};
use super::service::{cannot_encode, stopped};
use crate::node::core::Core;
use crate::xmlrpc::{self, Fault};

/// A call for which no thread waits. Dropped, it is answered with what a caller hears of a node that stopped.
pub(crate) struct Call {
    core: Arc<Core>,
    /// `None` once it is kept.
    promise: Option<Promise>,
}

impl Call {
    pub(crate) fn new(core: &Arc<Core>, promise: Promise) -> Self {
        Self { core: Arc::clone(core), promise: Some(promise) }
    }

    pub(crate) const fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Answers with a fault.
    pub(crate) fn refuse(self, fault: Fault) {
        self.answer(|_| Err::<(), _>(fault));
    }

    /// Answers, without waiting for the client.
    pub(crate) fn answer<A: Serialize>(mut self, outcome: impl FnOnce(&Core) -> Result<A, Fault>) {
        let Some(promise) = self.promise.take() else { return };
        // Unwind safe: nothing of the call is looked at again, and the promise is kept in any case.
        let answered = panic::catch_unwind(AssertUnwindSafe(|| answer(promise, outcome(&self.core))));
        if let Err(cause) = answered {
            let said = <dyn Any>::downcast_ref::<&str>(&*cause).copied().unwrap_or("without words");
            error!("an answer panicked: {said}; this is a bug");
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(promise) = self.promise.take() {
            answer(promise, Err::<(), _>(stopped()));
        }
    }
}

fn answer(promise: Promise, outcome: Result<impl Serialize, Fault>) {
    let mut out = Vec::with_capacity(512);
    let encoded = outcome.and_then(|answer| xmlrpc::to_response(&answer, &mut out).map_err(cannot_encode));
    if let Err(fault) = encoded {
        out.clear();
        xmlrpc::to_fault(&fault, &mut out);
    }
    promise.keep(Reply::xml(out));
}
