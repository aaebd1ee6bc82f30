//! A TCP server: clients send lines `time_ms,key,value`, and each gets the windows of its own keys back as
//! lines
//! `start_ms,end_ms,key,count,sum,min,max,mean`.
//!
//! All clients share one pipeline: the upper half of a key says whose it is. Each has a lane, so it is slowed
//! down alone when it sends too fast, and a bounded queue of answers, so it is cut off alone when it does not
//! read.
//!
//! Time is shared too: a window closes when every client that is not idle has passed its end. A client that
//! is silent for `--idle`, and one that has ended its input, are not waited for. On SIGINT or SIGTERM what
//! was received is finished: the last windows go out, then the connections close.

mod args;
mod client;
mod line;

use args::Args;
use client::{Client, race};
use pelton::pipeline::route::Router;
use pelton::{Device, Feeds, Key, Options, Pipeline, Pod, Row, Value, Windows, Zeroable, field};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Clients at a time, at most.
const CLIENTS_MAX: usize = 1_000;
/// How long clients may take to read their last lines.
const FAREWELL: Duration = Duration::from_secs(10);

/// One line of a client.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Event {
    at: u64,
    /// The client in the upper half, its key in the lower.
    key: u64,
    value: f32,
    pad: u32,
}

fn main() -> ExitCode {
    let args = match args::parse() {
        Ok(Some(args)) => args,
        Ok(None) => {
            let _ = writeln!(io::stdout(), "{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "gateway: {error}; --help lists all options");
            return ExitCode::from(2);
        }
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let served = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(serve(args)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::named(&args.device)?;
    let mut out = io::stdout();
    let _ = writeln!(out, "device   {}: {}", device.caps().name, device.why());
    let (size, slide) = (args.shape.size(), args.shape.slide());
    let windows = Windows {
        key: Key::hashed(field!(Event.key)),
        values: vec![Value::exact(field!(Event.value))],
        disorder: args.disorder,
        lateness: args.lateness,
        // The keys of clients that are gone are forgotten.
        ttl: Some(size.saturating_add(args.lateness).saturating_mul(16)),
        ..Windows::hopping(field!(Event.at), size, slide)
    };
    let options = Options { keys_max: 1 << 20, ..Options::on(device) };
    let pipeline = Pipeline::start(windows, options)?;
    let monitor = pipeline.monitor();
    let (feeds, mut results) = pipeline.split();
    let router = Router::default();
    let routes = router.clone();
    let routed = tokio::spawn(async move { routes.run(&mut results, answer).await });

    let mut signals = Signals::new()?;
    let listener = TcpListener::bind(("127.0.0.1", args.port)).await?;
    let _ = writeln!(out, "listening on {}", listener.local_addr()?);
    let _ = out.flush();
    let (stop, stopped) = watch::channel(false);
    let accepting = tokio::spawn(accept(listener, feeds, router, stopped, args.idle));
    signals.recv().await;
    let _ = writeln!(out, "stopping: nothing more is read, the last windows go out");
    stop.send_replace(true);

    // No lane will be opened any more; those of the clients close, the pipeline drains, and the routes with
    // it.
    let mut clients = accepting.await?;
    routed.await??;
    let goodbye = async { while clients.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(FAREWELL, goodbye).await;
    let stats = monitor.stats();
    let _ = writeln!(
        out,
        "{} events, {} late, {} windows, {} rows\n{}",
        stats.events,
        stats.late,
        stats.fired,
        stats.rows,
        stats.ladder()
    );
    Ok(())
}

/// A row as a line, and the client it belongs to.
fn answer(row: &Row<'_>) -> (u64, String) {
    let (client, key) = (row.key() >> 32, row.key() & u64::from(u32::MAX));
    let (start, end) = (row.start() / args::MILLISECOND, row.end() / args::MILLISECOND);
    let (count, sum, min, max) = (row.count(), row.sum(0), row.min(0), row.max(0));
    let mean = row.mean(0);
    (client, format!("{start},{end},{key},{count},{sum},{min},{max},{mean}\n"))
}

/// Takes clients until it is told to stop, and returns those that are still there.
async fn accept(
    listener: TcpListener,
    feeds: Feeds<Event>,
    router: Router<String>,
    mut stopped: watch::Receiver<bool>,
    idle: Duration,
) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for number in 1u64.. {
        let stop = async { drop(stopped.wait_for(|&stop| stop).await) };
        let socket = match race(stop, listener.accept()).await {
            client::Either::Left(()) => break,
            client::Either::Right(Ok((socket, _))) => socket,
            client::Either::Right(Err(_)) => {
                // Out of sockets, most likely: some come back as clients leave.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        while clients.try_join_next().is_some() {}
        if clients.len() >= CLIENTS_MAX || number > u64::from(u32::MAX) {
            continue;
        }
        // The pipeline has ended when it opens no lane, and the results say why.
        let Ok(lane) = feeds.lane() else { break };
        let (router, stopped) = (router.clone(), stopped.clone());
        clients.spawn(Client { number, lane, router, idle }.serve(socket, stopped));
    }
    clients
}

/// What asks the server to stop.
struct Signals {
    #[cfg(unix)]
    asked: [tokio::signal::unix::Signal; 2],
}

impl Signals {
    fn new() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let asked = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
            Ok(Self { asked })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    async fn recv(&mut self) {
        #[cfg(unix)]
        {
            let [interrupt, terminate] = &mut self.asked;
            race(interrupt.recv(), terminate.recv()).await;
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}
