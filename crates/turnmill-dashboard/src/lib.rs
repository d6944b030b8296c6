//! The dashboard's pages, their assets and its JSON API, as an axum router.
//!
//! What is absent here: SQL, drivers, rules and access control. Numbers come from a value that
//! implements [`Answers`]; the caller restricts access to the router.
//!
//! - [`router`] builds the router, and [`site`] one with a front page.
//! - [`Answers`] is implemented by its caller, for a store.
//! - [`Subject`] is what the API asks it.
//!
//! ```
//! use std::sync::Arc;
//! use turnmill_dashboard::{AnswerFuture, Answers, QUESTIONS, Refusal, Subject, site};
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
//! let site: axum::Router = site(Arc::new(Nothing), QUESTIONS);
//! ```

mod api;
mod assets;
mod headers;
mod parameters;
mod question;

use std::sync::Arc;

use axum::Router;

pub use self::question::{AnswerFuture, Answers, Filter, Refusal, Subject};

/// Number of questions that are answered at a time, unless the caller chooses another one.
pub const QUESTIONS: usize = 4;

/// Returns the routes of the dashboard: its pages, `/assets/...` and `/api/v1/...`.
///
/// | path | response |
/// | --- | --- |
/// | `/overview`, `/conversations/...` and the other pages | the page; its script reads the address |
/// | `/assets/...` | scripts, style sheet, icon and licences, with an `ETag` |
/// | `/api/v1/store` | [`Subject::Store`] |
/// | `/api/v1/metrics` | the descriptions of all metrics |
/// | `/api/v1/metrics/{id}` | [`Subject::Metric`] |
/// | `/api/v1/values/{filter}` | [`Subject::Values`] |
/// | `/api/v1/conversations` | [`Subject::Conversations`] |
/// | `/api/v1/conversations/{session}` | [`Subject::Conversation`] |
/// | `/api/v1/conversations/{session}/events` | [`Subject::Events`] |
/// | `POST /api/v1/markers/preview` | [`Subject::Preview`] |
///
/// Every response has a content security policy that allows nothing from elsewhere. At most
/// `questions` are answered at a time; the others wait.
pub fn router(answers: Arc<dyn Answers>, questions: usize) -> Router {
    with_headers(assets::router().merge(api::router(answers, questions)))
}

/// Returns the routes of [`router`], and the overview at `/`: a site of nothing but the dashboard.
pub fn site(answers: Arc<dyn Answers>, questions: usize) -> Router {
    router(answers, questions).merge(with_headers(assets::front()))
}

fn with_headers(router: Router) -> Router {
    router.layer(axum::middleware::from_fn(headers::add))
}
