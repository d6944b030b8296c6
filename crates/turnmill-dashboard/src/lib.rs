//! The dashboard's pages, their assets and its JSON API, as an axum router.
//!
//! What is absent here: SQL, drivers, rules and access control. Numbers come from a value that
//! implements [`Answers`]; the caller restricts access to the router.
//!
//! - [`router`] builds the router.
//! - [`Answers`] is implemented by its caller, for a store.
//! - [`Subject`] is what the API asks it.
//!
//! ```
//! use std::sync::Arc;
//! use turnmill_dashboard::{AnswerFuture, Answers, Refusal, Subject, router};
//!
//! struct Nothing;
//!
//! impl Answers for Nothing {
//!     fn answer(&self, subject: Subject) -> AnswerFuture<'_> {
//!         Box::pin(async move {
//!             match subject {
//!                 Subject::Store => Ok(r#"{"name": "nothing"}"#.into()),
//!                 _ => Err(Refusal::NotFound { name: "it".into() }),
//!             }
//!         })
//!     }
//! }
//!
//! let site: axum::Router = router(Arc::new(Nothing));
//! ```

mod api;
mod assets;
mod headers;
mod parameters;
mod question;

use std::sync::Arc;

use axum::Router;

pub use self::question::{AnswerFuture, Answers, Filter, Refusal, Subject};

/// Returns the routes of the dashboard: its pages, `/assets/...` and `/api/v1/...`.
///
/// | path | response |
/// | --- | --- |
/// | `/`, `/overview`, `/conversations/...` and the other pages | the page; its script reads the address |
/// | `/assets/...` | scripts, style sheet, icon and licences, with an `ETag` |
/// | `/api/v1/store` | [`Subject::Store`] |
/// | `/api/v1/metrics` | the descriptions of all metrics |
/// | `/api/v1/metrics/{id}` | [`Subject::Metric`] |
/// | `/api/v1/values/{filter}` | [`Subject::Values`] |
/// | `/api/v1/conversations` | [`Subject::Conversations`] |
/// | `/api/v1/conversations/{session}` | [`Subject::Conversation`] |
///
/// Every response has a content security policy that allows nothing from elsewhere. At most four
/// questions are answered at a time; the others wait.
pub fn router(answers: Arc<dyn Answers>) -> Router {
    Router::new()
        .merge(assets::router())
        .merge(api::router(answers))
        .layer(axum::middleware::from_fn(headers::add))
}
