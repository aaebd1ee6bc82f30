//! The command line of the gateway.

use lexopt::prelude::{Long, Short, ValueExt};
use pelton::base::time::Shape;
use pelton::connect::text::duration;
use std::time::Duration;

pub(crate) const HELP: &str = "\
gateway: clients send lines `time_ms,key,value` over TCP and get their own windows back

usage: gateway [options]

  --port N          port on 127.0.0.1; 0 takes a free one               [7007]
  --size TIME       length of a window, in whole milliseconds           [1s]
  --slide TIME      from one window's start to the next; divides size   [size]
  --disorder TIME   how far behind the newest a line may be             [0s]
  --lateness TIME   how long a closed window still takes lines          [0s]
  --idle TIME       how long others wait for a client that is silent    [1s]
  --device NAME     best, cpu, null, wgpu, wgpu:PART-OF-NAME or cuda    [best]
  --help            this text";

pub(crate) const MILLISECOND: u64 = 1_000_000;

/// Everything the command line says; times in nanoseconds.
pub(crate) struct Args {
    pub(crate) port: u16,
    pub(crate) shape: Shape,
    pub(crate) disorder: u64,
    pub(crate) lateness: u64,
    pub(crate) idle: Duration,
    pub(crate) device: String,
}

/// Reads the command line; `None` when it asks for help.
pub(crate) fn parse() -> Result<Option<Args>, lexopt::Error> {
    let second = 1_000 * MILLISECOND;
    let (mut port, mut size, mut slide, mut device) = (7007, second, None, "best".to_owned());
    let (mut disorder, mut lateness, mut idle) = (0, 0, second);
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("size") => size = time(&mut parser)?,
            Long("slide") => slide = Some(time(&mut parser)?),
            Long("disorder") => disorder = time(&mut parser)?,
            Long("lateness") => lateness = time(&mut parser)?,
            Long("idle") => idle = time(&mut parser)?,
            Long("port") => port = parser.value()?.parse()?,
            Long("device") => device = parser.value()?.string()?,
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    let shape = Shape::new(size, slide.unwrap_or(size)).map_err(|e| e.to_string())?;
    if !shape.slide().is_multiple_of(MILLISECOND) {
        return Err("--size, --slide: whole milliseconds".into());
    }
    let idle = Duration::from_nanos(idle);
    Ok(Some(Args { port, shape, disorder, lateness, idle, device }))
}

fn time(parser: &mut lexopt::Parser) -> Result<u64, lexopt::Error> {
    Ok(duration(&parser.value()?.string()?).map_err(|e| e.to_string())?)
}
