//! The gateway from end to end: real sockets, hostile clients, and every client's windows against a naive reading.

#[path = "../../examples/gateway/line.rs"]
mod line;

use crate::naive::{self, Event, Query};
use crate::program;
use line::{LINE_BYTES_MAX, Lines};
use pelton::base::rng::SplitMix;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A running gateway.
struct Gateway {
    child: Child,
    out: BufReader<ChildStdout>,
    port: u16,
}

impl Gateway {
    fn start(more: &str) -> Self {
        let mut child = Command::new(program::example("gateway"))
            .args(["--port", "0", "--device", "cpu"])
            .args(more.split_whitespace())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("listening on ") {
            line.clear();
            assert!(out.read_line(&mut line).unwrap() > 0, "the gateway listens");
        }
        let port = line.trim().rsplit(':').next().unwrap().parse().unwrap();
        Self { child, out, port }
    }

    /// A client, as the gateway has greeted it: its lane is open.
    fn client(&self) -> (TcpStream, BufReader<TcpStream>) {
        let socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut answers = BufReader::new(socket.try_clone().unwrap());
        let mut hello = String::new();
        answers.read_line(&mut hello).unwrap();
        assert!(hello.starts_with("client "), "{hello}");
        (socket, answers)
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Waits for the end; what the gateway said last.
    fn end(mut self) -> String {
        let mut said = String::new();
        self.out.read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        said
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rest(mut answers: BufReader<TcpStream>) -> String {
    let mut text = String::new();
    answers.read_to_string(&mut text).unwrap();
    text
}

/// A client's answers in the order of a quickstart's rows, for the naive parser.
fn rows(text: &str) -> naive::Rows {
    let swap = |line: &str| {
        let fields: Vec<&str> = line.splitn(4, ',').collect();
        format!("{},{},{},{}\n", fields[2], fields[0], fields[1], fields[3])
    };
    naive::parse(&text.lines().filter(|line| line.contains(',')).map(swap).collect::<String>())
}

#[test]
fn each_client_gets_its_own_windows_and_the_last_ones_at_the_end() {
    let gateway = Gateway::start("--size 400ms --slide 100ms --disorder 50ms --idle 60s");
    let clients: Vec<_> = (0..5).map(|_| gateway.client()).collect();
    let query = Query { size: 400, slide: 100, disorder: 50, lateness: 0 };
    let (mut readers, mut wanted) = (Vec::new(), Vec::new());
    let (all_taken, taken) = std::sync::mpsc::channel();
    for (seed, (mut socket, mut answers)) in (0..).zip(clients) {
        let mut rng = SplitMix::new(seed);
        let events: Vec<Event> = (0..5000)
            .map(|i| Event {
                at: 10_000 + i + rng.below(30),
                key: rng.below(9).to_string(),
                #[allow(clippy::cast_precision_loss, reason = "small quarters")]
                value: rng.below(1000) as f32 / 4.0,
            })
            .collect();
        wanted.push(query.run(&events).0);
        let all_taken = all_taken.clone();
        readers.push(std::thread::spawn(move || {
            for part in events.chunks(97) {
                let line = |e: &Event| format!("{},{},{}\n", e.at, e.key, e.value);
                socket.write_all(part.iter().map(line).collect::<String>().as_bytes()).unwrap();
            }
            // The answer to a bad line comes after all lines before it have been taken.
            socket.write_all(b"end\n").unwrap();
            let (mut text, mut line) = (String::new(), String::new());
            while !line.starts_with("error line 5001: ") {
                text += &line;
                line.clear();
                assert!(answers.read_line(&mut line).unwrap() > 0, "{text}");
            }
            all_taken.send(()).unwrap();
            socket.shutdown(Shutdown::Write).unwrap();
            text + &rest(answers)
        }));
    }
    assert_eq!(taken.iter().take(readers.len()).count(), readers.len());
    gateway.signal("-INT");
    for (reader, want) in readers.into_iter().zip(wanted) {
        assert_eq!(rows(&reader.join().unwrap()), want);
    }
    let said = gateway.end();
    assert!(said.contains("25000 events, 0 late"), "{said}");
    assert!(
        ["ring", "device", "event", "result"]
            .iter()
            .all(|s| said.contains(&format!("latency {s} n=")))
    );
}

#[test]
fn windows_stream_back_while_their_client_goes_on() {
    let gateway = Gateway::start("--size 1s");
    let (mut socket, mut answers) = gateway.client();
    for second in 0..5u32 {
        let at = second * 1000;
        writeln!(socket, "{},7,{second}\n{},7,0.5", at + 500, at + 600).unwrap();
        if second > 0 {
            let mut row = String::new();
            answers.read_line(&mut row).unwrap();
            assert!(row.starts_with(&format!("{},{at},7,2,", at - 1000)), "{row}");
        }
    }
    gateway.signal("-TERM");
    assert_eq!(rest(answers).lines().count(), 1, "the last window at the end");
    assert!(gateway.end().contains("10 events"));
}

#[test]
fn bad_lines_are_answered_and_harm_nobody() {
    let gateway = Gateway::start("--size 1s --idle 100ms");
    let (mut good, mut good_answers) = gateway.client();
    let (mut bad, bad_answers) = gateway.client();
    let mut hostile =
        b"nonsense\n1,2\n1,2,3,4\n-1,2,3\n1,x,3\n1,2,y\n99999999999999,1,1\n".to_vec();
    hostile.extend([0xff, 0xfe, 0, b'\n']);
    hostile.extend(vec![b'9'; 1 << 20]);
    hostile.extend(b"\n\n1000,1,1\n5000,1,2");
    let writer = std::thread::spawn(move || {
        bad.write_all(&hostile).unwrap();
        bad.shutdown(Shutdown::Write).unwrap();
        rest(bad_answers)
    });
    // Clients that vanish in the middle of a line.
    for _ in 0..20 {
        let (mut gone, _) = gateway.client();
        gone.write_all(b"1000,1,1\n1000,").unwrap();
    }
    writeln!(good, "1000,5,1.5\n1500,5,2\n9000,5,4").unwrap();
    let mut row = String::new();
    good_answers.read_line(&mut row).unwrap();
    assert_eq!(
        row, "1000,2000,5,2,3.5,1.5,2,1.75\n",
        "it does not wait for those who are gone or idle"
    );
    gateway.signal("-INT");
    let said = writer.join().unwrap();
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error")).collect();
    let want = [
        "time_ms,key,value",
        "time_ms,key,value",
        "time_ms,key,value",
        "time_ms is",
        "key is",
        "value is",
    ];
    assert_eq!(errors.len(), 9, "{said}");
    for (number, (error, want)) in (1..).zip(errors.iter().zip(want)) {
        assert!(
            error.starts_with(&format!("error line {number}: ")) && error.contains(want),
            "{error}"
        );
    }
    assert!(errors[6].contains("a day ahead") && errors[7].contains("UTF-8"), "{said}");
    assert!(errors[8].contains("longer than 256 bytes"), "{said}");
    assert!(rest(good_answers).starts_with("9000,10000,5,1,4,"));
    gateway.end();
}

#[test]
fn lines_are_cut_the_same_wherever_the_bytes_are() {
    let long = "x".repeat(LINE_BYTES_MAX);
    let text = format!("a\n\n{long}\n{long}y\nb\r\n{long}{long}{long}\nlast");
    let cut = |step: usize| {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        let mut keep = |n: u64, line: Option<&[u8]>| found.push((n, line.map(<[u8]>::to_vec)));
        text.as_bytes().chunks(step).for_each(|bytes| lines.take(bytes, &mut keep));
        lines.finish(&mut keep);
        found
    };
    let whole = cut(text.len());
    let numbers: Vec<_> = whole.iter().map(|(n, line)| (*n, line.is_some())).collect();
    assert_eq!(numbers, [(1, true), (3, true), (4, false), (5, true), (6, false), (7, true)]);
    for step in 1..300 {
        assert_eq!(cut(step), whole, "{step}");
    }
    assert!(line::parse(b"5,1,2\r", 5).is_ok() && line::parse(b"6,1,2", 5).is_err());
}
