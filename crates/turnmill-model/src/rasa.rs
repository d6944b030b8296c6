//! Rasa's event bodies.
