"""Every failure that this project raises on purpose, as one tree.

::

    DapPipelineError
    ├── ConfigurationError              (ends the run) a setting is missing or wrong
    │   ├── MissingCredentialsError     (ends the run)
    │   └── WrongOriginError            (ends the run) the data folder holds another service's data
    ├── UnknownTableError               a namespace or table that DAP does not list
    ├── CancelledError                  (ends the run) the user asked to stop
    ├── DapError                        DAP said no, or said nothing
    │   ├── UnreachableError            (retryable) no connection, or it broke
    │   ├── UnreadableAnswerError       (retryable) not the JSON that the contract promises
    │   ├── RateLimitedError            (retryable) HTTP 429
    │   ├── ServerError                 (retryable) HTTP 5xx
    │   ├── TokenRefusedError           HTTP 401: log in again
    │   ├── LoginRefusedError           (ends the run) wrong or revoked credentials
    │   ├── AccountError                (ends the run) disabled, not onboarded, under maintenance
    │   ├── ForbiddenError              HTTP 403 for another reason than these
    │   │   └── RequestForbiddenError   … this kind of request is barred for the account
    │   ├── NotFoundError               namespace, table, job or object unknown or expired
    │   ├── InvalidQueryError           DAP did not accept the query
    │   ├── OutOfRangeError             the instants lie outside what DAP keeps
    │   │   └── SnapshotRequiredError   … and the table was reloaded
    │   ├── JobFailedError              (retryable) the job ended without a result
    │   ├── UnknownJobStateError        a job state that no document names
    │   └── JobTimeoutError             the job did not end before its deadline
    ├── DownloadError
    │   ├── LinkExpiredError            (retryable) ask for a new link
    │   ├── DamagedObjectError          (retryable) cut, altered or not what it should be
    │   └── InsecureRedirectError       from https to http
    ├── LakeError
    │   ├── MisfitError                 a value or column does not fit the table's schema
    │   ├── SchemaUnavailableError      DAP no longer gives the schema that a job follows
    │   ├── SchemaConflictError         rows of the old schema and the new one cannot share a table
    │   ├── ContractError               the schema of a frozen table changed
    │   ├── BrokenKeyError              a key occurs twice, or is not there
    │   ├── RowCountError               far fewer or more rows than before
    │   ├── ConcurrentLoadError         another load of the table committed first
    │   └── StorageError                (ends the run) the disk is full, or may not be written
    └── WarehouseError                  the DuckDB file could not be built

Whether trying again can help (``retryable``) and whether the fault concerns every table
(``ends_run``) are facts of the class, not of the place that catches it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self


@dataclass(frozen=True)
class Place:
    """Where a failure happened, as far as it is known."""

    namespace: str | None = None
    table: str | None = None
    job_id: str | None = None
    uuid: str | None = None
    error_type: str | None = None

    def __str__(self) -> str:
        """Name only what is known: ``job 5f2c…, DAP error ProcessingError, uuid 1b9d…``."""
        parts = (
            ("job ", self.job_id),
            ("DAP error type ", self.error_type),
            ("uuid ", self.uuid),
        )
        return ", ".join(label + value for label, value in parts if value)


class DapPipelineError(Exception):
    """Base of all failures; its text says what happened, where, and last what to do."""

    retryable: ClassVar[bool] = False
    ends_run: ClassVar[bool] = False
    advice: ClassVar[str] = "Run it again; if it fails the same way, report it with this text."

    def __init__(self, what: str, *, advice: str | None = None, place: Place | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.what_to_do = advice or self.advice
        self.place = place or Place()

    def at(
        self, namespace: str | None = None, table: str | None = None, job_id: str | None = None
    ) -> Self:
        """Add where it happened, keeping what is known already, and return the same error."""
        known = self.place
        self.place = replace(
            known,
            namespace=known.namespace or namespace,
            table=known.table or table,
            job_id=known.job_id or job_id,
        )
        return self

    def __str__(self) -> str:
        table = ".".join(p for p in (self.place.namespace, self.place.table) if p)
        where = f" ({self.place})" if str(self.place) else ""
        subject = f"{table}: " if table else ""
        return f"{subject}{self.what.rstrip('.')}{where}. {self.what_to_do}"

    def __reduce__(self) -> tuple[object, ...]:
        # Dagster and process pools pickle exceptions; keyword arguments would be lost.
        return (_rebuild, (type(self), self.__dict__))


def _rebuild(kind: type[DapPipelineError], state: dict[str, object]) -> DapPipelineError:
    error = kind.__new__(kind)
    Exception.__init__(error, state["what"])
    error.__dict__.update(state)
    return error


class ConfigurationError(DapPipelineError):
    """A setting is missing or wrong."""

    ends_run = True
    advice = "Correct the setting and run it again."


class MissingCredentialsError(ConfigurationError):
    """No client id or no client secret was given."""

    advice = (
        "Set DAP_CLIENT_ID and DAP_CLIENT_SECRET to the credentials made at "
        "identity.instructure.com, or put them into a .env file here."
    )


class WrongOriginError(ConfigurationError):
    """The data folder holds the data of another DAP service."""

    advice = "Set DAP_PIPELINE_DATA_DIR to another folder."


class UnknownTableError(DapPipelineError):
    """A namespace or table that DAP does not list for this account."""

    advice = "See the names with `dap-pipeline list --namespace NAMESPACE`."


class CancelledError(DapPipelineError):
    """The user asked to stop; what was fetched is kept for the next run."""

    ends_run = True
    advice = "Run it again to go on where it stopped."


class DapError(DapPipelineError):
    """DAP refused, failed or could not be reached; ``retry_after`` is in seconds, where told."""

    def __init__(
        self,
        what: str,
        *,
        retry_after: float | None = None,
        advice: str | None = None,
        place: Place | None = None,
    ) -> None:
        super().__init__(what, advice=advice, place=place)
        self.retry_after = retry_after


class UnreachableError(DapError):
    """The connection failed before a whole answer arrived."""

    retryable = True
    advice = "Check the network, the proxy and DAP_API_URL, then run it again."


class UnreadableAnswerError(DapError):
    """The answer is not the JSON that the API documents."""

    retryable = True
    advice = "Check that DAP_API_URL names the DAP gateway and no proxy answers for it."


class RateLimitedError(DapError):
    """DAP allows no more calls of this kind for now (HTTP 429)."""

    retryable = True
    advice = "Wait a minute; if other programs use the same credentials, run them at other times."


class ServerError(DapError):
    """DAP or its gateway failed (HTTP 5xx)."""

    retryable = True
    advice = "Run it again later; if it lasts, give Instructure's support the uuid."


class TokenRefusedError(DapError):
    """The access token is no longer accepted (HTTP 401)."""

    advice = "Run it again; if it fails the same way, check the credentials."


class LoginRefusedError(DapError):
    """DAP did not accept the client id and secret."""

    ends_run = True
    advice = (
        "Check DAP_CLIENT_ID and DAP_CLIENT_SECRET, or make new credentials at "
        "identity.instructure.com."
    )


class AccountError(DapError):
    """The account may not use DAP now: disabled, not onboarded or under maintenance."""

    ends_run = True
    advice = "Ask your Canvas administrator or Instructure's support about the account."


class ForbiddenError(DapError):
    """DAP, or what stands before it, forbids the request (HTTP 403)."""

    advice = (
        "Check that no firewall or proxy keeps requests from DAP, and that the credentials may "
        "read this table."
    )


class RequestForbiddenError(ForbiddenError):
    """This kind of request (snapshot or incremental) is barred for the account."""

    advice = "Use the other kind of query, or ask Instructure's support to allow this one."


class NotFoundError(DapError):
    """A namespace, table, job or object does not exist or has expired."""

    advice = "Check the name; jobs and objects expire 24 hours after the job started."

    def __init__(
        self,
        what: str,
        *,
        kind: str = "",
        advice: str | None = None,
        place: Place | None = None,
    ) -> None:
        super().__init__(what, advice=advice, place=place)
        self.kind = kind


class InvalidQueryError(DapError):
    """DAP did not accept the body of a query."""

    advice = "Check format, mode and instants of the query."


class OutOfRangeError(DapError):
    """The instants lie outside what DAP keeps; ``since`` and ``until`` say what is permitted."""

    advice = "Take a snapshot, or choose instants within the permitted range."

    def __init__(
        self,
        what: str,
        *,
        since: str | None = None,
        until: str | None = None,
        advice: str | None = None,
        place: Place | None = None,
    ) -> None:
        super().__init__(what, advice=advice, place=place)
        self.since = since
        self.until = until


class SnapshotRequiredError(OutOfRangeError):
    """The table was reloaded since; changes cannot be followed over the reload."""

    advice = "Take a new snapshot of the table."


class JobFailedError(DapError):
    """The job ended without a result."""

    retryable = True
    advice = "Run it again later; if it lasts, give Instructure's support the uuid."


class UnknownJobStateError(DapError):
    """The job is in a state that no document names."""

    advice = "Look for a newer version of dap_pipeline, and report the state."


class JobTimeoutError(DapError):
    """The job did not end before its deadline."""

    advice = (
        "Run it again: within 24 hours DAP answers the same job. "
        "A longer deadline is the setting DAP_PIPELINE_JOB_TIMEOUT."
    )


class DownloadError(DapPipelineError):
    """An object could not be fetched."""

    advice = "Run it again: parts that arrived whole are kept."


class LinkExpiredError(DownloadError):
    """The object store refused the link, as it does 15 minutes after it was made."""

    retryable = True


class DamagedObjectError(DownloadError):
    """What arrived is cut, altered or not of the format that was asked for."""

    retryable = True


class InsecureRedirectError(DownloadError):
    """The object store sent the download from https to http."""

    advice = "Check which proxy answers for the object store: the data must not travel in clear."


class LakeError(DapPipelineError):
    """The lake could not be read or written."""


class MisfitError(LakeError):
    """A value or column does not fit the schema that the job follows."""

    advice = (
        "The published table is unchanged. Report it to Instructure's support with the job id; "
        "a new snapshot after the job expires may be whole."
    )


class SchemaUnavailableError(LakeError):
    """DAP gives another schema version than the one that the job follows."""

    advice = "Run it again after the job expires (24 hours after its start)."


class SchemaConflictError(LakeError):
    """Rows of the old schema and of the new one cannot stand in one table."""

    advice = "Take a snapshot of the table: it brings all rows in the new schema."


class ContractError(LakeError):
    """The schema of a table changed whose contract is to stay as it is."""

    advice = (
        "The published table is unchanged. Permit the change for this table with "
        "DAP_PIPELINE_CONTRACT, for example `NAMESPACE.TABLE=warn`, and load it again."
    )


class BrokenKeyError(LakeError):
    """A key of the load occurs twice, or is not there."""

    advice = (
        "The published table is unchanged. Report it to Instructure's support with the job id; "
        "a new snapshot after the job expires may be whole."
    )


class RowCountError(LakeError):
    """A snapshot has far fewer or more rows than the published table."""

    advice = (
        "The published table is unchanged. If the new count is right, permit it for this load "
        "with DAP_PIPELINE_ROW_CHANGE_FAIL or DAP_PIPELINE_MAY_BE_EMPTY, and load it again."
    )


class ConcurrentLoadError(LakeError):
    """Another load of the same table committed first."""

    advice = "Run it again: it starts from the table as it is now."


class StorageError(LakeError):
    """The disk is full, or a folder may not be written."""

    ends_run = True
    advice = "Free space or choose another DAP_PIPELINE_DATA_DIR, then run it again."


class WarehouseError(DapPipelineError):
    """The DuckDB file could not be built."""

    advice = "The old file is unchanged. Run `dap-pipeline register` after the cause is gone."
