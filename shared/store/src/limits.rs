//! The limits of this crate, in one place. Those of archives are [`bundle::Limits`].

use std::time::Duration;

/// Most bytes of a revision's object. It is also the most that S3 takes in one PUT.
pub const OBJECT_BYTES_MAX: u64 = 5 << 30;

/// Objects up to this size are put without asking whether they are already there: the question would take as long.
pub const PUT_UNASKED_BYTES_MAX: u64 = 1 << 20;

/// Larger ones are put again when they were last put longer ago than this: half of the time after which what nothing needs
/// may be removed.
pub const KEPT_UNTOUCHED_MAX: Duration =
    Duration::from_millis(control::revision_intake::bundles::KEPT_MS_MIN / 2);

/// How long the URL of a bundle is good.
pub const URL_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Most keys of one BatchGetItem, as DynamoDB has it.
pub const BATCH_GET_MAX: usize = 100;

/// How often in a row a batch may come back without a single record before the table counts as unavailable.
pub const BATCH_GET_ATTEMPTS_MAX: u32 = 8;

/// The first wait between two such attempts; each one is twice as long as the one before.
pub const BATCH_GET_BACKOFF: Duration = Duration::from_millis(25);

/// Most characters of a page token. Four keys at DynamoDB's limits of 2,048 and 1,024 bytes fit in.
pub const TOKEN_CHARS_MAX: usize = 16 << 10;

/// How long S3 may take to begin its answer to a request that carries no body.
pub const S3_ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// The slowest upload to wait for.
pub const UPLOAD_BYTES_PER_SECOND_MIN: u64 = 1 << 20;

/// How long a new table may take to become active.
pub const TABLE_ACTIVE_TIMEOUT: Duration = Duration::from_secs(300);
