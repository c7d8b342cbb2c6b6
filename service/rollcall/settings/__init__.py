"""Everything an operator can set, read once from a TOML file, the environment and the command line.

Later sources win: file, then environment, then command line. A key is written `section.key` here and in messages; its
variable is `ROLLCALL_` and the same words in capitals joined by underscores: `grpc.port` is `ROLLCALL_GRPC_PORT`,
`default_model` is `ROLLCALL_DEFAULT_MODEL`, `models.fraud.threshold.label` is `ROLLCALL_MODELS_FRAUD_THRESHOLD_LABEL`.
Relative paths in a file start at the file's directory.

On the way out a `Settings` value is whole and consistent. Whatever is wrong is collected first, each mistake with its
place, and raised together as one `SettingsError`. While the service runs only `Settings.live` may change; `reread` says
what else would have to.
"""

from rollcall.settings.building import load_settings, read_model
from rollcall.settings.keys import KEYS
from rollcall.settings.kinds import MODEL_NAME
from rollcall.settings.mistakes import Mistake, SettingsError
from rollcall.settings.model import LEAST_TOKENS, MODEL_FILE, ModelSpec, is_servable
from rollcall.settings.reloading import Reload, reread
from rollcall.settings.sections import (
    AdminSettings,
    AuditSettings,
    AuthSettings,
    ExplainSettings,
    GrpcSettings,
    LimitSettings,
    LogFormat,
    LogLevel,
    LogSettings,
    QuotaSettings,
    RepositoryMode,
    RepositorySettings,
    StateSettings,
    TlsSettings,
    TraceSettings,
)
from rollcall.settings.sources import CLIENT_PREFIX, DEFAULT_TARGET, ENVIRONMENT_PREFIX, Entry, Sources
from rollcall.settings.whole import LiveSettings, Settings, is_loopback

__all__ = [
    "CLIENT_PREFIX",
    "DEFAULT_TARGET",
    "ENVIRONMENT_PREFIX",
    "KEYS",
    "LEAST_TOKENS",
    "MODEL_FILE",
    "MODEL_NAME",
    "AdminSettings",
    "AuditSettings",
    "AuthSettings",
    "Entry",
    "ExplainSettings",
    "GrpcSettings",
    "LimitSettings",
    "LiveSettings",
    "LogFormat",
    "LogLevel",
    "LogSettings",
    "Mistake",
    "ModelSpec",
    "QuotaSettings",
    "Reload",
    "RepositoryMode",
    "RepositorySettings",
    "Settings",
    "SettingsError",
    "Sources",
    "StateSettings",
    "TlsSettings",
    "TraceSettings",
    "is_loopback",
    "is_servable",
    "load_settings",
    "read_model",
    "reread",
]
