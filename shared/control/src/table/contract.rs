//! What every table must do.
