//! Encoders beside `encoder`: their families, their tokenizers, and texts in streams.

#[path = "../cuda_host/mod.rs"]
mod cuda_host;
#[path = "../encoder/family.rs"]
mod family;
#[path = "../encoder/model.rs"]
mod model;

mod families;
mod texts;
mod wordpiece;
