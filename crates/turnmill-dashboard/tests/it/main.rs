//! Integration tests of `turnmill-dashboard`.

mod site;
