//! Compiled plans: kernels found in the image, and graphs of them, captured when first needed and kept.
//!
//! A graph's launch sizes are fixed, a batch's are not: each is rounded up to a power of two, and blocks beyond what
//! the header asks for leave at once. So a program has a graph for each place in flight and each combination of
//! rounded sizes that came; of these there are few, since a plan's sizes follow the size of its batch.

use super::Gpu;
use super::completion::Completion;
use super::memory::Span;
use super::place::{Place, Size};
use super::queue::Home;
use super::resident;
use super::stream::{Arguments, Function, Graph, Stream};
use crate::base::error::Result;
use crate::base::limits::word;
use crate::plan::{Grid, Plan, Step as PlanStep};

/// Blocks of a launch, at most.
const GRID_MAX: u32 = i32::MAX as u32;
/// Words of an output for which the last kernel is given another block.
const FINISH_WORDS: usize = 4096;
/// Blocks of the last kernel, at most: enough to fill the bus.
const FINISH_BLOCKS_MAX: usize = 32;

/// A launch size that serves this many blocks.
fn rounded(blocks: u32) -> u32 {
    match blocks {
        0 => 0,
        _ => blocks.checked_next_power_of_two().map_or(GRID_MAX, |blocks| blocks.min(GRID_MAX)),
    }
}

/// A compiled plan.
pub(super) struct Program {
    pub(super) size: Size,
    pub(super) output: Option<usize>,
    steps: Vec<Step>,
    /// The words of the header that say how many blocks some step runs, each once.
    grids: Vec<usize>,
    /// Launch sizes, the first kernel's last, and a graph of them for each place.
    graphs: Vec<(Vec<u32>, Vec<Option<Graph>>)>,
    /// Where the orders for the resident kernel begin in its table, one for each place.
    order: Option<u32>,
}

/// One kernel run.
struct Step {
    function: Function,
    grid: Grid,
    events: bool,
    params: Vec<u32>,
    binds: Vec<usize>,
    /// What the resident kernel knows it by, if it does.
    number: Option<u32>,
}

impl Step {
    fn is_resident(&self) -> bool {
        self.number.is_some() && self.params.len() <= resident::PARAMS_MAX
    }
}

impl Program {
    pub(super) fn new(gpu: &Gpu, plan: &Plan) -> Result<Self> {
        let step = |step: &PlanStep| {
            Ok(Step {
                function: gpu.function(step)?,
                grid: step.grid,
                events: step.kernel.events,
                params: step.params.clone(),
                binds: step.binds.iter().map(|id| usize::from(id.0)).collect(),
                number: resident::number(step.kernel.name),
            })
        };
        let mut grids: Vec<usize> = plan
            .steps
            .iter()
            .filter_map(|step| match step.grid {
                Grid::Head(word) => Some(word),
                Grid::Groups(_) => None,
            })
            .collect();
        grids.sort_unstable();
        grids.dedup();
        Ok(Self {
            size: Size { head: plan.head_words, events: plan.events_max * plan.stride },
            output: plan.output.map(|id| usize::from(id.0)),
            steps: plan.steps.iter().map(step).collect::<Result<_>>()?,
            grids,
            graphs: Vec::new(),
            order: None,
        })
    }

    /// Words of the header that kernels read to know how many blocks are wanted: these must be there.
    pub(super) fn head_min(&self) -> usize {
        self.grids.last().map_or(0, |word| word + 1)
    }

    /// Writes down the launch sizes for a batch with this header.
    pub(super) fn sizes(&self, head: &[u32], gather: u32, sizes: &mut Vec<u32>) {
        sizes.clear();
        let blocks = |&word: &usize| rounded(head.get(word).copied().unwrap_or(0));
        sizes.extend(self.grids.iter().map(blocks));
        sizes.push(gather);
    }

    /// Where the graph for these sizes and this place is kept; `None` in it until it is captured.
    pub(super) fn graph(
        &mut self,
        sizes: &[u32],
        place: usize,
        places: usize,
    ) -> &mut Option<Graph> {
        let known = self.graphs.iter().position(|(known, _)| known == sizes);
        let at = known.unwrap_or_else(|| {
            self.graphs.push((sizes.to_vec(), (0..places).map(|_| None).collect()));
            self.graphs.len() - 1
        });
        &mut self.graphs[at].1[place]
    }

    /// Forgets the graphs that bind a buffer which is to move, or all of them.
    pub(super) fn unbind(&mut self, buffer: Option<usize>) {
        let binds = |step: &Step| buffer.is_none_or(|buffer| step.binds.contains(&buffer));
        if buffer.is_none() || self.steps.iter().any(binds) {
            self.graphs.clear();
        }
    }

    /// Captures the replay for these sizes: the batch is taken, the steps run, the output is returned.
    pub(super) fn capture(
        &self,
        gpu: &Gpu,
        stream: &Stream,
        (at, place): (usize, &Place),
        (homes, completion): (&[Home], &Completion),
        sizes: &[u32],
    ) -> Result<Graph> {
        let (out, words) = match self.output.map(|output| &homes[output]) {
            Some(home) => (home.at(at), home.words()),
            None => (Span::default(), 0),
        };
        let finish = words.div_ceil(FINISH_WORDS).clamp(1, FINISH_BLOCKS_MAX);
        let finish = u32::try_from(finish).unwrap_or(1);
        let gather = sizes.last().copied().unwrap_or(1);
        stream.capture(|| {
            let launch = |function, blocks, mut arguments: Arguments| {
                // SAFETY: the arguments are what the kernel declares: a test compares them with its source. What
                // they name lives at least as long as this graph, which is forgotten before any of it moves
                // (`unbind`), and belongs to the batch at this place while it runs.
                unsafe { stream.launch(function, blocks, &mut arguments) }
            };
            launch(gpu.gather, gather, place.gather(out))?;
            for step in &self.steps {
                let blocks = match step.grid {
                    Grid::Head(word) => {
                        let at = self.grids.binary_search(&word).unwrap_or(0);
                        sizes[at]
                    }
                    Grid::Groups(groups) => groups,
                };
                if blocks > 0 {
                    launch(step.function, blocks, self.arguments(step, at, place, homes))?;
                }
            }
            launch(gpu.finish, finish, place.finish(out, completion.mark(at)))
        })
    }

    /// The most blocks that a step of a batch with this header runs.
    pub(super) fn blocks_most(&self, head: &[u32]) -> u32 {
        let blocks = |step: &Step| match step.grid {
            Grid::Head(word) => head.get(word).copied().unwrap_or(0),
            Grid::Groups(groups) => groups,
        };
        self.steps.iter().map(blocks).max().unwrap_or(0)
    }

    /// Whether the resident kernel runs all of it.
    pub(super) fn is_resident(&self) -> bool {
        self.steps.iter().all(Step::is_resident)
    }

    /// The resident kernel's order for a batch at this place.
    pub(super) fn order(&self, at: usize) -> u32 {
        self.order.unwrap_or(0) + word(at * (1 + self.steps.len()))
    }

    /// Appends the orders for all places to the resident kernel's table.
    pub(super) fn tabulate(
        &mut self,
        places: &[Place],
        (homes, completion): (&[Home], &Completion),
        table: &mut Vec<u32>,
    ) {
        self.order = Some(word(table.len() / resident::RECORD));
        for (at, place) in places.iter().enumerate() {
            let out = self.output.map_or(Span::default(), |output| homes[output].at(at));
            let mut record = [0; resident::RECORD];
            record[0] = word(self.steps.len());
            put(
                &mut record,
                resident::ORDER_SPANS,
                &place.spans(self.size, out, completion.mark(at)),
            );
            table.extend(record);
            for step in &self.steps {
                let mut record = [0; resident::RECORD];
                let (by_head, blocks) = match step.grid {
                    Grid::Head(at) => (1, word(at)),
                    Grid::Groups(groups) => (0, groups),
                };
                record[..3].copy_from_slice(&[step.number.unwrap_or(u32::MAX), by_head, blocks]);
                record[resident::STEP_PARAMS..][..step.params.len()].copy_from_slice(&step.params);
                put(&mut record, resident::STEP_SPANS, &[place.events.span(self.size.events)]);
                let binds = step.binds.iter().map(|&buffer| homes[buffer].at(at));
                put(&mut record, resident::STEP_SPANS + 4, &binds.collect::<Vec<_>>());
                table.extend(record);
            }
        }
    }

    /// What a step's kernel is given: header, parameters, events, buffers.
    fn arguments(&self, step: &Step, at: usize, place: &Place, homes: &[Home]) -> Arguments {
        let mut arguments = Arguments::default();
        arguments.push(&[place.head.span(self.size.head.next_multiple_of(4))]);
        if !step.params.is_empty() {
            arguments.push(&step.params);
        }
        if step.events {
            arguments.push(&[place.events.span(self.size.events)]);
        }
        for &buffer in &step.binds {
            arguments.push(&[homes[buffer].at(at)]);
        }
        arguments
    }
}

/// Puts spans into a record of the resident kernel's table.
fn put(record: &mut [u32], at: usize, spans: &[Span]) {
    let words: &[u32] = bytemuck::cast_slice(spans);
    record[at..at + words.len()].copy_from_slice(words);
}

#[cfg(test)]
mod tests {
    use super::{GRID_MAX, rounded};

    #[test]
    fn launch_sizes_are_few_and_large_enough() {
        for (blocks, size) in [(0, 0), (1, 1), (2, 2), (3, 4), (4096, 4096), (4097, 8192)] {
            assert_eq!(rounded(blocks), size);
        }
        assert_eq!(rounded(GRID_MAX), GRID_MAX);
        assert_eq!(rounded(u32::MAX), GRID_MAX);
    }
}
