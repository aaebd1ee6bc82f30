//! Floor 5: where events come from and where results go, as text files have them.

pub mod csv;
pub mod keys;
pub mod text;
