"""Settings come from file, environment and command line, and every mistake is shown with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcall.domain.decision import Task
from rollcall.domain.inputs import Threshold
from rollcall.domain.model import Declared, TensorNames
from rollcall.domain.recording import Durability, RecordMode
from rollcall.domain.verdicts import CheckLevel
from rollcall.settings import (
    KEYS,
    Entry,
    LiveSettings,
    LogFormat,
    LogLevel,
    Mistake,
    ModelSpec,
    Settings,
    SettingsError,
    Sources,
    load_settings,
    reread,
)
from rollcall.settings.kinds import NAME, PROBABILITY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with a model directory and a calibration file."""
    (tmp_path / "model").mkdir()
    (tmp_path / "calibration.json").write_text("{}")
    return tmp_path


def load(folder: Path, toml: str, **environ: str) -> Settings:
    """Load a file of this content, with these variables."""
    config = folder / "rollcall.toml"
    config.write_text(toml)
    return load_settings(Sources(config=config, environ=environ))


def mistakes(folder: Path, toml: str, **environ: str) -> list[str]:
    """Load settings that are wrong; return what is said about them, with the file called FILE."""
    with pytest.raises(SettingsError) as raised:
        load(folder, toml, **environ)
    assert str(raised.value).splitlines() == [str(mistake) for mistake in raised.value.mistakes]
    return [str(mistake).replace(str(folder / "rollcall.toml"), "FILE") for mistake in raised.value.mistakes]


NO_SETTING = "is not a setting; did you mean"
MODEL = '[models.demo]\npath = "model"\n'


# --- what is read --------------------------------------------------------------------------------------------------


def test_defaults_are_safe(folder: Path) -> None:
    """With nothing but a model, both ports are on the loopback and reflection is off."""
    settings = load(folder, MODEL)
    assert (settings.grpc.host, settings.grpc.port, settings.grpc.reflection) == ("127.0.0.1", 8001, False)
    assert (settings.admin.host, settings.admin.port) == ("127.0.0.1", 8002)
    assert settings.grpc.max_inbound_bytes == 4 * 1024 * 1024
    assert (settings.explain.check_level, settings.explain.policy) == (CheckLevel.STANDARD, "standard")
    assert (settings.limits.max_characters, settings.limits.max_rows) == (100_000, 4096)
    assert settings.models == (ModelSpec(name="demo", path=folder / "model"),)


def test_a_full_file_is_read(folder: Path) -> None:
    """Every kind of value can be written in the file; paths start at the file."""
    settings = load(
        folder,
        """
        default_model = "fraud"
        [grpc]
        port = 0
        reflection = true
        drain_seconds = 2.5
        [auth]
        dangerously_reflect_to_anyone = true
        [explain]
        check_level = "NONE"
        share = 1
        require_calibration = true
        [log]
        level = "debug"
        format = "text"
        [models.fraud]
        path = "model"
        revision = "2024-05"
        threshold = { label = "fraud", probability = 0.93 }
        calibration = "calibration.json"
        device = "cuda:1"
        [models.other-one]
        path = "model"
        """,
    )
    assert (settings.grpc.port, settings.grpc.reflection, settings.grpc.drain_seconds) == (0, True, 2.5)
    assert (settings.explain.check_level, settings.explain.share) == (CheckLevel.NONE, 1.0)
    assert settings.explain.require_calibration
    assert (settings.log.level, settings.log.format) == (LogLevel.DEBUG, LogFormat.TEXT)
    assert settings.default_model == "fraud"
    assert settings.models[0] == ModelSpec(
        name="fraud",
        path=folder / "model",
        revision="2024-05",
        threshold=Threshold(label="fraud", probability=0.93),
        calibration=folder / "calibration.json",
        device="cuda:1",
    )


def test_the_environment_wins_over_the_file(folder: Path) -> None:
    """A variable named after section and key replaces the file's value."""
    settings = load(
        folder,
        '[grpc]\nport = 1\n[models.my-model]\npath = "nowhere"\n',
        ROLLCALL_GRPC_PORT="9001",
        ROLLCALL_LIMITS_MAX_ROWS="512",
        ROLLCALL_GRPC_REFLECTION="TRUE",
        ROLLCALL_AUTH_DANGEROUSLY_REFLECT_TO_ANYONE="true",
        ROLLCALL_DEFAULT_MODEL="my-model",
        ROLLCALL_MODELS_MY_MODEL_PATH=str(folder / "model"),
        ROLLCALL_MODELS_MY_MODEL_THRESHOLD_LABEL="yes",
        ROLLCALL_MODELS_MY_MODEL_THRESHOLD_PROBABILITY="0.7",
        HOME="/nowhere",
    )
    assert (settings.grpc.port, settings.limits.max_rows, settings.grpc.reflection) == (9001, 512, True)
    assert settings.models[0].path == folder / "model"
    assert settings.models[0].threshold == Threshold(label="yes", probability=0.7)


def test_a_model_can_come_from_the_environment_alone(folder: Path) -> None:
    """A container needs no file: a new model is named in lower case."""
    settings = load_settings(Sources(environ={"ROLLCALL_MODELS_FRAUD_PATH": str(folder / "model")}))
    assert [model.name for model in settings.models] == ["fraud"]


def test_the_command_line_wins(folder: Path) -> None:
    """An option replaces both file and environment."""
    config = folder / "rollcall.toml"
    config.write_text(MODEL)
    override = Entry(place="--grpc-port", key=("grpc", "port"), value=7)
    sources = Sources(config=config, environ={"ROLLCALL_GRPC_PORT": "8"}, overrides=(override,))
    assert load_settings(sources).grpc.port == 7


def test_the_only_model_is_the_default(folder: Path) -> None:
    """Requests without a name go to the only model; with several the operator must choose."""
    assert load(folder, MODEL).default_model == "demo"
    assert load(folder, MODEL + '[models.b]\npath = "model"\n').default_model is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ROLLCALL_SERVICE_HOST", "10.0.0.1"),
        ("ROLLCALL_SERVICE_PORT_GRPC", "8001"),
        ("ROLLCALL_PORT", "tcp://10.0.0.1:8001"),
        ("ROLLCALL_PORT_8001_TCP_ADDR", "10.0.0.1"),
        ("ROLLCALL_GRPC_PORT", "tcp://10.0.0.1:8001"),
    ],
)
def test_service_links_are_no_settings(folder: Path, variable: str, value: str) -> None:
    """Variables that Kubernetes adds for a Service named rollcall, or rollcall-grpc, do not stop the server."""
    assert load(folder, MODEL, **{variable: value}).grpc.port == 8001


def test_public_settings_are_plain(folder: Path) -> None:
    """The status page can show all settings as JSON."""
    public = load(folder, MODEL).public()
    assert public["models"] == {
        "demo": {
            "path": str(folder / "model"),
            "revision": "",
            "threshold": None,
            "calibration": None,
            "device": "cpu",
            "dtype": "float32",
            "tokens": None,
            "declared": {
                "labels": None,
                "task": None,
                "tensors": {"input_ids": "", "attention_mask": "", "token_type_ids": "", "output": ""},
                "max_tokens": None,
                "max_units": None,
                "family": "",
            },
            "audit_mode": None,
            "audit_durability": None,
            "audit_days": None,
        }
    }
    assert public["log"] == {"level": "info", "format": "json"}
    assert public["default_model"] == "demo"


def test_a_language_models_tokens_are_a_list(folder: Path) -> None:
    """In the file a list, in a variable parted by commas; spaces belong to tokens, and one alone is no choice."""
    told = load(folder, MODEL + 'tokens = [" yes", " no"]\n')
    assert told.models[0].tokens == (" yes", " no")
    assert load(folder, MODEL, ROLLCALL_MODELS_DEMO_TOKENS=" yes, no").models[0].tokens == (" yes", " no")
    for wrong in ('["yes"]', '["yes", ""]', '["yes", 1]', "7"):
        with pytest.raises(SettingsError, match="expected a list of tokens, at least two"):
            load(folder, MODEL + f"tokens = {wrong}\n")


def test_what_a_models_files_do_not_say_is_said_in_the_settings(folder: Path) -> None:
    """Labels, task, and what an exported graph calls its tensors; a wrong key or value is named."""
    (model,) = load(
        folder,
        MODEL
        + 'labels = ["no", "yes"]\ntask = "multi_label"\n[models.demo.tensors]\ninput_ids = "ids"\noutput = "p"\n',
    ).models
    assert model.declared == Declared(
        labels=("no", "yes"), task=Task.MULTI_LABEL, tensors=TensorNames(input_ids="ids", output="p")
    )
    assert load(folder, MODEL, ROLLCALL_MODELS_DEMO_TENSORS_OUTPUT="p").models[0].declared.tensors.output == "p"
    told = load(folder, MODEL + 'max_units = 12\nfamily = "bert"\n').models[0].declared
    assert (told.max_units, told.family) == (12, "bert")
    for wrong, says in (
        ('labels = ["no"]\n', "demo.labels: expected a list of labels"),
        ('task = "regression"\n', "demo.task: expected one of single_label, multi_label"),
        ("max_tokens = 3\n", "demo.max_tokens: expected"),
        ("max_units = 1\n", "demo.max_units: expected a whole number from 2 to 256"),
        ("family = 7\n", "demo.family: expected the model type of an architecture"),
        ('[models.demo.tensors]\npixels = "x"\n', "demo.tensors.pixels: is not a setting"),
        ('tensors = "x"\n', "demo.tensors: is not a setting"),
    ):
        with pytest.raises(SettingsError, match=says):
            load(folder, MODEL + wrong)


def test_a_model_may_be_recorded_in_its_own_way(folder: Path) -> None:
    """How much a record holds and how safe it is are settings of the server, and of each model."""
    settings = load(
        folder,
        '[audit]\ndirectory = "log"\nmode = "digest_only"\n' + MODEL + 'audit_mode = "full"\n',
        ROLLCALL_MODELS_DEMO_AUDIT_DURABILITY="strict",
    )
    (model,) = settings.models
    assert settings.audit.directory == folder / "log"
    assert (settings.audit.mode, settings.audit.durability) == (RecordMode.DIGEST_ONLY, Durability.DURABLE)
    assert (model.audit_mode, model.audit_durability) == (RecordMode.FULL, Durability.STRICT)


@pytest.mark.parametrize("toml", ['devices = ["cpu", "cuda:1"]\n', 'devices = "cpu, cuda:1"\n'])
def test_devices_are_a_list_or_words_with_commas(folder: Path, toml: str) -> None:
    """One process for each; the environment has no lists."""
    assert load(folder, toml + MODEL).devices == ("cpu", "cuda:1")
    assert load(folder, MODEL, ROLLCALL_DEVICES="cpu,cuda:1").devices == ("cpu", "cuda:1")
    assert load(folder, toml + MODEL).public()["devices"] == "cpu,cuda:1"


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("devices = []\n", "devices: expected a list of"),
        ('devices = ["gpu"]\n', "devices: expected a list of"),
        ("devices = [0]\n", "devices: expected a list of"),
        ('devices = ["cpu", "cpu"]\n[grpc]\nport = 8003\n', "grpc.port: expected a port that no worker needs"),
        ('devices = ["cpu", "cpu"]\n[admin]\nport = 65535\n', "admin.port: expected ports up to 65536"),
    ],
)
def test_devices_that_cannot_be(folder: Path, toml: str, problem: str) -> None:
    """Each worker needs a device that there may be, and ports that are free."""
    (found,) = mistakes(folder, toml + MODEL)
    assert found.startswith(f"FILE: {problem}")


def test_a_device_of_a_model_contradicts_devices_of_processes(folder: Path) -> None:
    """A worker runs all of its models on its own device."""
    (found,) = mistakes(folder, 'devices = ["cpu"]\n' + MODEL + 'device = "cpu"\n')
    assert found.startswith("FILE: models.demo.device: expected no device for single models")


# --- what is refused -----------------------------------------------------------------------------------------------


def test_all_mistakes_are_reported_together(folder: Path) -> None:
    """An operator sees every mistake of file and environment at once, each with its place."""
    assert mistakes(
        folder,
        """
        default_modle = "x"
        [grpc]
        port = 70000
        prot = 3
        [explain]
        check_level = "extreme"
        share = 0
        [models.a]
        path = "gone"
        threshold = { label = "fraud" }
        """,
        ROLLCALL_LOG_LEVEL="loud",
        ROLLCALL_LOGS_LEVEL="info",
        ROLLCALL_ADMIN_PORT="two",
    ) == [
        "ROLLCALL_LOGS_LEVEL: is not a setting; did you mean ROLLCALL_LOG_LEVEL?",
        "FILE: default_modle: is not a setting; did you mean default_model?",
        "FILE: grpc.port: expected a whole number from 0 to 65535, got '70000'",
        "FILE: grpc.prot: is not a setting; did you mean grpc.port?",
        "FILE: explain.check_level: expected one of none, standard, thorough, got 'extreme'",
        "FILE: explain.share: expected a share above 0 and at most 1, got '0'",
        "ROLLCALL_ADMIN_PORT: expected a whole number from 0 to 65535, got 'two'",
        "ROLLCALL_LOG_LEVEL: expected one of debug, info, warning, error, got 'loud'",
        f"FILE: models.a.path: no directory or .onnx file {folder / 'gone'}",
        "models.a.threshold.probability: is missing: a threshold needs a label and a probability",
    ]


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("", "models: expected at least one model: a section [models.NAME] with a path, or --model NAME=PATH"),
        ("[models.demo]\n", "models.demo.path: is missing: the directory of the model, or its .onnx file"),
        (MODEL + "device = 'tpu'", 'FILE: models.demo.device: expected "cpu" or "cuda:N", got \'tpu\''),
        (MODEL + "calibration = 'none.json'", "FILE: models.demo.calibration: no file FOLDER/none.json"),
        (
            MODEL + "treshold.label = 'x'",
            f"FILE: models.demo.treshold.label: {NO_SETTING} models.demo.threshold.label?",
        ),
        (
            MODEL + "threshold = {label='x', probability=1}",
            f"FILE: models.demo.threshold.probability: expected {PROBABILITY.expected}, got '1'",
        ),
        ("[models.'no space']\npath = 'model'", f"models.no space: expected {NAME.expected}"),
        ("[models.a]\npath = ' '", "FILE: models.a.path: expected a path, got ' '"),
        ("models = 3", "FILE: models: is a section, expected keys below it"),
        ("grpc = 3\n" + MODEL, "FILE: grpc: is a section, expected keys below it"),
        ("models.demo = 'model'", "FILE: models.demo: is a section, expected keys below it"),
        ("port = 3\n" + MODEL, f"FILE: port: {NO_SETTING} grpc.port?"),
        (MODEL + "[grpc]\nport = 8002", "admin.port: expected another port than grpc.port, both are 8002"),
        (MODEL + "[grpc]\nport = true", "FILE: grpc.port: expected a whole number from 0 to 65535, got 'True'"),
        (MODEL + "[grpc]\nport = 8001.0", "FILE: grpc.port: expected a whole number from 0 to 65535, got '8001.0'"),
        (MODEL + "[grpc]\nreflection = 1", "FILE: grpc.reflection: expected true or false, got '1'"),
        (MODEL + "[grpc]\nhost = ''", "FILE: grpc.host: expected a host name or address, got ''"),
        (MODEL + "[grpc]\ndrain_seconds = nan", "FILE: grpc.drain_seconds: expected seconds from 0 to 3600, got 'nan'"),
        (
            MODEL + "[explain]\nmax_rows = 5000",
            "FILE: explain.max_rows: expected at most limits.max_rows, which is 4096",
        ),
        (
            "default_model = 'dmo'\n" + MODEL,
            "FILE: default_model: no model of this name is configured; did you mean demo?",
        ),
        ("default_model = 'x y'\n" + MODEL, f"FILE: default_model: expected {NAME.expected}, got 'x y'"),
    ],
)
def test_a_mistake_is_named_with_its_place(folder: Path, toml: str, problem: str) -> None:
    """The operator learns where the mistake is, and what was expected there."""
    assert problem.replace("FOLDER", str(folder)) in mistakes(folder, toml)


def test_a_file_that_cannot_be_read_is_one_mistake(folder: Path) -> None:
    """A missing or broken file is reported as such, without complaints about what it might have held."""
    with pytest.raises(SettingsError) as raised:
        load_settings(Sources(config=folder / "gone.toml"))
    assert raised.value.mistakes == (
        Mistake(place=str(folder / "gone.toml"), problem="cannot be read: No such file or directory"),
    )
    (broken,) = mistakes(folder, "[grpc\nport = 1")
    assert broken.startswith("FILE: is not valid TOML: ")
    assert "line 1" in broken


def test_numbers_and_depths_without_end_are_mistakes(folder: Path) -> None:
    """Like any other: more than a float holds, more digits than Python reads or writes, more levels than it follows."""
    (huge,) = mistakes(folder, f"[grpc]\ndrain_seconds = 1{'0' * 400}\n{MODEL}")
    assert huge.startswith("FILE: grpc.drain_seconds: expected seconds from 0 to ")
    (hexadecimal,) = mistakes(folder, f"[grpc]\nport = 0x{'f' * 5_000}\n{MODEL}")
    assert hexadecimal == "FILE: grpc.port: expected a whole number from 0 to 65535, got a huge int"
    assert mistakes(folder, f"[grpc]\nport = {'9' * 5_000}\n{MODEL}")[0].startswith("FILE: is not valid TOML: ")
    for deep in ("devices = " + "[" * 20_000, "a" + ".a" * 2_000 + " = 1"):
        assert mistakes(folder, deep)[0] == "FILE: is nested too deeply"


def test_an_unknown_key_of_the_command_line_has_its_place(folder: Path) -> None:
    """A mistake in an option is blamed on the option."""
    override = Entry(place="--model x=/gone", key=("models", "x", "path"), value=str(folder / "gone"))
    with pytest.raises(SettingsError, match=r"^--model x=/gone: no directory"):
        load_settings(Sources(overrides=(override,)))


def test_a_home_that_nobody_has_is_no_path() -> None:
    """Of a person unknown to this machine: blamed on the key, as any other value that is none."""
    override = Entry(place="AUDIT_PATTERNS", key=("audit", "patterns"), value="~nobody-of-this-name/patterns")
    with pytest.raises(SettingsError, match=r"AUDIT_PATTERNS: expected a path, got '~nobody-of-this-name/patterns'"):
        load_settings(Sources(overrides=(override,)))


@given(st.dictionaries(st.sampled_from([".".join(key) for key in KEYS]), st.integers() | st.text() | st.booleans()))
def test_any_values_load_or_are_refused(values: dict[str, int | str | bool]) -> None:
    """Whatever an operator writes, the answer is settings or a list of mistakes."""
    entries = tuple(Entry(place=name, key=tuple(name.split(".")), value=value) for name, value in values.items())
    model = Entry(place="model", key=("models", "demo", "path"), value=".")
    try:
        load_settings(Sources(overrides=(*entries, model)))
    except SettingsError as error:
        assert error.mistakes  # noqa: PT017 - either outcome is right


# --- doors ---------------------------------------------------------------------------------------------------------

JWT = "[auth]\njwt_keys_url = 'https://issuer.example/keys'\njwt_issuer = 'i'\njwt_audience = 'a'\n"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]", "10.0.0.7", "rollcall.example", "localhost.example"])  # noqa: S104
def test_no_door_to_the_world_is_open_to_anyone(folder: Path, host: str) -> None:
    """Beyond the loopback callers have to say who they are, unless a setting with a dangerous name is taken."""
    toml = MODEL + f"[grpc]\nhost = '{host}'\n"
    (mistake,) = mistakes(folder, toml)
    assert mistake.startswith("FILE: grpc.host: expected a loopback address where nobody has to say who they are")
    assert load(folder, toml + JWT).auth.required
    assert not load(folder, toml, ROLLCALL_AUTH_DANGEROUSLY_SERVE_ANYONE="true").auth.required


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_the_loopback_may_be_open(folder: Path, host: str) -> None:
    """Trying things out on one's own machine needs no credentials."""
    assert not load(folder, MODEL + f"[grpc]\nhost = '{host}'\n").auth.required


def test_reflection_is_not_for_anyone(folder: Path) -> None:
    """What there is to call is told only to those who may call something."""
    toml = MODEL + "[grpc]\nreflection = true\n"
    (mistake,) = mistakes(folder, toml)
    assert mistake.startswith("FILE: grpc.reflection: expected false where nobody has to say who they are")
    assert load(folder, toml + JWT).grpc.reflection
    assert load(folder, toml + "[auth]\ndangerously_reflect_to_anyone = true").grpc.reflection


@pytest.mark.parametrize(
    ("auth", "problem"),
    [
        ("callers = 'gone.toml'", "FILE: auth.callers: no file FOLDER/gone.toml"),
        ("jwt_keys_file = 'gone.json'", "FILE: auth.jwt_keys_file: no file FOLDER/gone.json"),
        ("jwt_keys_url = 'http://issuer.example/keys'", "FILE: auth.jwt_keys_url: expected an https address"),
        ("[tls]\ncertificate = 'calibration.json'", "tls.key: is missing"),
        ("[tls]\nkey = 'calibration.json'", "tls.certificate: is missing"),
        ("[tls]\nclient_ca = 'calibration.json'", "tls.certificate: is missing"),
        ("[quota]\ntenants = 'gone.toml'", "FILE: quota.tenants: no file FOLDER/gone.toml"),
        ("[quota]\nrows_per_second = 0", "FILE: quota.rows_per_second: expected a number above 0"),
        ("[tls]\ncertificate = 'gone.pem'", "FILE: tls.certificate: no file FOLDER/gone.pem"),
        ("jwt_keys_url = 'https://a'", "auth.jwt_issuer: is missing"),
        ("jwt_keys_url = 'https://a'\njwt_issuer = 'i'", "auth.jwt_audience: is missing"),
        ("jwt_keys_url = 'https://a'\njwt_keys_file = 'calibration.json'", "FILE: auth.jwt_keys_url: expected nothing"),
    ],
)
def test_authentication_is_whole(folder: Path, auth: str, problem: str) -> None:
    """Half of it would let in whoever has a token that was meant for somebody else."""
    found = mistakes(folder, MODEL + "[auth]\n" + auth)
    assert any(mistake.startswith(problem.replace("FOLDER", str(folder))) for mistake in found), found


# --- reading again -------------------------------------------------------------------------------------------------


def again(folder: Path, toml: str) -> Callable[[], Settings]:
    """Make a second reading of the file with this content."""
    return lambda: load(folder, toml)


def test_live_settings_change(folder: Path) -> None:
    """Check level, row limit and share can change while the service runs; nothing else does."""
    running = load(folder, MODEL)
    outcome = reread(
        running,
        again(
            folder,
            MODEL
            + '[explain]\ncheck_level = "none"\nmax_rows = 9\nshare = 0.5\nrecheck_share = 0\npolicy = "strict"\n',
        ),
    )
    assert outcome.settings.live == LiveSettings(check_level=CheckLevel.NONE, max_rows=9, share=0.5, recheck_share=0.0)
    assert outcome.settings.explain.policy == "standard"
    assert outcome.changed == ("explain.check_level", "explain.max_rows", "explain.recheck_share", "explain.share")
    assert outcome.needs_restart == ("explain.policy",)
    assert outcome.mistakes == ()


def test_an_invalid_reading_changes_nothing(folder: Path) -> None:
    """A mistake in the file leaves the service as it was, and is reported."""
    running = load(folder, MODEL)
    outcome = reread(running, again(folder, MODEL + "[explain]\nshare = 7\nmax_rows = 9\n"))
    assert outcome.settings is running
    assert outcome.changed == ()
    (mistake,) = outcome.mistakes
    assert mistake.problem.startswith("expected a share")


def test_models_need_a_restart(folder: Path) -> None:
    """A model that is added, changed or removed is named, and waits for a restart."""
    running = load(folder, MODEL)
    outcome = reread(running, again(folder, '[grpc]\nport = 5\n[models.new]\npath = "model"\n'))
    assert outcome.settings == running
    assert "grpc.port" in outcome.needs_restart
    assert "models.new.path" in outcome.needs_restart
    assert "models.demo.path" in outcome.needs_restart


def test_an_unchanged_file_changes_nothing(folder: Path) -> None:
    """Reading the same again is no event."""
    running = load(folder, MODEL)
    outcome = reread(running, lambda: load_settings(running.sources))
    assert (outcome.settings, outcome.changed, outcome.needs_restart) == (running, (), ())


# --- who reaches the records -----------------------------------------------------------------------------------------


LOOPBACK, ELSEWHERE = ("127.0.0.1", "[::1]", "localhost"), ("0.0.0.0", "rollcall", "192.0.2.1")  # noqa: S104


@pytest.mark.parametrize("host", LOOPBACK + ELSEWHERE)
def test_records_are_served_where_nobody_unknown_gets_to(folder: Path, host: str) -> None:
    """On the loopback, or where callers say who they are; elsewhere not even if told."""
    (folder / "callers.toml").write_text("")
    where = f'[grpc]\nhost = "{host}"\n[auth]\ndangerously_serve_anyone = true\n{MODEL}'
    known = where.replace("[auth]", '[auth]\ncallers = "callers.toml"')
    served = host in LOOPBACK
    assert load(folder, known).serves_records
    assert load(folder, where).serves_records is served
    assert load(folder, where, ROLLCALL_AUDIT_SERVE="false").serves_records is False
    if served:
        assert load(folder, where, ROLLCALL_AUDIT_SERVE="true").serves_records
    else:
        (mistake,) = mistakes(folder, where, ROLLCALL_AUDIT_SERVE="true")
        assert mistake.startswith("ROLLCALL_AUDIT_SERVE: expected false beyond the loopback")
