"""What can be known about a served model without running it."""

from __future__ import annotations

from dataclasses import dataclass

from rollcall.domain.decision import Task
from rollcall.domain.inputs import Modality, Threshold
from rollcall.domain.maps import MapKind, MissingMap
from rollcall.domain.rows import RemovalOperator
from rollcall.domain.verdicts import CalibrationRef, CheckKind, Scope


def model_key(name: str, revision: str) -> str:
    """What the compute rooms call weights: two revisions of one name may be loaded at a time."""
    return f"{name}@{revision}" if revision else name


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """Which weights, exactly. `digest` is "sha256:" and 64 hexadecimal digits over the model's files."""

    name: str
    revision: str
    digest: str
    backend: str
    device: str
    dtype: str

    @property
    def key(self) -> str:
        """What the compute rooms call these weights."""
        return model_key(self.name, self.revision)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unserved:
    """A revision of the repository that is not served; where it was tried and could not be, the `problem`."""

    name: str
    revision: str
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorNames:
    """What an exported graph calls its tensors; as exporters call them where empty."""

    input_ids: str = ""
    attention_mask: str = ""
    token_type_ids: str = ""
    output: str = ""
    """Logits, or the probabilities that a softmax or sigmoid makes of them; may be left out where there is one."""

    def of(self, name: str) -> str:
        """What the graph calls one of the inputs above."""
        return getattr(self, name) or name


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What an operator says of a model over what its files say; what is None or empty says nothing."""

    labels: tuple[str, ...] | None = None
    task: Task | None = None
    tensors: TensorNames = TensorNames()
    max_tokens: int | None = None
    """Where texts are cut, if sooner than model and tokenizer would."""
    max_units: int | None = None
    """Units that an input falls into at the most, if not as many as the limits of the server say."""
    family: str = ""
    """The model type as whose row of the families one is read that has no row of its own."""

    @property
    def changes_answers(self) -> str:
        """What of it makes the same files another model, as text; empty where nothing does."""
        said = {
            "task": self.task.value if self.task else "",
            "output": self.tensors.output,
            "max_tokens": self.max_tokens or "",
            "family": self.family,
        }
        return "\n".join(f"{name}={value}" for name, value in said.items() if value)


UNDECLARED = Declared()


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """One test at load. `value` is compared with `tolerance` as `detail` says.

    What fails a test that is not `required` is a way of sharing work, which is then switched off.
    """

    name: str
    passed: bool
    value: float
    tolerance: float
    detail: str
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """Everything that GetModel tells."""

    ref: ModelRef
    family: str
    task: Task
    labels: tuple[str, ...]
    layers: int
    heads: int
    max_tokens: int
    max_units: int
    max_characters: int
    self_tests: tuple[SelfTest, ...]
    maps: tuple[MapKind, ...]
    checks: tuple[CheckKind, ...]
    operators: tuple[RemovalOperator, ...]
    calibration: CalibrationRef
    threshold: Threshold | None
    text_pairs: bool
    scope: Scope = Scope.ALL_LAYERS
    """Which counterfactuals its verdicts rest on."""
    modality: Modality = Modality.TEXT
    lacking: tuple[MissingMap, ...] = ()
    """Maps that its runtime cannot make, and why; a request for one gets the reason and the rest of its answer."""
    noise: float = 0.0
    """Numerical floor of the weights in their precision, relative, measured at load."""

    @property
    def experimental(self) -> bool:
        """Whether nothing is known of how often its flags are wrong: thresholds were found on classifiers of texts."""
        usual = self.modality is Modality.TEXT and self.task not in {Task.NEXT_TOKEN, Task.TOKEN_LABEL}
        return not usual and self.calibration.alpha is None

    @property
    def explainable(self) -> bool:
        """Whether every required self-test passed, so that explanations are available."""
        return bool(self.self_tests) and all(test.passed or not test.required for test in self.self_tests)
