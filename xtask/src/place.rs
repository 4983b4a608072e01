//! Where things are: the working tree, what cargo builds, the Python environment.

use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context as _, Result, bail, ensure};

/// Where things are.
pub(crate) struct Place {
    /// The root of the working tree.
    pub(crate) tree: PathBuf,
    /// Where cargo puts what it builds.
    pub(crate) target: PathBuf,
    /// The folder of it with the programs that are run: `debug`, or `release` where they are measured.
    pub(crate) profile: &'static str,
}

impl Place {
    /// Asks cargo.
    pub(crate) fn find() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let mut cargo = process::Command::new(cargo());
        cargo
            .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
            .arg(manifest);
        let told =
            cargo.stderr(process::Stdio::inherit()).output().context("cargo cannot be run")?;
        ensure!(told.status.success(), "cargo metadata failed");
        let told: serde_json::Value = serde_json::from_slice(&told.stdout)?;
        let path =
            |name: &str| told.get(name).and_then(serde_json::Value::as_str).map(PathBuf::from);
        Ok(Self {
            tree: path("workspace_root").context("cargo metadata names no workspace root")?,
            target: path("target_directory").context("cargo metadata names no target directory")?,
            profile: "debug",
        })
    }

    /// The Python environment.
    pub(crate) fn venv(&self) -> PathBuf {
        self.tree.join(".venv")
    }

    /// The Python environment of checkov, whose pins clash with those of the AWS CLI.
    pub(crate) fn checkov_venv(&self) -> PathBuf {
        self.tree.join(".venv-checkov")
    }

    /// The Python environment of the emulated cloud, whose pins clash with those of the AWS CLI.
    pub(crate) fn cloud_venv(&self) -> PathBuf {
        self.tree.join(".venv-cloud")
    }

    /// What the tests built, as `cutover` or `examples/seeds`.
    pub(crate) fn built(&self, name: &str) -> Result<PathBuf> {
        let path = self.target.join(self.profile).join(name);
        if !path.is_file() {
            bail!(
                "`{}` was not built: `cargo build --workspace --all-targets` should make it",
                path.display()
            );
        }
        Ok(path)
    }

    /// A new, empty directory for what `name` leaves behind.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let path = self.target.join("xtask").join(name);
        if path.exists() {
            std::fs::remove_dir_all(&path)
                .with_context(|| format!("`{}` cannot be emptied", path.display()))?;
        }
        std::fs::create_dir_all(&path)
            .with_context(|| format!("`{}` cannot be made", path.display()))?;
        Ok(path)
    }
}

/// The cargo that runs this.
pub(crate) fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}
