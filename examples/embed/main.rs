//! Text lines in, embeddings out: a sentence-transformers model over standard input, in this process.
//!
//! Every line becomes one line of JSON, in order: an array of numbers that read back to the same `f32`, or
//! `{"error": …}` for a line that is no text. Lines are taken together as they come: whatever is there makes a batch,
//! so one line typed is answered at once, and a file goes through at full speed.

mod args;

use args::{Args, HELP};
use pelton::base::clock;
use pelton::base::hist::Latency;
use pelton::model::{Embeddings, Encoder, EncoderOptions, Model};
use pelton::{Device, Error};
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::ExitCode;

/// Bytes of a line, at most: what is longer is an error on that line.
const LINE_BYTES_MAX: usize = 16 << 20;
/// Bytes of text that make two tokens, about: lines for two batches are taken together.
const TWO_TOKENS_BYTES: usize = 8;

fn main() -> ExitCode {
    let args = match args::parse(std::env::args_os().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("embed: {error}; --help lists all options");
            return ExitCode::from(2);
        }
    };
    if args.help {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Pipe) => ExitCode::SUCCESS,
        Err(Failure::Io(error)) => {
            eprintln!("embed: {error}");
            ExitCode::from(74)
        }
        Err(Failure::Ours(error)) => {
            eprintln!("embed: {error}");
            ExitCode::from(2)
        }
    }
}

/// Why the program ends early.
enum Failure {
    /// Whoever read our output has left.
    Pipe,
    Io(io::Error),
    Ours(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Pipe } else { Self::Io(error) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

/// A line, or why it is no text; when it was there.
struct Line {
    text: Result<String, String>,
    at_ns: u64,
}

/// Reads one line without its end; `None` when there are no more.
fn line(input: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut bytes = Vec::new();
    let most = LINE_BYTES_MAX as u64 + 2;
    let read = input.by_ref().take(most).read_until(b'\n', &mut bytes)?;
    if read == 0 {
        return Ok(None);
    }
    let ended = bytes.last() == Some(&b'\n');
    if !ended && read as u64 == most {
        // What is left of it is skipped, a piece at a time.
        loop {
            let here = input.fill_buf()?;
            let end = here.iter().position(|&byte| byte == b'\n');
            let used = end.map_or(here.len(), |end| end + 1);
            input.consume(used);
            if end.is_some() || used == 0 {
                break;
            }
        }
    }
    if ended {
        bytes.pop();
        bytes.pop_if(|byte| *byte == b'\r');
    }
    let text = if bytes.len() > LINE_BYTES_MAX {
        Err(format!("the line has more than {LINE_BYTES_MAX} bytes"))
    } else {
        String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            format!("the line is not UTF-8 from byte {at} on")
        })
    };
    Ok(Some(Line { text, at_ns: clock::now_ns() }))
}

/// Lines that are there already, one at least, of about so many bytes; none at the end.
fn lines(input: &mut BufReader<impl Read>, bytes_max: usize) -> io::Result<Vec<Line>> {
    let (mut all, mut bytes) = (Vec::new(), 0);
    while let Some(line) = line(input)? {
        bytes += line.text.as_ref().map_or(0, String::len) + 1;
        all.push(line);
        // More only when a whole line lies in the buffer: reading further might wait.
        if bytes >= bytes_max || !input.buffer().contains(&b'\n') {
            break;
        }
    }
    Ok(all)
}

fn run(args: &Args) -> Result<(), Failure> {
    let start = clock::now_ns();
    let model = Model::load(&args.model)?;
    let device = Device::named(&args.device)?;
    let (batch_tokens, precision) = (args.batch_tokens, args.precision);
    let options = EncoderOptions { batch_tokens, precision, ..EncoderOptions::default() };
    let mut encoder = Encoder::new(&model, &device, options)?;
    eprintln!("device   {}: {}", device.caps().name, device.why());
    eprintln!("model    {} values, at most {} tokens a text", model.dim(), model.tokens_max());
    eprintln!("         sha256 {}", model.hash());
    let dtypes: Vec<String> = encoder.precisions().iter().map(ToString::to_string).collect();
    eprintln!("dtype    {}", dtypes.join(", "));
    let loaded = clock::now_ns();
    eprintln!(
        "loaded   {} ms, {} dispatches a batch",
        (loaded - start) / 1_000_000,
        encoder.steps()
    );
    let mut input = BufReader::with_capacity(1 << 18, io::stdin().lock());
    let mut out = io::BufWriter::with_capacity(1 << 18, io::stdout().lock());
    let mut seen = Seen::default();
    loop {
        let lines = lines(&mut input, encoder.batch_tokens() * TWO_TOKENS_BYTES)?;
        if lines.is_empty() {
            break;
        }
        let begin = clock::now_ns();
        let sequences: Vec<Vec<u32>> =
            lines.iter().flat_map(|line| &line.text).map(|text| model.tokens(text)).collect();
        let tokens: Vec<&[u32]> = sequences.iter().map(|ids| &ids[..]).collect();
        let found = encoder.embed_tokens(&tokens)?;
        write(&lines, &found, &mut out)?;
        out.flush()?;
        seen.add(&lines, &sequences, clock::now_ns() - begin);
    }
    seen.report();
    Ok(())
}

/// One line of JSON for each line.
fn write(lines: &[Line], found: &Embeddings, out: &mut impl Write) -> io::Result<()> {
    let mut rows = found.rows();
    let mut text = String::new();
    for line in lines {
        text.clear();
        match (&line.text, &line.text.as_ref().ok().and_then(|_| rows.next())) {
            (Ok(_), Some(row)) if row.iter().all(|x| x.is_finite()) => {
                for (i, x) in row.iter().enumerate() {
                    // The shortest digits that read back to the same number.
                    let _ = write!(text, "{}{x}", if i == 0 { '[' } else { ',' });
                }
                text.push(']');
            }
            (Ok(_), _) => text.push_str("{\"error\":\"the result is not a number\"}"),
            // No quote and no backslash is in any of these.
            (Err(why), _) => _ = write!(text, "{{\"error\":\"{why}\"}}"),
        }
        text.push('\n');
        out.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// What went through.
#[derive(Default)]
struct Seen {
    lines: u64,
    errors: u64,
    tokens: u64,
    busy_ns: u64,
    latency: Latency,
}

impl Seen {
    fn add(&mut self, lines: &[Line], sequences: &[Vec<u32>], busy_ns: u64) {
        self.lines += lines.len() as u64;
        self.errors += (lines.len() - sequences.len()) as u64;
        self.tokens += sequences.iter().map(|ids| ids.len() as u64).sum::<u64>();
        self.busy_ns += busy_ns;
        let now = clock::now_ns();
        lines.iter().for_each(|line| self.latency.record(now - line.at_ns, 1));
    }

    #[allow(clippy::cast_precision_loss, reason = "for people")]
    fn report(&self) {
        let rate = |n: u64| n as f64 / (self.busy_ns.max(1) as f64 / 1e9);
        let (lines, errors, tokens) = (self.lines, self.errors, self.tokens);
        eprintln!("lines    {lines}, of them {errors} errors; {tokens} tokens");
        eprintln!("rate     {:.1} lines/s, {:.0} tokens/s", rate(lines), rate(tokens));
        eprintln!("latency  {}", self.latency);
    }
}
