//! MiniLM as a user of candle would run it: its BERT, mean pooling, length 1.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use std::path::Path;

pub struct Rival(BertModel);

impl Rival {
    pub fn load(folder: &Path) -> Self {
        let config = std::fs::read(folder.join("config.json")).expect("it can be read");
        let config: Config = serde_json::from_slice(&config).expect("it is a configuration");
        let bytes = std::fs::read(folder.join("model.safetensors")).expect("it can be read");
        let load = || {
            let vars = VarBuilder::from_buffered_safetensors(bytes, DType::F32, &Device::Cpu)?;
            BertModel::load(vars, &config)
        };
        Self(load().expect("the model loads"))
    }

    /// Embeddings of sequences of one length.
    pub fn embed(&self, ids: &[u32], length: usize) -> Vec<f32> {
        self.forward(ids, length).expect("it runs")
    }

    fn forward(&self, ids: &[u32], length: usize) -> Result<Vec<f32>> {
        let ids = Tensor::from_slice(ids, (ids.len() / length, length), &Device::Cpu)?;
        let hidden = self.0.forward(&ids, &ids.zeros_like()?, None)?;
        let mean = (hidden.sum(1)? / length as f64)?;
        let norm = mean.sqr()?.sum_keepdim(1)?.sqrt()?;
        mean.broadcast_div(&norm)?.flatten_all()?.to_vec1()
    }
}
