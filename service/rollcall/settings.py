"""Everything an operator can set, read once from a TOML file, the environment and the command line.

Later sources win: file, then environment, then command line. A key is written `section.key` here and in messages; its
variable is `ROLLCALL_` and the same words in capitals joined by underscores: `grpc.port` is `ROLLCALL_GRPC_PORT`,
`default_model` is `ROLLCALL_DEFAULT_MODEL`, `models.fraud.threshold.label` is `ROLLCALL_MODELS_FRAUD_THRESHOLD_LABEL`.
Relative paths in a file start at the file's directory.

On the way out a `Settings` value is whole and consistent. Whatever is wrong is collected first, each mistake with its
place, and raised together as one `SettingsError`. While the service runs only `Settings.live` may change; `reread` says
what else would have to.

A new key is one line: its type, its kind and its default give its variable, its checks and its messages.
"""

from __future__ import annotations

import difflib
import importlib.util
import ipaddress
import re
import tomllib
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeAlias, TypeVar, get_type_hints

from rollcall.domain.decision import Task
from rollcall.domain.inputs import Threshold
from rollcall.domain.model import UNDECLARED, Declared, TensorNames, model_key
from rollcall.domain.recording import Durability, RecordMode, WhenFull
from rollcall.domain.verdicts import CheckLevel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")
E = TypeVar("E", bound=Enum)

Key: TypeAlias = tuple[str, ...]
"""Path of a key, e.g. ("grpc", "port")."""

Plain: TypeAlias = "str | int | float | bool | dict[str, Plain] | None"
"""A value that JSON can hold."""

ENVIRONMENT_PREFIX = "ROLLCALL_"
CLIENT_PREFIX = "ROLLCALL_CLIENT_"
"""Of variables for commands that ask a server; not settings of one."""
DEFAULT_TARGET = "127.0.0.1:8001"
"""The server that such a command asks unless told otherwise."""
SERVICE_LINK_NAME = re.compile(r"_SERVICE_(HOST|PORT\w*)$|_PORT_\d+_(TCP|UDP|SCTP)\w*$")
"""Variables that Kubernetes adds for a Service named "rollcall" or "rollcall-..."; not settings."""
SERVICE_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://")
MOST_PORTS = 65_535
MOST_TOKENS = 100
MOST_LABELS = 10_000
LEAST_TOKENS = 16
"""Below which a model cannot be proved."""
MOST_DEVICES = 64
OTLP = "opentelemetry.exporter.otlp.proto.grpc"
"""What only rollcall[otel] brings."""
MODEL_FILE = "model.toml"
"""In a repository, of each revision: what [models.NAME] would say."""
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


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
class Mistake:
    """One thing that is wrong: where it was written, and what was expected there."""

    place: str
    problem: str

    def __str__(self) -> str:
        """Write it as one line."""
        return f"{self.place}: {self.problem}"


class SettingsError(Exception):
    """The settings cannot be used; `mistakes` holds everything that was found."""

    def __init__(self, *mistakes: Mistake) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[T]):
    """What a key accepts: `parse` makes the value of what TOML or a variable holds, or raises ValueError."""

    expected: str
    parse: Callable[[object], T]


def number(of: Callable[[str | float], T], expected: str, accepts: Callable[[T], bool]) -> Kind[T]:
    """Numbers for which `accepts` holds; text is read with `of`, booleans are not numbers."""

    def parse(value: object) -> T:
        if (
            isinstance(value, bool)
            or not isinstance(value, (str, int, float))
            or (of is int and isinstance(value, float))
        ):
            raise ValueError
        parsed = of(value)
        if not accepts(parsed):
            raise ValueError
        return parsed

    return Kind(expected=expected, parse=parse)


def whole(least: int, most: int) -> Kind[int]:
    """Whole numbers from `least` to `most`."""
    return number(int, f"a whole number from {least} to {most}", lambda n: least <= n <= most)


def seconds(most: float, least: float = 0.0) -> Kind[float]:
    """Durations up to `most`."""
    return number(float, f"seconds from {least:g} to {most:g}", lambda x: least <= x <= most)


def text(expected: str, pattern: str = r".*\S.*") -> Kind[str]:
    """Text that matches `pattern` from start to end."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError
        return value

    return Kind(expected=expected, parse=parse)


def choice(members: type[E]) -> Kind[E]:
    """One of an enum's members, named by its value in any case."""
    by_name = {str(member.value).lower(): member for member in members}

    def parse(value: object) -> E:
        if not isinstance(value, str) or value.lower() not in by_name:
            raise ValueError
        return by_name[value.lower()]

    return Kind(expected="one of " + ", ".join(by_name), parse=parse)


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in {"true", "false"}:
        raise ValueError
    return value.lower() == "true"


def _path(value: object) -> Path:
    if not isinstance(value, (str, Path)) or not str(value).strip():
        raise ValueError
    return Path(value)


def _devices(value: object) -> tuple[str, ...]:
    found = value.split(",") if isinstance(value, str) else value
    if not isinstance(found, (list, tuple)) or not 0 < len(found) <= MOST_DEVICES:
        raise ValueError
    return tuple(DEVICE.parse(item.strip() if isinstance(item, str) else item) for item in found)


def several(expected: str, *, most: int) -> Kind[tuple[str, ...]]:
    """At least two texts: a list, or one text with commas between them."""

    def parse(value: object) -> tuple[str, ...]:
        found = value.split(",") if isinstance(value, str) else value
        if not isinstance(found, (list, tuple)) or not 1 < len(found) <= most:
            raise ValueError
        if not all(isinstance(each, str) and each for each in found):
            raise ValueError
        return tuple(found)

    return Kind(expected=expected, parse=parse)


BOOLEAN = Kind(expected="true or false", parse=_boolean)
PATH = Kind(expected="a path", parse=_path)
TOKENS = several("a list of tokens, at least two", most=MOST_TOKENS)
LABELS = several("a list of labels, at least two", most=MOST_LABELS)
TENSOR = text("a name of a tensor")
DAYS = whole(183, 36_500)
"""Of keeping records: six months at least, which is the least that anybody asks of such logs."""
HOST = text("a host name or address")
KEYS_URL = text("an https address", r"https://\S+|http://(localhost|127\.0\.0\.1|\[::1\])[:/]\S*")
COLLECTOR = text("an address like http://HOST:4317 or https://HOST:4317", r"https?://[^\s/@]+")
NAME = text("a model's name: letters, digits, dot, underscore, hyphen, at most 64", MODEL_NAME.pattern)
DEVICE = text('"cpu" or "cuda:N"', r"cpu|cuda(:\d+)?")
DEVICES = Kind(expected='a list of "cpu" or "cuda:N", or the same with commas between', parse=_devices)
DTYPE = text('"float32", "bfloat16" or "float16"', r"float32|bfloat16|float16")
PORT = whole(0, MOST_PORTS)
SHARE = number(float, "a share above 0 and at most 1", lambda x: 0 < x <= 1)
SHARE_OR_NONE = number(float, "a share from 0 to 1", lambda x: 0 <= x <= 1)
RATE = number(float, "a number above 0", lambda x: 0 < x < float("inf"))
PROBABILITY = number(float, "a probability above 0 and below 1", lambda x: 0 < x < 1)


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
    jwt_sees_claim: Annotated[str | None, text("the name of a claim")] = None
    """Claim with the tenants whose records somebody may ask of; unset, everybody may ask of all."""
    """Where a token has its tenant; without one its subject is the tenant."""
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
    max_units: Annotated[int, whole(2, 256)] = 64
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model to serve: an existing directory, and what the operator says about it."""

    name: str
    path: Path
    revision: str = ""
    threshold: Threshold | None = None
    calibration: Path | None = None
    device: str = "cpu"
    dtype: str = "float32"
    """Precision of weights and arithmetic."""
    tokens: tuple[str, ...] | None = None
    """Of a language model: the tokens among which the next one is asked for."""
    declared: Declared = UNDECLARED
    """What its files do not say, or say otherwise: keys labels, task, max_tokens and tensors."""
    audit_mode: RecordMode | None = None
    audit_durability: Durability | None = None
    audit_days: int | None = None

    @property
    def key(self) -> str:
        """What the compute rooms call its weights."""
        return model_key(self.name, self.revision)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSettings:
    """What SIGHUP may change."""

    check_level: CheckLevel
    max_rows: int
    share: float
    recheck_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One key as some source gives it. `place` is what a message calls it; `base` is where a relative path starts."""

    place: str
    key: Key
    value: object
    base: Path = Path()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where settings come from; `load` may be called again."""

    config: Path | None = None
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    overrides: tuple[Entry, ...] = ()

    def load(self) -> Settings:
        """Read everything. Raises SettingsError with all mistakes."""
        return _load(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, consistent with each other; `models` by name, at least one."""

    grpc: GrpcSettings
    tls: TlsSettings
    auth: AuthSettings
    admin: AdminSettings
    explain: ExplainSettings
    limits: LimitSettings
    quota: QuotaSettings
    log: LogSettings
    traces: TraceSettings
    state: StateSettings
    audit: AuditSettings
    repository: RepositorySettings
    models: tuple[ModelSpec, ...]
    devices: tuple[str, ...] = ()
    """One process for each, all on one gRPC port; without any, one process, and each model on its own device."""
    default_model: str | None
    """Where requests without a name go: as configured, or the only model."""
    sources: Sources = field(repr=False, compare=False)

    @property
    def live(self) -> LiveSettings:
        """The part that SIGHUP may change."""
        return LiveSettings(**{live.name: getattr(self.explain, live.name) for live in fields(LiveSettings)})

    @property
    def serves_records(self) -> bool:
        """Whether AuditService is on the gRPC port: never where somebody unknown could reach it from elsewhere."""
        guarded = self.auth.required or is_loopback(self.grpc.host)
        return guarded if self.audit.serve is None else self.audit.serve

    def public(self) -> dict[str, Plain]:
        """Everything an operator may see, ready for JSON."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self) if item.name != "sources"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload:
    """What a second reading came to: the settings now in force, and the keys that changed or would need a restart."""

    settings: Settings
    changed: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()
    mistakes: tuple[Mistake, ...] = ()


def reread(current: Settings, read: Callable[[], Settings]) -> Reload:
    """Read again while running: take over the live part only, and nothing at all if `read` raises SettingsError."""
    try:
        fresh = read()
    except SettingsError as error:
        return Reload(settings=current, mistakes=error.mistakes)
    live = {f"explain.{item.name}": getattr(fresh.explain, item.name) for item in fields(LiveSettings)}
    before, after = dict(_flatten(current.public())), dict(_flatten(fresh.public()))
    differing = [".".join(path) for path in sorted(before.keys() | after.keys()) if before.get(path) != after.get(path)]
    explain = replace(current.explain, **{name.removeprefix("explain."): value for name, value in live.items()})
    return Reload(
        settings=replace(current, explain=explain),
        changed=tuple(name for name in differing if name in live),
        needs_restart=tuple(name for name in differing if name not in live),
    )


SECTIONS: dict[str, type[Any]] = {
    "grpc": GrpcSettings,
    "tls": TlsSettings,
    "auth": AuthSettings,
    "admin": AdminSettings,
    "explain": ExplainSettings,
    "limits": LimitSettings,
    "quota": QuotaSettings,
    "log": LogSettings,
    "traces": TraceSettings,
    "state": StateSettings,
    "audit": AuditSettings,
    "repository": RepositorySettings,
}
TOP_KEYS: dict[Key, Kind[Any]] = {("default_model",): NAME, ("devices",): DEVICES}
KEYS: dict[Key, Kind[Any]] = TOP_KEYS | {
    (name, item): annotated.__metadata__[0]
    for name, section in SECTIONS.items()
    for item, annotated in get_type_hints(section, include_extras=True).items()
}
MODEL_KEYS: dict[Key, Kind[Any]] = {
    ("path",): PATH,
    ("revision",): text("a revision"),
    ("threshold", "label"): text("a label of the model"),
    ("threshold", "probability"): PROBABILITY,
    ("calibration",): PATH,
    ("device",): DEVICE,
    ("dtype",): DTYPE,
    ("tokens",): TOKENS,
    ("labels",): LABELS,
    ("task",): choice(Task),
    ("max_tokens",): whole(LEAST_TOKENS, 1_000_000),
    ("tensors", "input_ids"): TENSOR,
    ("tensors", "attention_mask"): TENSOR,
    ("tensors", "token_type_ids"): TENSOR,
    ("tensors", "output"): TENSOR,
    ("audit_mode",): choice(RecordMode),
    ("audit_durability",): choice(Durability),
    ("audit_days",): DAYS,
}


def read_model(file: Path, *, name: str, revision: str) -> ModelSpec:
    """Read the `model.toml` of a repository: the keys of [models.NAME], where path and revision are its directories.

    Raises SettingsError.
    """
    mistakes: list[Mistake] = []
    winners: dict[Key, Entry] = {}
    for entry in _file_entries(file, mistakes):
        if entry.key in {("path",), ("revision",)}:
            mistakes.append(Mistake(place=entry.place, problem="is not a setting here: the directory's place says it"))
        else:
            key = ("models", name, *entry.key)
            winners[key] = replace(entry, key=key)
    told: dict[str, object] = {"path": file.parent.resolve(), "revision": revision}
    for said, value in told.items():
        key = ("models", name, said)
        winners[key] = Entry(place=f"{file}: {said}", key=key, value=value)
    values: dict[Key, Any] = {key: value for key, entry in winners.items() for value in _parsed(entry, mistakes)}
    specs = list(_model(name, winners, values, mistakes))
    if mistakes:
        raise SettingsError(*mistakes)
    (spec,) = specs
    return spec


def _load(sources: Sources) -> Settings:
    mistakes: list[Mistake] = []
    # 1. Gather what each source says; a later one replaces an earlier one.
    from_file = list(_file_entries(sources.config, mistakes))
    readable = not mistakes
    models = {entry.key[1] for entry in from_file if _is_model(entry.key)}
    entries = [*from_file, *_environment_entries(sources.environ, models, mistakes), *sources.overrides]
    winners = {entry.key: entry for entry in entries}
    # 2. Check each value by itself.
    values: dict[Key, Any] = {path: value for path, entry in winners.items() for value in _parsed(entry, mistakes)}
    # 3. Build the sections, whose other keys have defaults, and the models, which must be complete.
    sections = {
        name: section(**{path[1]: value for path, value in values.items() if path[0] == name})
        for name, section in SECTIONS.items()
    }
    names = sorted({path[1] for path in winners if path[0] == "models" and path[1:]})
    specs = [spec for name in names for spec in _model(name, winners, values, mistakes)]
    # 4. Check what must hold between keys.
    only = names[0] if len(names) == 1 else None
    settings = Settings(
        **sections,
        models=tuple(specs),
        devices=values.get(("devices",), ()),
        default_model=values.get(("default_model",), only),
        sources=sources,
    )
    if readable:
        mistakes.extend(_contradictions(settings, names, winners))
    if mistakes:
        raise SettingsError(*mistakes)
    return settings


def _is_model(path: Key) -> bool:
    return path[0] == "models" and len(path[1:]) > 1


def _is_section(path: Key) -> bool:
    return path in {(name,) for name in (*SECTIONS, "models")} or (path[0] == "models" and len(path[1:]) == 1)


def _file_entries(config: Path | None, mistakes: list[Mistake]) -> Iterator[Entry]:
    if config is None:
        return
    try:
        table = tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        mistakes.append(Mistake(place=str(config), problem=f"cannot be read: {error.strerror}"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        mistakes.append(Mistake(place=str(config), problem=f"is not valid TOML: {error}"))
    else:
        for path, value in _flatten(table):
            yield Entry(place=f"{config}: {'.'.join(path)}", key=path, value=value, base=config.parent)


def _flatten(table: Mapping[str, object], prefix: Key = ()) -> Iterator[tuple[Key, object]]:
    for name, value in table.items():
        path = (*prefix, name)
        if isinstance(value, dict) and value:
            yield from _flatten(value, path)
        else:
            yield path, value


def _environment_entries(environ: Mapping[str, str], models: set[str], mistakes: list[Mistake]) -> Iterator[Entry]:
    known = {_variable(path): path for path in KEYS}
    spelt = {_variable((name,)): name for name in models}
    for variable, value in sorted(environ.items()):
        if (
            not variable.startswith(ENVIRONMENT_PREFIX)
            or variable.startswith(CLIENT_PREFIX)
            or SERVICE_LINK_NAME.search(variable)
            or SERVICE_LINK_VALUE.match(value)
        ):
            continue
        path = known.get(variable) or _model_key(variable, spelt)
        if path is None:
            mistakes.append(Mistake(place=variable, problem="is not a setting" + _suggestion(variable, known)))
        else:
            yield Entry(place=variable, key=path, value=value)


def _variable(path: Key) -> str:
    return ENVIRONMENT_PREFIX + re.sub(r"\W", "_", "_".join(path)).upper()


def _model_key(variable: str, spelt: Mapping[str, str]) -> Key | None:
    """Find the model's key; a name that the file spells differently (case, hyphens) is the file's."""
    for path in MODEL_KEYS:
        suffix = "_" + "_".join(path).upper()
        name = variable.removeprefix(ENVIRONMENT_PREFIX + "MODELS_").removesuffix(suffix)
        if variable == f"{ENVIRONMENT_PREFIX}MODELS_{name}{suffix}" and name:
            return ("models", spelt.get(ENVIRONMENT_PREFIX + name, name.lower()), *path)
    return None


def _suggestion(wrong: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(wrong, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _parsed(entry: Entry, mistakes: list[Mistake]) -> Iterator[object]:
    """Yield the value, or nothing after noting what is wrong with it."""
    kind = MODEL_KEYS.get(entry.key[2:]) if _is_model(entry.key) else KEYS.get(entry.key)
    if kind is None and _is_section(entry.key):
        if entry.value != {}:
            mistakes.append(Mistake(place=entry.place, problem="is a section, expected keys below it"))
        return
    if kind is None:
        known = [(*entry.key[:2], *path) for path in MODEL_KEYS] if _is_model(entry.key) else KEYS
        close = _suggestion(".".join(entry.key), {".".join(path): path for path in known})
        mistakes.append(Mistake(place=entry.place, problem="is not a setting" + close))
        return
    try:
        value = kind.parse(entry.value)
    except ValueError:
        mistakes.append(Mistake(place=entry.place, problem=f"expected {kind.expected}, got {str(entry.value)[:60]!r}"))
    else:
        yield entry.base / value.expanduser() if isinstance(value, Path) else value


def _model(
    name: str, winners: Mapping[Key, Entry], values: Mapping[Key, Any], mistakes: list[Mistake]
) -> Iterator[ModelSpec]:
    """Yield the model, or nothing after noting what is wrong with it."""
    given = {path[2:]: value for path, value in values.items() if path[:2] == ("models", name)}
    places = {path[2:]: entry.place for path, entry in winners.items() if path[:2] == ("models", name)}
    before = len(mistakes)

    def blame(path: Key, problem: str) -> None:
        mistakes.append(Mistake(place=places.get(path, ".".join(("models", name, *path))), problem=problem))

    if not MODEL_NAME.fullmatch(name):
        blame((), f"expected {NAME.expected}")
    if ("path",) not in places:
        blame(("path",), "is missing: the directory of the model, or its .onnx file")
    elif ("path",) in given and not is_servable(given["path",]):
        blame(("path",), f"no directory or .onnx file {given['path',]}")
    if ("calibration",) in given and not given["calibration",].is_file():
        blame(("calibration",), f"no file {given['calibration',]}")
    label, probability = (("threshold", part) in places for part in ("label", "probability"))
    if label != probability:
        blame(
            ("threshold", "probability" if label else "label"),
            "is missing: a threshold needs a label and a probability",
        )
    if len(mistakes) > before or places.keys() - given.keys():
        return
    threshold, tensors = (
        {path[1]: value for path, value in given.items() if path[0] == table} for table in ("threshold", "tensors")
    )
    flat = {path[0]: value for path, value in given.items() if len(path) == 1}
    declared = {key: flat.pop(key) for key in ("labels", "task", "max_tokens") if key in flat}
    yield ModelSpec(
        name=name,
        **flat,
        threshold=Threshold(**threshold) if threshold else None,
        declared=Declared(**declared, tensors=TensorNames(**tensors)),
    )


def _of_repository(repository: RepositorySettings, at: Callable[..., str]) -> Iterator[Mistake]:
    if repository.directory is not None and not repository.directory.is_dir():
        yield Mistake(place=at("repository", "directory"), problem=f"no directory {repository.directory}")
    if repository.directory is None and repository.mode is not RepositoryMode.NONE:
        yield Mistake(place=at("repository", "mode"), problem="expected a repository.directory, too")


def is_servable(path: Path) -> bool:
    """Whether a model may be there: a directory, or a file that was exported to ONNX."""
    return path.is_dir() or (path.is_file() and path.suffix == ".onnx")


def _contradictions(settings: Settings, names: list[str], winners: Mapping[Key, Entry]) -> Iterator[Mistake]:
    def at(*path: str) -> str:
        return winners[path].place if path in winners else ".".join(path)

    if not names and settings.repository.directory is None:
        yield Mistake(
            place="models",
            problem="expected at least one model: a section [models.NAME] with a path, or --model NAME=PATH",
        )
    yield from _of_repository(settings.repository, at)
    may_come = settings.repository.directory is not None
    if settings.default_model is not None and settings.default_model not in names and not may_come:
        close = _suggestion(settings.default_model, dict.fromkeys(names))
        yield Mistake(place=at("default_model"), problem=f"no model of this name is configured{close}")
    grpc, admin = settings.grpc, settings.admin
    if grpc.port == admin.port != 0 and grpc.host == admin.host:
        yield Mistake(place=at("admin", "port"), problem=f"expected another port than grpc.port, both are {admin.port}")
    last = admin.port + max(len(settings.devices) - 1, 0)
    if admin.port and admin.host == grpc.host and admin.port < grpc.port <= last:
        problem = f"expected a port that no worker needs for grpc.port; they need {admin.port} to {last} for admin"
        yield Mistake(place=at("grpc", "port"), problem=problem)
    if last > MOST_PORTS:
        yield Mistake(
            place=at("admin", "port"), problem=f"expected ports up to {last}, one for each of devices, to exist"
        )
    for name in names if settings.devices else ():
        if ("models", name, "device") in winners:
            problem = "expected no device for single models where there are devices for processes"
            yield Mistake(place=at("models", name, "device"), problem=problem)
    yield from _unguarded(settings, at)
    yield from _incomplete(settings, at)
    if settings.explain.max_rows > settings.limits.max_rows:
        problem = f"expected at most limits.max_rows, which is {settings.limits.max_rows}"
        yield Mistake(place=at("explain", "max_rows"), problem=problem)


def _unguarded(settings: Settings, at: Callable[..., str]) -> Iterator[Mistake]:
    """Doors that would be open to anyone."""
    auth, grpc = settings.auth, settings.grpc
    if not auth.required:
        who = "where nobody has to say who they are (auth.callers, auth.jwt_keys_file, auth.jwt_keys_url)"
        if not is_loopback(grpc.host) and not auth.dangerously_serve_anyone:
            problem = f"expected a loopback address {who}; or set auth.dangerously_serve_anyone"
            yield Mistake(place=at("grpc", "host"), problem=problem)
        if grpc.reflection and not auth.dangerously_reflect_to_anyone:
            problem = f"expected false {who}; or set auth.dangerously_reflect_to_anyone"
            yield Mistake(place=at("grpc", "reflection"), problem=problem)
        if settings.audit.serve and not is_loopback(grpc.host):
            yield Mistake(place=at("audit", "serve"), problem=f"expected false beyond the loopback {who}")


def _incomplete(settings: Settings, at: Callable[..., str]) -> Iterator[Mistake]:
    """Files and software that are not there, and halves of what belongs together."""
    auth = settings.auth
    files = {("tls", item.name): getattr(settings.tls, item.name) for item in fields(TlsSettings)}
    files |= {("auth", "callers"): auth.callers, ("auth", "jwt_keys_file"): auth.jwt_keys_file}
    files |= {("quota", "tenants"): settings.quota.tenants, ("audit", "patterns"): settings.audit.patterns}
    for path, file in files.items():
        if file is not None and not file.is_file():
            yield Mistake(place=at(*path), problem=f"no file {file}")
    for name, other in (("certificate", "key"), ("key", "certificate"), ("client_ca", "certificate")):
        if getattr(settings.tls, name) is not None and getattr(settings.tls, other) is None:
            yield Mistake(place=at("tls", other), problem=f"is missing: tls.{name} needs it")
    if auth.jwt_keys_file and auth.jwt_keys_url:
        yield Mistake(place=at("auth", "jwt_keys_url"), problem="expected nothing beside auth.jwt_keys_file")
    if settings.traces.endpoint and not _is_installed(OTLP):
        yield Mistake(place=at("traces", "endpoint"), problem="expected rollcall[otel] to be installed")
    for name in ("jwt_issuer", "jwt_audience"):
        if (auth.jwt_keys_file or auth.jwt_keys_url) and not getattr(auth, name):
            yield Mistake(place=at("auth", name), problem="is missing: without it tokens meant for others would do")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone; a name other than localhost is not believed."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _plain(value: object) -> Plain:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple) and not all(isinstance(item, ModelSpec) for item in value):
        return ",".join(map(str, value))
    if isinstance(value, tuple):
        return {model.name: _plain(model) for model in value}
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value) if item.name != "name"}
    return value if isinstance(value, (bool, int, float, str)) or value is None else str(value)
