//! Users that come at a steady rate, whatever becomes of those before them: an open loop. It has to be light, because what
//! it asks runs beside it: one thread, a request that is written once, connections that are kept, and no more parsing than
//! tells an answer from a failure.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a user waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is seen who has come.
const TICK: Duration = Duration::from_millis(1);
/// The longest answer.
const ANSWER_MAX: usize = 64 << 10;

/// What became of the requests.
#[derive(Debug, Default, Clone)]
pub(crate) struct Counts {
    /// Those that were made.
    pub(crate) asked: u64,
    /// Answers with a status below 500, by the server that gave them, as the balancer says.
    pub(crate) servers: BTreeMap<String, u64>,
    /// And by the version, as the application says.
    pub(crate) versions: BTreeMap<String, u64>,
    /// All others, in words.
    pub(crate) failures: Vec<String>,
}

impl Counts {
    /// What came since `before` of a server.
    pub(crate) fn of_server_since(&self, before: &Self, server: &str) -> u64 {
        let of = |counts: &Self| counts.servers.get(server).copied().unwrap_or_default();
        of(self) - of(before)
    }

    /// All answers.
    pub(crate) fn answered(&self) -> u64 {
        self.servers.values().sum()
    }
}

/// One load at a time: two would show how fast the machine is, and nothing else.
static LOADED: Mutex<()> = Mutex::new(());

/// Users, until they are told not to come.
pub(crate) struct Load {
    world: Arc<World>,
    thread: Option<JoinHandle<()>>,
    _alone: MutexGuard<'static, ()>,
}

struct World {
    address: SocketAddr,
    is_over: AtomicBool,
    counts: Mutex<Counts>,
    idle: Mutex<VecDeque<TcpStream>>,
}

impl Load {
    /// So many users a second begin to come to `address`.
    pub(crate) fn begin(address: SocketAddr, per_second: u32) -> Self {
        // A test that failed under load has left nothing behind.
        let alone = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let world = Arc::new(World {
            address,
            is_over: AtomicBool::new(false),
            counts: Mutex::default(),
            idle: Mutex::default(),
        });
        let shared = Arc::clone(&world);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(come(shared, per_second));
        });
        Self { world, thread: Some(thread), _alone: alone }
    }

    /// What became of the requests so far.
    pub(crate) fn counts(&self) -> Counts {
        self.world.counts.lock().unwrap().clone()
    }

    /// Nobody comes any more; who has come is answered, or not.
    pub(crate) fn end(mut self) -> Counts {
        self.stop();
        self.counts()
    }

    fn stop(&mut self) {
        self.world.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.world.is_over.store(true, Ordering::SeqCst);
    }
}

async fn come(world: Arc<World>, per_second: u32) {
    let began = Instant::now();
    let (mut users, mut came) = (tokio::task::JoinSet::new(), 0_u128);
    while !world.is_over.load(Ordering::SeqCst) {
        // Who is due is due, also where the machine had no time for the ticks before.
        let due = began.elapsed().as_micros() * u128::from(per_second) / 1_000_000;
        while came < due {
            came += 1;
            users.spawn(visit(Arc::clone(&world)));
        }
        while users.try_join_next().is_some() {}
        tokio::time::sleep(TICK).await;
    }
    while users.join_next().await.is_some() {}
}

async fn visit(world: Arc<World>) {
    let asked = tokio::time::timeout(PATIENCE, world.ask()).await;
    let answer = asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let mut counts = world.counts.lock().unwrap();
    counts.asked += 1;
    match answer {
        Ok(Answer { status, server: Some(server), version: Some(version) }) if status < 500 => {
            *counts.servers.entry(server).or_default() += 1;
            *counts.versions.entry(version).or_default() += 1;
        }
        Ok(answer) => counts.failures.push(format!("{answer:?}")),
        Err(error) => counts.failures.push(error.to_string()),
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    server: Option<String>,
    version: Option<String>,
}

impl World {
    async fn ask(&self) -> io::Result<Answer> {
        // The one that has waited longest, so that none waits until it is ended.
        let kept = self.idle.lock().unwrap().pop_front();
        let mut stream = match kept {
            Some(stream) => stream,
            None => TcpStream::connect(self.address).await?,
        };
        stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await?;
        let mut bytes = Vec::with_capacity(1_024);
        let (answer, length, is_kept) = loop {
            if stream.read_buf(&mut bytes).await? == 0 || bytes.len() > ANSWER_MAX {
                return Err(io::Error::other(format!("broken off after {} bytes", bytes.len())));
            }
            if let Some(head) = parse(&bytes) {
                break head;
            }
        };
        while bytes.len() < length {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::Error::other("broken off in the body"));
            }
        }
        if is_kept {
            self.idle.lock().unwrap().push_back(stream);
        }
        Ok(answer)
    }
}

/// An answer whose head is whole, with its length in all, and whether the connection stays.
fn parse(bytes: &[u8]) -> Option<(Answer, usize, bool)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let fields: BTreeMap<String, &str> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .collect();
    let length: Option<usize> = fields.get("content-length").and_then(|text| text.parse().ok());
    let is_kept = length.is_some() && fields.get("connection") != Some(&"close");
    let field = |name: &str| fields.get(name).map(|&value| value.to_owned());
    let answer = Answer { status, server: field("x-server"), version: field("x-shop-version") };
    Some((answer, end + 4 + length.unwrap_or_default(), is_kept))
}
