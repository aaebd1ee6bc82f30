//! Floor 3: transformers: operators recorded in order, over the files of a model folder.
//!
//! A [`Model`] is an unmodified folder of Hugging Face or sentence-transformers, read once into memory and checked; an
//! [`Encoder`] is the model on a device, with a queue and memory of its own. What a text becomes depends on the text
//! alone: not on the others in its batch, nor on their number or order, bit for bit on one device.
//!
//! ```no_run
//! use pelton::model::{Encoder, EncoderOptions, Model};
//!
//! let model = Model::load("all-MiniLM-L6-v2")?;
//! let mut encoder = Encoder::new(&model, &pelton::Device::best(), EncoderOptions::default())?;
//! let found = encoder.embed(&["a fast jet of water", "ein schneller Wasserstrahl"])?;
//! assert_eq!((found.len(), found.dim()), (2, model.dim()));
//! # Ok::<(), pelton::Error>(())
//! ```
//!
//! Files are hostile: every size is compared with limits and with the file's length before memory is taken for it, and
//! what is wrong is an [`Error::Source`](crate::Error::Source) that names file and field.

mod added;
mod bpe;
mod config;
mod encoder;
mod family;
mod files;
mod json;
mod layout;
mod normal;
mod pieces;
mod plan;
mod quant;
mod quantise;
mod safetensors;
mod samples;
mod tokenizer;
mod unigram;
mod wordpiece;

pub use config::Pooling;
pub use encoder::{Embeddings, Encoder, EncoderOptions};
pub(crate) use files::Misfit;
pub use files::Model;
pub use quantise::{Accuracy, Product, QuantiseOptions, Quantised, quantise};

pub use crate::ops::low::Precision;
