//! A model on a device: texts in, vectors out, packed into batches without padding.

use super::files::{Misfit, Model};
use super::layout::LayerShape;
use super::plan::{record, row};
use super::quant::{Kept, Recipe};
use crate::base::error::{Error, Result};
use crate::base::limits::IN_FLIGHT_MAX;
use crate::device::{Device, Done, Output, ProgramId, Queue, QueueOptions, Wake, Weights};
use crate::ops::low::{self, PRECISIONS, Precision};
use crate::ops::tokens::{Grids, write_head};
use crate::plan::OUTPUT_HEAD;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Sequences of a batch, at most.
const SEQUENCES_MAX: usize = 1024;
/// Tokens of a batch, at most.
const BATCH_TOKENS_MAX: usize = 1 << 16;

/// How an encoder takes texts together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderOptions {
    /// Tokens of a batch, at most; 0: 256 on the processor, where larger ones gain nothing, 8,192 elsewhere. At least
    /// as many as the model's longest text has, at most 65,536. Memory grows with it.
    pub batch_tokens: usize,
    /// Batches in flight, 1 to 16.
    pub in_flight: usize,
    /// The element type of linear layers; all else is F32, see [`low`]. `None`: what the folder says, which is F32
    /// where [`quantise`](super::quantise) has not written it. `Int8` is calibrated when the encoder is made, on texts
    /// of ours, which takes the time of some hundred texts.
    pub precision: Option<Precision>,
}

impl Default for EncoderOptions {
    fn default() -> Self {
        Self { batch_tokens: 0, in_flight: 2, precision: None }
    }
}

impl EncoderOptions {
    /// What is kept in which type, where a device has all of them.
    fn recipe(&self, model: &Model, device: &Device) -> Result<Recipe> {
        if !(1..=IN_FLIGHT_MAX).contains(&self.in_flight) {
            return Err(Error::invalid(format!("in_flight: 1 to {IN_FLIGHT_MAX}")));
        }
        supported(device)?;
        let recipe = match self.precision {
            None => Recipe::stored(&model.inner)?,
            Some(_) if model.inner.tensors.quantised() => {
                let what =
                    "precision: the folder is quantised and says what its layers are; leave it out";
                return Err(Error::invalid(what));
            }
            Some(precision) => Recipe::new(model, precision)?,
        };
        Ok(recipe)
    }
}

/// Whether a device has what it takes: the processor has, unless instructions were asked for in vain.
fn supported(device: &Device) -> Result<()> {
    if !device.caps().serial {
        return Ok(());
    }
    low::tier().map(|_| ())
}

/// Vectors of one length, in the order of the texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    dim: usize,
    values: Vec<f32>,
}

impl Embeddings {
    /// Values of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The vectors, in order.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.dim)
    }

    /// All values, vector after vector.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

impl std::ops::Index<usize> for Embeddings {
    type Output = [f32];
    fn index(&self, i: usize) -> &[f32] {
        &self.values[i * self.dim..][..self.dim]
    }
}

/// Wakes who waits for a batch.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    more: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.more.notify_all();
    }

    /// Sleeps until it has rung since the last wait, or a while.
    fn wait(&self) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.more.wait_timeout_while(rung, Duration::from_millis(10), |rung| !*rung);
        *wait.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

/// A model on a device: its weights, which other encoders may share, and a queue of its own.
pub struct Encoder {
    model: Model,
    device: Device,
    options: EncoderOptions,
    recipe: Arc<Recipe>,
    weights: Vec<Weights>,
    queue: Box<dyn Queue>,
    program: ProgramId,
    grids: Grids,
    batch_tokens: usize,
    batch_sequences: usize,
    steps: usize,
    head: Vec<u32>,
    bell: Arc<Bell>,
}

impl Encoder {
    /// Brings a model's weights to a device, once, and makes what a worker needs.
    ///
    /// # Errors
    /// `Invalid` for options out of range; `Unsupported` when a part of the weights exceeds what one binding of the
    /// device spans, or memory runs out; `DeviceLost`.
    pub fn new(model: &Model, device: &Device, options: EncoderOptions) -> Result<Self> {
        let outputs = options.in_flight;
        Self::with_outputs(model, device, options, outputs)
    }

    /// As `new`, for who holds on to so many outputs at a time, those in flight included.
    pub(crate) fn with_outputs(
        model: &Model,
        device: &Device,
        options: EncoderOptions,
        outputs: usize,
    ) -> Result<Self> {
        let recipe = options.recipe(model, device)?;
        Self::with_recipe(model, device, recipe, (options, outputs))
    }

    /// As `new`, with its layers kept in types of their own.
    pub(super) fn with_recipe(
        model: &Model,
        device: &Device,
        recipe: Recipe,
        options: (EncoderOptions, usize),
    ) -> Result<Self> {
        let shape = LayerShape::new(&model.inner.config);
        let weights = shape.weights(&model.inner, &recipe, device)?;
        let weights = (Arc::new(recipe), weights);
        Self::over(model.clone(), device.clone(), weights, options)
    }

    /// Another encoder over the same weights, with a queue and memory of its own: one for each thread.
    ///
    /// # Errors
    /// As for `new`.
    pub fn worker(&self) -> Result<Self> {
        let weights = (Arc::clone(&self.recipe), self.weights.clone());
        let options = (self.options.clone(), self.options.in_flight);
        Self::over(self.model.clone(), self.device.clone(), weights, options)
    }

    fn over(
        model: Model,
        device: Device,
        (recipe, weights): (Arc<Recipe>, Vec<Weights>),
        (options, outputs): (EncoderOptions, usize),
    ) -> Result<Self> {
        let least = model.tokens_max();
        let batch_tokens = match options.batch_tokens {
            0 => if device.caps().serial { 256 } else { 8192 }.max(least),
            tokens => tokens,
        };
        if !(least..=BATCH_TOKENS_MAX).contains(&batch_tokens) {
            return Err(Error::invalid(format!("batch_tokens: {least} to {BATCH_TOKENS_MAX}")));
        }
        let batch_sequences = batch_tokens.min(SEQUENCES_MAX);
        let words: Vec<usize> = weights.iter().map(Weights::words).collect();
        let most = (batch_tokens, batch_sequences);
        let recorded = record(&model.inner.config, &recipe, &words, most);
        let in_flight = options.in_flight;
        let mut queue = device.queue(QueueOptions { in_flight, outputs })?;
        queue.attach(&weights)?;
        queue.alloc(&recorded.memory.buffers[weights.len()..])?;
        let program = queue.compile(&recorded.plan, &recorded.memory)?;
        let bell = Arc::new(Bell::default());
        let ring = Arc::clone(&bell);
        queue.on_done(Arc::new(move || ring.ring()));
        Ok(Self {
            model,
            device,
            options,
            recipe,
            weights,
            queue,
            program,
            grids: recorded.grids,
            batch_tokens,
            batch_sequences,
            steps: recorded.plan.steps.len(),
            head: Vec::new(),
            bell,
        })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Tokens of a batch, at most.
    pub fn batch_tokens(&self) -> usize {
        self.batch_tokens
    }

    /// The element types of its linear layers, each once.
    pub fn precisions(&self) -> Vec<Precision> {
        let kept = || self.recipe.layers.iter().flatten().map(Kept::precision);
        PRECISIONS.into_iter().filter(|precision| kept().any(|kept| kept == *precision)).collect()
    }

    /// Kernels that a forward pass runs, whatever the batch.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// What [`classify`](Self::classify) finds scores for, in their order; `None` for a model without a classifier.
    pub fn labels(&self) -> Option<&[String]> {
        self.model.labels()
    }

    /// Scores of every class for each text: the classifier's outputs as they are (logits), one for each of
    /// [`labels`](Self::labels). What is largest is most likely.
    ///
    /// # Errors
    /// `Invalid` for a model without a classifier; also as for `embed`.
    pub fn classify(&mut self, texts: &[&str]) -> Result<Embeddings> {
        self.texts(texts, true)
    }

    /// The same from token ids, special ones included.
    ///
    /// # Errors
    /// As for `embed_tokens` and `classify`.
    pub fn classify_tokens(&mut self, sequences: &[&[u32]]) -> Result<Embeddings> {
        self.tokens(sequences, true)
    }

    /// Scores, or embeddings, of texts.
    fn texts(&mut self, texts: &[&str], scores: bool) -> Result<Embeddings> {
        let tokens: Vec<Vec<u32>> = texts.iter().map(|text| self.model.tokens(text)).collect();
        let tokens: Vec<&[u32]> = tokens.iter().map(|tokens| &tokens[..]).collect();
        self.tokens(&tokens, scores)
    }

    /// Scores, or embeddings, of token ids.
    fn tokens(&mut self, sequences: &[&[u32]], scores: bool) -> Result<Embeddings> {
        self.wants(scores)?;
        self.check(sequences)?;
        self.run(sequences)
    }

    /// Whether the model makes what was asked for.
    fn wants(&self, scores: bool) -> Result<()> {
        match (scores, self.labels()) {
            (false, Some(_)) => Err(Error::invalid(
                "the model has a classification head and makes scores, not embeddings: use classify",
            )),
            (true, None) => Err(Error::invalid(
                "the model has no classification head and makes embeddings: use embed",
            )),
            _ => Ok(()),
        }
    }

    /// A vector for each text. An empty text has one, too.
    ///
    /// # Errors
    /// `Invalid` for a model with a classifier;
    /// `DeviceLost`, `Unsupported` (out of memory on the device); the encoder is of no use then.
    pub fn embed(&mut self, texts: &[&str]) -> Result<Embeddings> {
        self.texts(texts, false)
    }

    /// The same from token ids, special ones included, as [`Model::tokens`] makes them.
    ///
    /// # Errors
    /// `Invalid` for a sequence that is empty or longer than the model takes, and for an id out of range; also as for
    /// `embed`.
    pub fn embed_tokens(&mut self, sequences: &[&[u32]]) -> Result<Embeddings> {
        self.tokens(sequences, false)
    }

    /// Whether sequences are such as the model takes.
    fn check(&self, sequences: &[&[u32]]) -> Result<()> {
        for (i, ids) in sequences.iter().enumerate() {
            let what = match self.model.misfit(ids) {
                None => continue,
                Some(Misfit::Length) => {
                    format!("{} tokens, not 1 to {}", ids.len(), self.model.tokens_max())
                }
                Some(Misfit::Token(at)) => {
                    format!("token {}, not below {}", ids[at], self.model.vocab())
                }
            };
            return Err(Error::invalid(format!("sequence {i}: {what}")));
        }
        Ok(())
    }

    fn run(&mut self, sequences: &[&[u32]]) -> Result<Embeddings> {
        let (dim, _) = self.widths();
        let mut values = Vec::with_capacity(sequences.len() * dim);
        let mut rest = sequences;
        while values.len() < sequences.len() * dim {
            let (batch, behind) = rest.split_at(self.batch(rest));
            if !batch.is_empty() && self.room() {
                self.send(batch)?;
                rest = behind;
                continue;
            }
            match self.done()? {
                Some(done) => self.take(done.output.as_ref(), &mut values)?,
                None => self.bell.wait(),
            }
        }
        Ok(Embeddings { dim, values })
    }

    /// Values of a result, and how far apart results lie in an output.
    pub(crate) fn widths(&self) -> (usize, usize) {
        let dim = self.labels().map_or(self.model.dim(), <[String]>::len);
        (dim, row(&self.model.inner.config))
    }

    /// Sequences of a batch, at most.
    pub(crate) fn batch_sequences(&self) -> usize {
        self.batch_sequences
    }

    /// Whether there is room for a batch.
    pub(crate) fn room(&mut self) -> bool {
        self.queue.room(self.program)
    }

    /// Sends a batch, for which there is room: checked sequences, as many and as long as a batch may have.
    pub(crate) fn send<S: AsRef<[u32]>>(&mut self, batch: &[S]) -> Result<()> {
        write_head(batch, &self.grids, &mut self.head);
        self.queue.submit(self.program, &self.head, Vec::new())?;
        Ok(())
    }

    /// Hands over to the device what `send` held back.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.queue.flush()
    }

    /// The oldest batch that is not back yet, when it is done: vectors behind the head of its output, in order.
    pub(crate) fn done(&mut self) -> Result<Option<Done>> {
        self.queue.poll()
    }

    /// Says what to call when a batch is done.
    pub(crate) fn wake(&mut self, wake: Wake) {
        self.queue.on_done(wake);
    }

    /// How many of these make the next batch.
    fn batch(&self, sequences: &[&[u32]]) -> usize {
        let mut tokens = 0;
        let fits = sequences.iter().take(self.batch_sequences).take_while(|ids| {
            tokens += ids.len();
            tokens <= self.batch_tokens
        });
        fits.count()
    }

    fn take(&self, output: Option<&Output>, values: &mut Vec<f32>) -> Result<()> {
        match output {
            Some(output) if output.len() > OUTPUT_HEAD => {
                let (dim, apart) = self.widths();
                let rows = output[OUTPUT_HEAD..].chunks_exact(apart);
                let used = rows.flat_map(|row| &row[..dim]);
                values.extend(used.map(|&bits| f32::from_bits(bits)));
                Ok(())
            }
            _ => Err(Error::unsupported(&self.device.caps().name, "it computes nothing")),
        }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoder({:?}, {:?})", self.model, self.device)
    }
}
