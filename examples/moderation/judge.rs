//! What a message's vector means: a classifier's label, or the topic nearest to it.

use pelton::model::{Encoder, EncoderOptions, Model};
use pelton::{Device, Error};
use std::path::Path;

/// Bytes of a file of topics, at most.
const TOPICS_BYTES_MAX: u64 = 1 << 20;

/// How vectors are read.
pub(crate) enum Judge {
    /// A value for each label: the largest wins.
    Classes(Vec<String>),
    /// Labels and vectors of length 1, to compare with.
    Topics(Vec<(String, Vec<f32>)>),
}

impl Judge {
    /// For a model, with topics where it has no labels.
    ///
    /// # Errors
    /// `Invalid` for topics that are missing or not wanted, `Source` for a file that cannot be read; what devices say.
    pub(crate) fn new(
        model: &Model,
        device: &Device,
        options: EncoderOptions,
        file: Option<&Path>,
    ) -> Result<Self, Error> {
        match (model.labels(), file) {
            (Some(labels), None) => Ok(Self::Classes(labels.to_vec())),
            (Some(_), Some(_)) => Err(Error::invalid(
                "--topics: the model has a classification head, whose labels are used; leave it out",
            )),
            (None, None) => Err(Error::invalid(
                "--topics FILE is missing: the model makes embeddings, which are compared with topics",
            )),
            (None, Some(file)) => {
                let topics = topics(file)?;
                let texts: Vec<&str> = topics.iter().map(|(_, text)| &text[..]).collect();
                let vectors = Encoder::new(model, device, options)?.embed(&texts)?;
                let all = topics.iter().zip(vectors.rows());
                let unit = |row: &[f32]| row.iter().map(|x| x / length(row)).collect();
                Ok(Self::Topics(all.map(|((label, _), row)| (label.clone(), unit(row))).collect()))
            }
        }
    }

    /// The label, and how sure that is: a share of all labels', or a cosine.
    pub(crate) fn label(&self, vector: &[f32]) -> (&str, f32) {
        match self {
            Self::Classes(labels) => {
                let (best, most) = largest(vector.iter().copied());
                let all: f32 = vector.iter().map(|x| (x - most).exp()).sum();
                (&labels[best], 1.0 / all)
            }
            Self::Topics(topics) => {
                let dot = |topic: &[f32]| topic.iter().zip(vector).map(|(a, b)| a * b).sum::<f32>();
                let (best, most) = largest(topics.iter().map(|(_, topic)| dot(topic)));
                (&topics[best].0, most / length(vector))
            }
        }
    }
}

fn length(row: &[f32]) -> f32 {
    // Of a vector of zeros nothing is near.
    row.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE)
}

/// The largest of these and its place; there is one at least.
fn largest(all: impl Iterator<Item = f32>) -> (usize, f32) {
    let better = |best: (usize, f32), now: (usize, f32)| if now.1 > best.1 { now } else { best };
    all.enumerate().fold((0, f32::NEG_INFINITY), better)
}

/// Labels and examples of a file, a line each; empty lines are passed over.
fn topics(path: &Path) -> Result<Vec<(String, String)>, Error> {
    let wrong = |what: String| Error::source(path.display(), what);
    let size = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if size > TOPICS_BYTES_MAX {
        return Err(wrong(format!("larger than {TOPICS_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let topic = |line: &str| {
        let (label, text) = line.split_once('\t').unwrap_or((line, line));
        (label.trim().to_owned(), text.trim().to_owned())
    };
    let topics: Vec<_> = lines.map(topic).collect();
    if topics.is_empty() {
        return Err(wrong("no topic in it; write one a line, `label<TAB>example`".into()));
    }
    Ok(topics)
}
