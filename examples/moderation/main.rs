//! Messages judged as they come: a transformer inside the program, over a stream of texts.
//!
//! A thread reads messages and writes them into a lane of a text pipeline; the pipeline makes batches of whatever is
//! there, under a deadline; this thread prints a line for each as it is done. What happens when messages come faster
//! than the model reads is a policy of the lane. The numbers of messages are their ids, and find their lines again.

mod args;
mod judge;
mod messages;

use args::{Args, HELP};
use judge::Judge;
use messages::Made;
use pelton::model::{EncoderOptions, Model};
use pelton::pipeline::texts::{TextFeed, TextPipeline, Texts, Vectors};
use pelton::{Device, Error, Options};
use std::io::{self, BufWriter, Stdout, Write};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Bytes of a message, at most.
const BYTES_MAX: usize = 64 << 10;

fn main() -> ExitCode {
    let args = match args::parse(std::env::args_os().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("moderation: {error}; --help lists all options");
            return ExitCode::from(2);
        }
    };
    if args.help {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("moderation: {error}");
            ExitCode::from(2)
        }
    }
}

/// Standard output, of which two threads write whole lines.
struct Lines(Mutex<BufWriter<Stdout>>);

impl Lines {
    /// Writes lines and hands them on. Who reads them has left when that fails, and the program ends.
    fn write(&self, text: &str) {
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            let left = error.kind() == io::ErrorKind::BrokenPipe;
            if !left {
                eprintln!("moderation: {error}");
            }
            std::process::exit(if left { 0 } else { 74 });
        }
    }
}

fn run(args: &Args) -> Result<(), Error> {
    let model = Model::load(&args.model)?;
    let device = Device::named(&args.device)?;
    let encoder = EncoderOptions { precision: args.precision, ..EncoderOptions::default() };
    let judge = Judge::new(&model, &device, encoder.clone(), args.topics.as_deref())?;
    eprintln!("device   {}: {}", device.caps().name, device.why());
    eprintln!("model    sha256 {}", model.hash());
    let mut options = Options { latency_target: Some(args.deadline), ..Options::on(device) };
    options.lane.policy = args.policy;
    let texts = Texts { encoder, bytes_max: BYTES_MAX, ..Texts::new(&model) };
    let pipeline = TextPipeline::start(texts, options)?;
    let lane = pipeline.lane()?;
    let out = Lines(Mutex::new(BufWriter::with_capacity(1 << 16, io::stdout())));
    let begin = Instant::now();
    let (stats, read) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| feed(args, lane, &out));
        let stats = pipeline.drain(|vectors| out.write(&show(&judge, &vectors)));
        if let Err(error) = &stats {
            // The reader may wait for a line that never comes.
            eprintln!("moderation: {error}");
            std::process::exit(2);
        }
        (stats, reader.join().expect("the reader does not panic"))
    });
    let stats = stats?;
    let rate = |n: u64| n as f64 / begin.elapsed().as_secs_f64();
    eprintln!(
        "messages {}: {} judged, {} of them late, {} errors, {} handed back, {} dropped",
        read?, stats.accepted, stats.overdue, stats.refused, stats.rejected, stats.dropped
    );
    eprintln!("rate     {:.1} messages/s, {:.0} tokens/s", rate(stats.events), rate(stats.tokens));
    eprintln!("{}", stats.ladder());
    Ok(())
}

/// Lines for what is done.
fn show(judge: &Judge, vectors: &Vectors) -> String {
    let mut lines = String::new();
    for vector in vectors.iter() {
        let line = match vector.values() {
            Ok(values) => {
                let (label, score) = judge.label(values);
                let label = serde_json::Value::from(label);
                let (id, us) = (vector.id(), vector.latency_ns() / 1000);
                format!(
                    "{{\"message\":{id},\"label\":{label},\"score\":{score},\"latency_us\":{us}}}\n"
                )
            }
            Err(error) => failed(vector.id(), &error.to_string()),
        };
        lines.push_str(&line);
    }
    lines
}

fn failed(message: u64, why: &str) -> String {
    format!("{{\"message\":{message},\"error\":{}}}\n", serde_json::Value::from(why))
}

/// Sends all messages into the lane; how many they were.
fn feed(args: &Args, mut lane: TextFeed, out: &Lines) -> Result<u64, Error> {
    let (mut text, mut count) = (Vec::new(), 0);
    let mut input = io::stdin().lock();
    let mut made = Made::new(args.seed, args.rate);
    loop {
        let length = match args.made {
            Some(most) if count == most => break,
            Some(_) => {
                made.next(&mut text);
                text.len()
            }
            None => match messages::line(&mut input, BYTES_MAX, &mut text) {
                Ok(Some(length)) => length,
                Ok(None) => break,
                Err(error) => return Err(Error::source("standard input", error)),
            },
        };
        count += 1;
        match send(&mut lane, count, &text, length) {
            Ok(()) => {}
            // The pipeline has ended, and says why.
            Err(full) if full.closed => break,
            Err(_) => {
                out.write(&failed(count, "not taken: messages come faster than the model reads"));
            }
        }
    }
    Ok(count)
}

/// Writes one message, or how long it was.
fn send(
    lane: &mut TextFeed,
    id: u64,
    text: &[u8],
    length: usize,
) -> Result<(), pelton::ring::Full> {
    if length <= BYTES_MAX {
        return lane.push(id, text);
    }
    let mut run = lane.write(1, 0)?;
    run.too_long(id, length);
    run.commit();
    Ok(())
}
