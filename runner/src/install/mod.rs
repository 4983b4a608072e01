//! Installing.
