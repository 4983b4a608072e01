//! What DynamoDB's errors mean for whoever asked: changed meanwhile, try again, or never.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason};
use control::table::{TableError, Write};
use thiserror::Error;

use crate::item::attribute;

/// What this crate itself refuses.
#[derive(Debug, Error)]
pub(crate) enum Refusal {
    #[error("{0} writes are more than one transaction takes (100); split them")]
    TooManyWrites(usize),
    #[error("a page of 0 records was asked for; ask for at least 1")]
    EmptyPage,
}

/// What DynamoDB left undone after several attempts.
#[derive(Debug, Error)]
#[error("{0} records of a batch were not read after several attempts; try again later")]
pub(crate) struct Unprocessed(pub(crate) usize);

/// A cause that trying again will not change.
pub(crate) fn refused(cause: impl std::error::Error + Send + Sync + 'static) -> TableError {
    TableError::Refused(Box::new(cause))
}

/// The meaning of an error of a read.
pub(crate) fn read_fault<E>(error: SdkError<E>) -> TableError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    if is_lasting(&error) { refused(error) } else { TableError::Unavailable(Box::new(error)) }
}

/// Whether a put has failed because it found what it has put itself: the answer of an earlier attempt of the SDK was lost.
pub(crate) fn has_found(error: &SdkError<PutItemError>, mark: &AttributeValue) -> bool {
    let Some(PutItemError::ConditionalCheckFailedException(failed)) = error.as_service_error()
    else {
        return false;
    };
    failed.item().and_then(|found| found.get(attribute::MARK)) == Some(mark)
}

/// The meaning of an error of a single `write`.
///
/// An answer may be lost after the write was done, and somebody else may change the record before the SDK's next attempt.
/// This is a conflict like any other: whoever gets it loads the record again, and sees what is there.
pub(crate) fn write_fault<E>(error: SdkError<E>, write: &Write) -> TableError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    if error.code().is_some_and(is_conflict) {
        return TableError::Conflict(write.key().clone());
    }
    read_fault(error)
}

/// The meaning of an error of a transaction of `writes`, in the order in which they were sent.
pub(crate) fn transaction_fault(
    error: SdkError<TransactWriteItemsError>,
    writes: &[&Write],
) -> TableError {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
        error.as_service_error()
    else {
        return match writes.first() {
            Some(write) => write_fault(error, write),
            None => read_fault(error),
        };
    };
    let reasons = cancelled.cancellation_reasons();
    let find = |wanted: &dyn Fn(&str) -> bool| {
        let position = |reason: &CancellationReason| reason.code().is_some_and(wanted);
        reasons.iter().position(position).and_then(|at| writes.get(at))
    };
    let failed = find(&|code| code == "ConditionalCheckFailed");
    if let Some(write) = failed.or_else(|| find(&|code| code == "TransactionConflict")) {
        return TableError::Conflict(write.key().clone());
    }
    let lasting = ["ValidationError", "ItemCollectionSizeLimitExceeded", "AccessDenied"];
    if find(&|code| lasting.contains(&code)).is_some() {
        return refused(error);
    }
    TableError::Unavailable(Box::new(error))
}

fn is_conflict(code: &str) -> bool {
    matches!(
        code,
        "ConditionalCheckFailedException"
            | "TransactionConflictException"
            | "TransactionInProgressException"
            | "ReplicatedWriteConflictException"
    )
}

/// Only what the service itself answered can be final: what did not arrive may arrive the next time.
fn is_lasting<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    let SdkError::ServiceError(context) = error else { return false };
    let transient = matches!(
        context.err().code(),
        Some(
            "ProvisionedThroughputExceededException"
                | "ThrottlingException"
                | "Throttling"
                | "RequestLimitExceeded"
                | "LimitExceededException"
                | "ExpiredTokenException"
                | "ExpiredToken"
        )
    );
    !transient && context.raw().status().as_u16() < 500
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::config::http::HttpResponse;
    use aws_sdk_dynamodb::error::ErrorMetadata;
    use aws_sdk_dynamodb::types::error::TransactionCanceledException;
    use aws_sdk_s3::primitives::SdkBody;
    use control::table::{Condition, Key};

    use super::*;

    fn answer(
        status: u16,
        error: TransactWriteItemsError,
    ) -> SdkError<TransactWriteItemsError, HttpResponse> {
        SdkError::service_error(
            error,
            HttpResponse::new(status.try_into().unwrap(), SdkBody::empty()),
        )
    }

    fn cancelled(codes: [&str; 3]) -> TableError {
        let reason = |code: &str| CancellationReason::builder().code(code).build();
        let exception = TransactionCanceledException::builder()
            .set_cancellation_reasons(Some(codes.into_iter().map(reason).collect()))
            .build();
        let error = TransactWriteItemsError::TransactionCanceledException(exception);
        let writes =
            ["a", "b", "c"].map(|sort| Write::Check(Key::new("p", sort), Condition::Absent));
        transaction_fault(answer(400, error), &writes.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_failed_condition_is_what_a_cancelled_transaction_is_about() {
        let conflict = |codes| match cancelled(codes) {
            TableError::Conflict(key) => key.sort,
            other @ (TableError::Unavailable(_) | TableError::Refused(_)) => panic!("{other:?}"),
        };
        assert_eq!(conflict(["None", "ConditionalCheckFailed", "None"]), "b");
        assert_eq!(conflict(["None", "None", "TransactionConflict"]), "c");
        assert_eq!(conflict(["TransactionConflict", "None", "ConditionalCheckFailed"]), "c");
    }

    #[test]
    fn throttled_and_invalid_transactions_are_told_apart() {
        for code in ["ThrottlingError", "ProvisionedThroughputExceeded", "None"] {
            let fault = cancelled(["None", code, "None"]);
            assert!(matches!(fault, TableError::Unavailable(_)), "{code}: {fault:?}");
        }
        for code in ["ValidationError", "ItemCollectionSizeLimitExceeded"] {
            let fault = cancelled(["None", code, "None"]);
            assert!(matches!(fault, TableError::Refused(_)), "{code}: {fault:?}");
        }
    }

    #[test]
    fn the_code_and_the_status_say_whether_to_try_again() {
        let fault = |status, code: &str| {
            let meta = ErrorMetadata::builder().code(code).build();
            let write = Write::Check(Key::new("p", "a"), Condition::Absent);
            transaction_fault(answer(status, TransactWriteItemsError::generic(meta)), &[&write])
        };
        for code in ["TransactionConflictException", "TransactionInProgressException"] {
            assert!(matches!(fault(400, code), TableError::Conflict(key) if key.sort == "a"));
        }
        for (status, code) in
            [(400, "ThrottlingException"), (400, "ExpiredTokenException"), (503, "Unheard")]
        {
            assert!(matches!(fault(status, code), TableError::Unavailable(_)), "{code}");
        }
        for code in ["ValidationException", "AccessDeniedException", "ResourceNotFoundException"] {
            assert!(matches!(fault(400, code), TableError::Refused(_)), "{code}");
        }
    }
}
