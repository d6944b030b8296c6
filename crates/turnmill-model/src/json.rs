//! JSON as assistants write it.
