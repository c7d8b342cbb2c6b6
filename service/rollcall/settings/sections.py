"""The sections and their keys: the type, kind and default of each.

A new key is one line here; that gives its variable, its checks and its messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

from rollcall.domain.recording import Durability, RecordMode, WhenFull
from rollcall.domain.verdicts import CheckLevel
from rollcall.settings.kinds import (
    BOOLEAN,
    COLLECTOR,
    DAYS,
    HOST,
    KEYS_URL,
    MAX_UNITS,
    PATH,
    PORT,
    RATE,
    SHARE,
    SHARE_OR_NONE,
    choice,
    seconds,
    text,
    whole,
)


class LogFormat(Enum):
    """How log lines are written."""

    JSON = "json"
    TEXT = "text"


class RepositoryMode(Enum):
    """When models are loaded from the repository, after those that are there at the start."""

    NONE = "none"
    """Never."""
    POLL = "poll"
    """When a newer revision or a new model is there; a model that is gone is unloaded."""
    EXPLICIT = "explicit"
    """When an admin asks for it over gRPC."""


class LogLevel(Enum):
    """The least severe events that are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcSettings:
    """The gRPC port. Port 0 picks a free one."""

    host: Annotated[str, HOST] = "127.0.0.1"
    port: Annotated[int, PORT] = 8001
    reflection: Annotated[bool, BOOLEAN] = False
    max_inbound_bytes: Annotated[int, whole(1024, 2**31 - 1)] = 4 * 1024 * 1024
    max_concurrent_streams: Annotated[int, whole(1, 2**31 - 1)] = 1000
    """Calls in progress on one connection; more wait at the client."""
    max_metadata_bytes: Annotated[int, whole(1024, 1024 * 1024)] = 16 * 1024
    """Of a call's metadata, tokens included, names and some overhead counted."""
    max_connections: Annotated[int, whole(1, 1_000_000)] = 1000
    """At a time; further ones are closed."""
    max_connection_seconds: Annotated[float, seconds(2_000_000)] = 0.0
    """Age, give or take a tenth, at which a connection is closed once its calls have ended, so that clients connect
    again and spread over all processes and pods; 0 for never."""
    propagation_seconds: Annotated[float, seconds(600)] = 0.0
    """Time between "not ready" and refusing connections, for load balancers to notice."""
    drain_seconds: Annotated[float, seconds(3600)] = 30.0
    """Time that calls in progress get to finish when the server stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSettings:
    """Who may ask on the gRPC port. Without callers and keys nobody has to say who they are."""

    callers: Annotated[Path | None, PATH] = None
    """File of callers, with their tokens' digests, certificates, tenants and roles; read again when it changes."""
    jwt_keys_file: Annotated[Path | None, PATH] = None
    """File of the keys (JWKS) of an issuer of JSON Web Tokens; read again when it changes."""
    jwt_keys_url: Annotated[str, KEYS_URL] = ""
    """The same at the issuer's address."""
    jwt_issuer: Annotated[str, text("the issuer, as its tokens write it")] = ""
    jwt_audience: Annotated[str, text("the audience that tokens for this service name")] = ""
    jwt_roles_claim: Annotated[str, text("the name of a claim")] = "roles"
    """Where a token has roles; a dot leads into an object."""
    jwt_tenant_claim: Annotated[str, text("the name of a claim")] = "tenant"
    """Where a token has its tenant; without one its subject is the tenant."""
    jwt_sees_claim: Annotated[str | None, text("the name of a claim")] = None
    """Claim with the tenants whose records somebody may ask of; unset, everybody may ask of all."""
    dangerously_serve_anyone: Annotated[bool, BOOLEAN] = False
    """Nobody has to say who they are, also beyond the loopback."""
    dangerously_reflect_to_anyone: Annotated[bool, BOOLEAN] = False
    """The same of reflection."""
    dangerously_trust_anyone: Annotated[bool, BOOLEAN] = False
    """Whoever does not have to say who they are has every role, those of auditors and administrators included."""

    @property
    def required(self) -> bool:
        """Whether callers have to say who they are."""
        return bool(self.callers or self.jwt_keys_file or self.jwt_keys_url)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """Encryption of the gRPC port, from PEM files that are read again when they change; plain text without them."""

    certificate: Annotated[Path | None, PATH] = None
    """The server's certificate, and those that lead to its root."""
    key: Annotated[Path | None, PATH] = None
    client_ca: Annotated[Path | None, PATH] = None
    """Roots of clients' certificates; with it nobody connects without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSettings:
    """The HTTP port for metrics and probes. Port 0 picks a free one."""

    host: Annotated[str, HOST] = "127.0.0.1"
    port: Annotated[int, PORT] = 8002


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainSettings:
    """Defaults and bounds of explanations."""

    check_level: Annotated[CheckLevel, choice(CheckLevel)] = CheckLevel.STANDARD
    policy: Annotated[str, text("the name of a policy")] = "standard"
    max_rows: Annotated[int, whole(1, 1_000_000)] = 128
    """Counterfactual rows of a request that sets no max_rows; the standard policy never needs more than 122."""
    thorough_rows: Annotated[int, whole(1, 1_000_000)] = 2_048
    """The same of a request for THOROUGH checks, the standard ones included; never more than limits.max_rows."""
    share: Annotated[float, SHARE] = 0.75
    """Largest share of the permits that explanations may hold, so that predictions keep a way in."""
    require_calibration: Annotated[bool, BOOLEAN] = False
    """Without a calibration every flag is INCONCLUSIVE (UNCALIBRATED)."""
    recheck_share: Annotated[float, SHARE_OR_NONE] = 0.005
    """Share of answers that are checked again with many more removals while the service is idle; 0 for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """What one request, and all requests together, may take."""

    max_characters: Annotated[int, whole(1, 100_000_000)] = 100_000
    max_in_flight: Annotated[int, whole(1, 1_000_000)] = 256
    max_units: Annotated[int, MAX_UNITS] = 64
    max_batch_tokens: Annotated[int, whole(16, 2**31 - 1)] = 8192
    memory_share: Annotated[float, SHARE] = 0.5
    """Share of the memory that is free once a model is loaded which one batch may take, by measured rows."""
    max_batch_bytes: Annotated[int | None, whole(1, 2**63 - 1)] = None
    """Memory that one batch may take, whatever is free; without it `memory_share` says."""
    max_batch_seconds: Annotated[float, seconds(10)] = 0.01
    """Time that a batch of many rows is cut to, so that predictions never wait long behind one."""
    predict_share: Annotated[float, SHARE] = 0.8
    """Largest share of the device that predictions may take while explanations wait."""
    max_queue_seconds: Annotated[float, seconds(3600)] = 10.0
    """Work that an explanation may find ahead of it; beyond that it is refused, with a hint when to come back."""
    max_rows: Annotated[int, whole(1, 1_000_000)] = 4096
    max_attention_bytes: Annotated[int, whole(1, 2**31 - 1)] = 256 * 1024 * 1024
    """Attention that one stream may bring: a little more than 512 tokens of 12 layers and 12 heads take in float32."""
    max_attention_streams: Annotated[int, whole(1, 10_000)] = 4
    """Streams with attention at a time, however slowly they are read; more are refused, with a hint when to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaSettings:
    """What one tenant may take of one server process; without a number there is no bound."""

    requests_per_second: Annotated[float | None, RATE] = None
    """Predictions and explanations."""
    rows_per_second: Annotated[float | None, RATE] = None
    """Counterfactual rows and untouched inputs, counted as they run."""
    concurrency: Annotated[int | None, whole(1, 1_000_000)] = None
    """Requests at a time."""
    burst_seconds: Annotated[float, seconds(3600, least=0.1)] = 10.0
    """How many seconds' worth of unused quota may be used at once."""
    tenants: Annotated[Path | None, PATH] = None
    """File with a section for each tenant that has a quota of its own; read again when it changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is logged, and how."""

    level: Annotated[LogLevel, choice(LogLevel)] = LogLevel.INFO
    format: Annotated[LogFormat, choice(LogFormat)] = LogFormat.JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    """Traces of calls, for a collector of OpenTelemetry's; needs rollcall[otel]."""

    endpoint: Annotated[str, COLLECTOR] = ""
    """Where the collector takes OTLP over gRPC; without it there are no traces."""
    share: Annotated[float, SHARE_OR_NONE] = 0.05
    """Of the calls whose callers do not say whether they are traced; a caller's own decision is followed."""
    service: Annotated[str, text("a name")] = "rollcall"
    """What this service is called in traces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSettings:
    """What outlives the process."""

    directory: Annotated[Path | None, PATH] = None
    """Where the records of models are kept, by one process, which locks it; without it they are in memory only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """The records of explanations, and the log over them."""

    directory: Annotated[Path | None, PATH] = None
    """Where the log is kept; without it there are no records."""
    database: Annotated[Path | None, PATH] = None
    """File whose line is the URL of a PostgreSQL database, a secret; without it a file of SQLite in the directory."""
    origin: Annotated[str, text("a name without blanks and +", r"[^\s+]{1,200}")] = "rollcall"
    """Name of the log, which its first signing key gets; best one that nobody else has, like a host's."""
    mode: Annotated[RecordMode, choice(RecordMode)] = RecordMode.SCORES_ONLY
    """What a record holds; a model may have its own."""
    durability: Annotated[Durability, choice(Durability)] = Durability.DURABLE
    """What must have happened to a record before its answer leaves; a model may have its own."""
    when_full: Annotated[WhenFull, choice(WhenFull)] = WhenFull.REJECT
    """What happens to an answer that cannot be recorded."""
    required: Annotated[bool, BOOLEAN] = False
    """Requests with audit OFF are refused."""
    signing_key: Annotated[Path | None, PATH] = None
    """File of the Ed25519 key that signs checkpoints; without it one is made in the directory."""
    encryption_key: Annotated[Path | None, PATH] = None
    """File of the key that wraps the records' keys; without it one is made beside what it protects."""
    checkpoint_directory: Annotated[Path | None, PATH] = None
    """Where copies of checkpoints go, best on other storage; without it in the directory."""
    checkpoint_seconds: Annotated[float, seconds(3600, least=0.1)] = 10.0
    """Between two signatures of a log that grows."""
    serve: Annotated[bool | None, BOOLEAN] = None
    """Whether the records are served on the gRPC port; unset, on the loopback or where callers say who they are."""
    four_eyes: Annotated[bool, BOOLEAN] = True
    """Nobody approves the decision of a review that they decided themselves."""
    unmasked: Annotated[bool, BOOLEAN] = True
    """Whether sealed texts may be shown without masks, too."""
    patterns: Annotated[Path | None, PATH] = None
    """File of further patterns to mask, TOML with NAME = 'REGULAR EXPRESSION': customer numbers, say."""
    review_unfaithful: Annotated[bool, BOOLEAN] = False
    """A review is opened of each record that is UNFAITHFUL."""
    review_mismatch: Annotated[bool, BOOLEAN] = False
    """A review is opened of each record whose caller acted on something else."""
    review_margin: Annotated[float | None, RATE] = None
    """A review is opened of each record whose decision has log-odds closer to 0 than this."""
    review_share: Annotated[float, SHARE_OR_NONE] = 0.0
    """Share of all records, whatever their flag, of which a review is opened."""
    review_second_share: Annotated[float, SHARE_OR_NONE] = 0.0
    """Share of reviews that get a second opinion of somebody who does not know the first."""
    review_days: Annotated[int, whole(1, 3650)] = 30
    """A review that is open for longer is overdue."""
    explanation_days: Annotated[int | None, DAYS] = None
    """For how long the sealed parts of explanations are kept; for ever if unset. A model may have its own."""
    decision_days: Annotated[int | None, DAYS] = None
    """The same of decisions that were not explained."""
    retention_hours: Annotated[float | None, RATE] = None
    """Between two times that the server erases what was kept long enough; only when it is asked to, if unset."""
    replays_per_hour: Annotated[float | None, RATE] = None
    """How many records of those held in full each process draws and works out again while nobody waits."""
    max_spool_bytes: Annotated[int, whole(1 << 20, 2**63 - 1)] = 1 << 30
    """Room for records that the database has not taken yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositorySettings:
    """A directory of models, NAME/REVISION/model.toml each with the model's files beside it."""

    directory: Annotated[Path | None, PATH] = None
    """Where it is; without it only the models of the settings are served."""
    mode: Annotated[RepositoryMode, choice(RepositoryMode)] = RepositoryMode.NONE
    poll_seconds: Annotated[float, seconds(86_400, least=0.1)] = 30.0
    """Between two looks at the directory in mode poll."""
    max_bytes: Annotated[int | None, whole(1, 2**63 - 1)] = None
    """Bytes of model files that may be loaded at a time, two revisions of one model while they are exchanged included;
    without it there is no bound."""
