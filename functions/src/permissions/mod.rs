//! What the functions ask of AWS, and the rights that they need for it: one table, from which the statements of the roles in
//! `template.yaml` are written.
//!
//! A new call of an adapter is a new row of the table; `UPDATE_EXPECT=1 cargo test -p whole --test it statements` then writes
//! the statements anew.

mod call;
mod function;
mod places;
mod rights;
mod statements;
mod table;

pub use call::Call;
pub use function::Function;
pub use places::{On, Place};
pub use statements::{launch_statements, statements};
pub use table::{CALLS, UNBOUNDED};
