//! A start that is under way, and how nothing is left of one that fails.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::warn;

use super::error::HomeError;
use super::running::Home;
use crate::dir::Dir;

/// What there is of a home that starts.
#[derive(Default)]
pub(super) struct Begun {
    dir: Option<Arc<Dir>>,
    pub(super) home: Option<Home>,
}

impl Begun {
    /// Opens the directory.
    pub(super) async fn open(&mut self, path: PathBuf) -> Result<Arc<Dir>, HomeError> {
        let opening = tokio::task::spawn_blocking(move || Dir::open(&path));
        let dir = Arc::new(opening.await.map_err(HomeError::Died)??);
        self.dir = Some(Arc::clone(&dir));
        Ok(dir)
    }

    /// Ends what was started and removes what was made. What cannot be is named in the log; the next start copes with it.
    pub(super) async fn undo(self) {
        if let Some(home) = self.home
            && let Err(error) = home.undo().await
        {
            let error = &error as &dyn std::error::Error;
            warn!(error, "not everything is undone of what was started");
        }
        if let Some(dir) = self.dir {
            dir.undo();
        }
    }
}
