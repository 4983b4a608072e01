//! `cutover push`: packs a directory, uploads it, and registers it as a revision.

use std::io::Seek as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use wire::codedeploy::{
    BundleType, GetApplication, RegisterApplicationRevision, RevisionLocation,
    RevisionLocationType, S3Location,
};

use super::Context;
use crate::failure::{Exit, Failure};
use crate::find::Connection;
use crate::findings::{self, Finding};
use crate::output::{self, Format};
use crate::pack::{self, Mtime, Packed};
use crate::upload::{self, Stored};

/// Packs a directory, uploads it and registers it as a revision of an application
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Equal directories make equal archives, where the files' times are equal, too; with --mtime commit they are.\n\nExamples:\n  cutover push ./app shop\n  cutover push ./app shop --mtime commit"
)]
pub(crate) struct Args {
    /// The directory; its AppSpec file lies at its top
    #[arg(value_name = "DIR")]
    bundle: PathBuf,
    /// The application
    #[arg(value_name = "APP")]
    application: String,
    /// The key in the bucket; APP/APP-TIME-DIGEST.zip by default
    #[arg(long, value_name = "KEY", value_parser = object_key)]
    key: Option<String>,
    /// Whose modification times the files get; with `commit` git says their modes, too, and `.git` is left out
    #[arg(long, value_enum, value_name = "FROM", default_value_t)]
    mtime: Mtime,
}

/// A key that a URL can carry as it is.
fn object_key(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err(
            "a key is at least one character: leave --key out for one that is made up".to_owned()
        );
    }
    match text.split('/').find(|part| matches!(*part, "." | "..")) {
        Some(part) => Err(format!("a URL cannot carry the part `{part}`: choose a key without it")),
        None => Ok(text.to_owned()),
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let client = context.connect()?;
    let Args { bundle, application, key, mtime } = args;
    // An application that does not exist shall be heard of before anything is uploaded.
    client.call(&GetApplication { application_name: Some(application.clone()) }).await?;
    let packed = checked(&bundle, client.connection(), mtime)?;
    note_unknown(&packed.unknown);
    let key = key.unwrap_or_else(|| default_key(&application, &packed.sha256));
    let bucket = client.connection().bucket.clone();
    let Stored { e_tag, version } = upload::put(client.connection(), &key, packed).await?;
    let revision = RevisionLocation {
        revision_type: Some(RevisionLocationType::S3.name().to_owned()),
        s3_location: Some(S3Location {
            bucket: Some(bucket.clone()),
            key: Some(key.clone()),
            bundle_type: Some(BundleType::Zip.name().to_owned()),
            version,
            e_tag: Some(e_tag),
        }),
        ..RevisionLocation::default()
    };
    let request = RegisterApplicationRevision {
        application_name: Some(application.clone()),
        description: None,
        revision: Some(revision.clone()),
    };
    client.call(&request).await?;
    match context.format {
        Format::Json => {
            output::json(&json!({ "applicationName": application, "revision": revision }));
        }
        Format::Text => {
            output::line(&format!("s3://{bucket}/{key}"));
            output::note(&format!("next: cutover deploy {application}/GROUP --watch"));
        }
    }
    Ok(Exit::Done)
}

fn default_key(application: &str, sha256: &str) -> String {
    let time = output::format_time(output::now(), "%Y%m%dT%H%M%S");
    let digest = sha256.get(..8).unwrap_or_default();
    format!("{application}/{application}-{time}-{digest}.zip")
}

/// Says which files have no time of their own.
fn note_unknown(names: &[String]) {
    let [first, rest @ ..] = names else { return };
    let others = match rest.len() {
        0 => String::new(),
        1 => " and one more".to_owned(),
        count => format!(" and {count} more"),
    };
    output::note(&format!(
        "`{first}`{others}: git does not have the content, so the time is that of the directory's last commit"
    ));
}

/// Packs the directory, unless hosts would refuse it.
fn checked(dir: &Path, connection: &Connection, mtime: Mtime) -> Result<Packed, Failure> {
    let wrong = |error: &dyn std::error::Error| Failure::new(Exit::WrongUse, error.to_string());
    if !dir.is_dir() {
        return Err(Failure::new(Exit::WrongUse, format!("`{}` is no directory", dir.display()))
            .hint("give the directory that holds appspec.yml"));
    }
    refuse(dir, &findings::of_dir(dir).map_err(|error| wrong(&error))?)?;
    // A home or a connection that lies in the directory is no part of it.
    let home = connection.origin.dir().and_then(|dir| dir.canonicalize().ok());
    let mut packed = pack::pack_with(dir, home.as_deref(), mtime).map_err(|error| wrong(&error))?;
    refuse(dir, &findings::of_packed(&packed.file, dir))?;
    // The look into the archive has moved the file's position, and the upload begins at it.
    packed.file.rewind().map_err(|error| wrong(&error))?;
    Ok(packed)
}

/// Shows the findings, and fails if there are errors among them.
fn refuse(dir: &Path, findings: &[Finding]) -> Result<(), Failure> {
    findings.iter().for_each(|finding| output::note(&finding.to_string()));
    if findings.iter().any(Finding::is_error) {
        let message = format!("hosts would refuse the bundle in `{}`", dir.display());
        return Err(Failure::new(Exit::NotSucceeded, message)
            .hint("correct what is listed above; nothing was uploaded"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::cloud::Keys;
    use crate::find::Origin;

    #[test]
    fn a_key_is_one_that_a_url_can_carry() {
        for key in ["", "../x", "shop/./x", ".."] {
            assert!(object_key(key).is_err(), "{key}");
        }
        for key in ["app.zip", "shop/..zip", "ä b/.x"] {
            assert_eq!(object_key(key), Ok(key.to_owned()));
        }
    }

    #[test]
    fn a_checked_directory_is_uploaded_from_its_first_byte() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("appspec.yml"), "version: 0.0\nos: linux\n").unwrap();
        let connection = Connection {
            api: String::new(),
            bucket: String::new(),
            bucket_url: None,
            region: String::new(),
            keys: Keys::of_user(None, String::new()),
            origin: Origin::Environment,
        };
        let Ok(mut packed) = checked(place.path(), &connection, Mtime::File) else {
            panic!("it is refused")
        };
        let mut bytes = Vec::new();
        packed.file.read_to_end(&mut bytes).unwrap();
        assert_eq!(u64::try_from(bytes.len()).unwrap(), packed.size);
    }
}
