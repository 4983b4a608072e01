//! HAProxy's runtime socket: one command, one connection, one answer in text.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

/// How long HAProxy may take, from the connection to the end of its answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest answer that is read, in bytes: some thousand servers.
const ANSWER_MAX: u64 = 8 << 20;

/// Where HAProxy's runtime socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Socket {
    /// A file, as in `stats socket /run/haproxy/admin.sock level admin`.
    Unix(PathBuf),
    /// A port of this machine, as in `stats socket ipv4@127.0.0.1:9999 level admin`.
    Tcp(SocketAddr),
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

impl Socket {
    /// Gives a command, which has to be one line; its answer, without the blank around it.
    pub(super) async fn ask(&self, command: &str) -> io::Result<String> {
        let asked = tokio::time::timeout(TIMEOUT, async {
            match self {
                Self::Unix(path) => talk(UnixStream::connect(path).await?, command).await,
                Self::Tcp(address) => talk(TcpStream::connect(address).await?, command).await,
            }
        });
        let late = || {
            let text = format!("no answer within {} s", TIMEOUT.as_secs());
            io::Error::new(io::ErrorKind::TimedOut, text)
        };
        asked.await.unwrap_or_else(|_| Err(late()))
    }
}

async fn talk(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    command: &str,
) -> io::Result<String> {
    stream.write_all(format!("{command}\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
    if answer.len() as u64 >= ANSWER_MAX {
        return Err(io::Error::other(format!("an answer of more than {ANSWER_MAX} bytes")));
    }
    Ok(String::from_utf8_lossy(&answer).trim().to_owned())
}
