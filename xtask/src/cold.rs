//! How a function starts and how it works when it is warm, in release: from exec to its first request for work, its peak
//! memory then, and the processor time of an event. It asks a runtime API of our own for work, so that nothing of an
//! emulator is in the figures; its clients are those of the cloud, pointed at a running home.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::functions::{Home, with_home};
use crate::place::Place;
use crate::run::Command;

const FUNCTIONS: [&str; 6] = [
    "api",
    "deployment_stepper",
    "fleet_watcher",
    "hook_dispatcher",
    "revision_intake",
    "traffic_evaluator",
];
/// How often each is started, and how many events the stepper is given.
const STARTS: usize = 20;
const EVENTS: u32 = 200;
const PATIENCE: Duration = Duration::from_secs(20);

/// Builds what is measured, and prints the figures.
pub(crate) fn bench(mut place: Place) -> Result<()> {
    place.profile = "release";
    let place = &place;
    Command::cargo(place).args(["build", "--release", "--workspace", "--bins"]).run()?;
    println!("function             zipped        first request for work      peak memory");
    with_home(place, "cold", |home| {
        for function in FUNCTIONS {
            let program = place.built(function)?;
            let mut starts = Vec::new();
            let mut peak = 0;
            for _ in 0..STARTS {
                let start = Start::of(home, function, &program)?;
                starts.push(start.took);
                peak = peak.max(memory(start.running.pid(), "VmHWM:")?);
            }
            starts.sort();
            let [median, slow] = [STARTS / 2, STARTS * 9 / 10]
                .map(|at| starts.get(at).map_or(0.0, |took| took.as_secs_f64() * 1000.0));
            let zipped = zipped(place, home, function)? as f64 / 1e6;
            let peak = peak as f64 / 1024.0;
            println!(
                "{function:<20} {zipped:>4.1} MB   {median:>6.1} ms, p90 {slow:>6.1} ms   {peak:>6.1} MiB"
            );
        }
        warm(place, home)
    })?;
    check_links(place)
}

/// Holds what each function is linked with against what its role calls.
fn check_links(place: &Place) -> Result<()> {
    let built = place.built("api")?;
    let built = built.parent().context("a program lies in no folder")?;
    let test = Command::cargo(place).args(["test", "--package", "whole", "--test", "links"]);
    test.env("CUTOVER_BUILT", built).run()?;
    println!(
        "each function is linked with the SDKs of the services that its role calls, and no others"
    );
    Ok(())
}

/// What an event takes the stepper that it has nothing to do for: it reads the deployment, and that is all.
fn warm(place: &Place, home: &Home<'_>) -> Result<()> {
    let mut event = Value::Null;
    home.check(|function, told| {
        event = told.clone();
        let program = place.built(function)?;
        Start::of(home, function, &program)?.answer(told)
    })?;
    let program = place.built("deployment_stepper")?;
    let mut start = Start::of(home, "deployment_stepper", &program)?;
    for _ in 0..10 {
        start.answer(&event)?;
    }
    let before = processor_time(start.running.pid())?;
    let began = Instant::now();
    for _ in 0..EVENTS {
        start.answer(&event)?;
    }
    let whole = began.elapsed().as_secs_f64() * 1000.0 / f64::from(EVENTS);
    let own = processor_time(start.running.pid())?.saturating_sub(before);
    let own = own.as_secs_f64() * 1000.0 / f64::from(EVENTS);
    println!(
        "deployment_stepper, warm: {own:.2} ms of its own time for an event, {whole:.2} ms with its table calls"
    );
    Ok(())
}

/// A function that runs, and asks this for work.
struct Start {
    running: crate::run::Running,
    took: Duration,
    next: Receiver<Sender<Value>>,
    waiting: Option<Sender<Value>>,
    answers: Receiver<Value>,
}

impl Start {
    fn of(home: &Home<'_>, function: &str, program: &Path) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let (asked, next) = channel();
        let (told, answers) = channel();
        let api = listener.local_addr()?;
        std::thread::spawn(move || serve(&listener, &asked, &told));
        let command =
            home.command(function, program)?.env("AWS_LAMBDA_RUNTIME_API", api.to_string());
        let command = command.env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128");
        let command = command.env("AWS_LAMBDA_FUNCTION_VERSION", "1").unshown();
        let log = home.scratch.join(format!("{function}.log"));
        let began = Instant::now();
        let running = command.start(&log)?;
        let waiting = next
            .recv_timeout(PATIENCE)
            .with_context(|| format!("{function} did not ask for work; see `{}`", log.display()))?;
        Ok(Self { running, took: began.elapsed(), next, waiting: Some(waiting), answers })
    }

    /// Gives it an event, and waits for its answer and until it asks for the next.
    fn answer(&mut self, event: &Value) -> Result<Value> {
        let waiting = self.waiting.take().context("the function does not ask for work")?;
        waiting.send(event.clone())?;
        let answer = self.answers.recv_timeout(PATIENCE)?;
        self.waiting = Some(self.next.recv_timeout(PATIENCE)?);
        Ok(answer)
    }
}

/// The runtime API: who asks for work gets it when there is some.
fn serve(listener: &TcpListener, asked: &Sender<Sender<Value>>, told: &Sender<Value>) {
    for stream in listener.incoming().flatten() {
        let (asked, told) = (asked.clone(), told.clone());
        // A connection that ends has nobody to tell.
        std::thread::spawn(move || drop(converse(stream, &asked, &told)));
    }
}

fn converse(stream: TcpStream, asked: &Sender<Sender<Value>>, told: &Sender<Value>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let (line, body) = request(&mut reader)?;
        if line.starts_with("GET") {
            let (give, get) = channel();
            asked.send(give)?;
            let event = get.recv()?.to_string();
            write!(
                writer,
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\nLambda-Runtime-Deadline-Ms: 4102444800000\r\nLambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:bench\r\nContent-Length: {}\r\n\r\n{event}",
                event.len()
            )?;
        } else {
            told.send(serde_json::from_slice(&body).unwrap_or(Value::Null))?;
            write!(writer, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")?;
        }
    }
}

fn request(reader: &mut BufReader<TcpStream>) -> Result<(String, Vec<u8>)> {
    let mut first = String::new();
    ensure!(reader.read_line(&mut first)? > 0, "it has ended");
    let (mut length, mut is_chunked) = (0, false);
    loop {
        let mut line = String::new();
        ensure!(reader.read_line(&mut line)? > 0, "it has ended");
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        is_chunked |= line == "transfer-encoding: chunked";
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    while is_chunked {
        let mut size = String::new();
        reader.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim(), 16)?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk)?;
        body.extend(chunk.iter().take(size));
        is_chunked = size > 0;
    }
    Ok((first, body))
}

/// The size of the archive that SAM uploads, in bytes.
fn zipped(place: &Place, home: &Home<'_>, function: &str) -> Result<u64> {
    let dir = home.scratch.join("zipped");
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    std::fs::copy(place.built(function)?, dir.join("bootstrap"))?;
    if function == "hook_dispatcher" {
        std::fs::copy(place.built("cutover-runner")?, dir.join("cutover-runner"))?;
    }
    let archive = home.scratch.join("zipped.zip");
    let python = place.venv().join("bin/python");
    let make = "import shutil, sys; shutil.make_archive(sys.argv[1][:-4], 'zip', sys.argv[2])";
    let args: [PathBuf; 4] = ["-c".into(), make.into(), archive.clone(), dir];
    Command::new(place, python).args(args).unshown().run()?;
    Ok(std::fs::metadata(archive)?.len())
}

/// A figure of a process's memory, in KiB.
fn memory(pid: u32, name: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let figure = line.and_then(|line| line.split_whitespace().next()).context("no such figure")?;
    Ok(figure.parse()?)
}

/// The processor time of all threads that a process has.
fn processor_time(pid: u32) -> Result<Duration> {
    let mut sum = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        let first = text.split_whitespace().next().context("no time")?;
        sum += first.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(sum))
}
