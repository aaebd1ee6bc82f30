//! One client: its lines into its lane, its windows and the errors of its lines back to it.

use super::Event;
use super::args::MILLISECOND;
use super::line::{LINE_BYTES_MAX, Lines, parse};
use pelton::Feed;
use pelton::pipeline::route::Router;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Answers that may await a client: so many result batches, or so many rounds of errors.
const ANSWERS: usize = 64;
/// How long a client may take to read what it is sent.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a client that has ended its input gets windows that close later.
const LINGER: Duration = Duration::from_secs(60);
/// How far ahead of this machine's clock a line may be.
const AHEAD_MS: u64 = 86_400_000;

pub(crate) struct Client {
    pub(crate) number: u64,
    pub(crate) lane: Feed<Event>,
    pub(crate) router: Router<String>,
    pub(crate) idle: Duration,
}

/// How a client's input ended.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ended {
    /// It has said all it wanted, and may still listen.
    Said,
    /// It is gone, or does not read its answers.
    Gone,
    /// The server stops.
    Stopped,
}

impl Client {
    pub(crate) async fn serve(mut self, socket: TcpStream, mut stopped: watch::Receiver<bool>) {
        let _ = socket.set_nodelay(true);
        let (input, output) = socket.into_split();
        let (answers, theirs) = mpsc::channel(ANSWERS);
        let _ = answers.try_send(vec![format!("client {}\n", self.number)]);
        self.router.open(self.number, answers.clone());
        let mut writer = tokio::spawn(write(output, theirs));
        let ended = self.read(input, &answers, &mut stopped).await;
        // From here on nobody waits for this client's time, and its answers end with its windows.
        let Self { number, lane, router, .. } = self;
        drop((lane, answers));
        match ended {
            Ended::Gone => router.close(number),
            Ended::Said => {
                if timeout(LINGER, &mut writer).await.is_ok() {
                    return router.close(number);
                }
                router.close(number);
            }
            Ended::Stopped => {}
        }
        let _ = writer.await;
        router.close(number);
    }

    /// Reads lines to the end of the input, or to what ends it.
    async fn read(
        &mut self,
        mut input: OwnedReadHalf,
        answers: &mpsc::Sender<Vec<String>>,
        stopped: &mut watch::Receiver<bool>,
    ) -> Ended {
        let (mut bytes, mut lines) = (vec![0; 1 << 13], Lines::default());
        let mut idle = false;
        loop {
            let stop = async { drop(stopped.wait_for(|&stop| stop).await) };
            let read = match race(stop, timeout(self.idle, input.read(&mut bytes))).await {
                Either::Left(()) => return Ended::Stopped,
                Either::Right(Ok(Ok(n))) => n,
                Either::Right(Ok(Err(_))) => return Ended::Gone,
                Either::Right(Err(_)) => {
                    if !std::mem::replace(&mut idle, true) {
                        self.lane.idle();
                    }
                    if !self.router.is_open(self.number) {
                        return Ended::Gone;
                    }
                    continue;
                }
            };
            idle = false;
            let (mut events, mut errors) = (Vec::new(), Vec::new());
            let latest_ms = now_ms() + AHEAD_MS;
            let line = |number, line: Option<&[u8]>| match self.event(line, latest_ms) {
                Ok(event) => events.push(event),
                Err(why) => errors.push(format!("error line {number}: {why}\n")),
            };
            if read == 0 {
                lines.finish(line);
            } else {
                lines.take(&bytes[..read], line);
            }
            if self.lane.send_all(&events).await < events.len() {
                return Ended::Gone;
            }
            if !errors.is_empty() && answers.send(errors).await.is_err() {
                return Ended::Gone;
            }
            if read == 0 {
                return Ended::Said;
            }
        }
    }

    fn event(&self, line: Option<&[u8]>, latest_ms: u64) -> Result<Event, String> {
        let too_long = || format!("longer than {LINE_BYTES_MAX} bytes");
        let said = parse(line.ok_or_else(too_long)?, latest_ms)?;
        Ok(Event {
            at: said.time_ms.saturating_mul(MILLISECOND),
            key: self.number << 32 | u64::from(said.key),
            value: said.value,
            pad: 0,
        })
    }
}

/// Writes answers until there will be none, or the client does not read.
async fn write(mut output: OwnedWriteHalf, mut answers: mpsc::Receiver<Vec<String>>) {
    while let Some(lines) = answers.recv().await {
        let text = lines.concat();
        if !matches!(timeout(PATIENCE, output.write_all(text.as_bytes())).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = output.shutdown().await;
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX / 2)
}

pub(crate) enum Either<A, B> {
    Left(A),
    Right(B),
}

/// Whichever is ready first, the left one before the right.
pub(crate) async fn race<A, B>(
    a: impl Future<Output = A>,
    b: impl Future<Output = B>,
) -> Either<A, B> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|cx| {
        if let Poll::Ready(a) = a.as_mut().poll(cx) {
            return Poll::Ready(Either::Left(a));
        }
        b.as_mut().poll(cx).map(Either::Right)
    })
    .await
}
