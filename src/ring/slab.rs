//! stub
pub struct Slab;
