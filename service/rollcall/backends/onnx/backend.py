"""A classifier exported to ONNX, run by ONNX Runtime. One thread calls `run` and `capture`.

There are two sessions. The plain one is the file as it is: it answers predictions, and rows that only change the input.
The open one is the same graph with its attention opened (`surgery`): it runs captures and rows whose attention is
edited, and the untouched row beside them whose state is wanted. The runtime has no gradients, so that maps made of them
are not offered.

Shapes: B batch, L layer, H head, Q query, K key, T token, C class, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from rollcall.backends.arrangement import arrange
from rollcall.backends.base import (
    AttentionReductions,
    BatchOutput,
    BatchRow,
    Capture,
    CaptureRequest,
    Shape,
    variants,
)
from rollcall.backends.edits import edits_of
from rollcall.backends.encoding import Encoder
from rollcall.backends.observers import UNIFORM_TOLERANCE, CaptureObserver, Reducer
from rollcall.backends.onnx.offered import offered
from rollcall.backends.onnx.open_session import OpenSession
from rollcall.backends.onnx.parts import joined, parts, with_edit
from rollcall.backends.onnx.plain import INPUTS, load_plain
from rollcall.backends.onnx.pooled import among, attended, deviation, unattended
from rollcall.backends.onnx.self_test import (
    FOUND,
    NEUTRAL,
    OnnxSelfTester,
    blocks_make_the_states,
    hidden_keys_are_hidden,
    padded_equals_alone,
    windows_are_kept,
)
from rollcall.backends.onnx.surgery import NotOpenedError
from rollcall.backends.onnx.windows import probe_length
from rollcall.backends.self_test import LENGTHS, at_most
from rollcall.backends.sharing import synthetic_input, try_company
from rollcall.backends.staging import stage_rows
from rollcall.backends.tensors import TOLERANCES, select_attention
from rollcall.domain.decision import Task
from rollcall.domain.errors import ModelRejected
from rollcall.domain.inputs import Encoding, ModelInput
from rollcall.domain.maps import MapKind
from rollcall.domain.model import SelfTest, TensorNames
from rollcall.domain.rows import TEXT_REMOVALS, UNPLACED_REMOVALS, AttentionEdit, RemovalOperator, Row
from rollcall.domain.verdicts import Scope

Tensor = torch.Tensor


class OnnxBackend:
    """Implements `rollcall.backends.base.Backend`."""

    name = "onnxruntime"
    is_counted = False

    def __init__(
        self,
        file: Path,
        encoder: Encoder,
        *,
        task: Task,
        declared: Shape,
        names: TensorNames,
        device: str,
        reach: int | None = None,
    ) -> None:
        """Load a file; its configuration says what is `declared`, and how far some layers `reach` in a text.

        `names` is what its tensors are called.

        Raises ModelRejected for a graph that cannot predict. Where attention cannot be opened only inputs are changed.
        """
        self._encoder = encoder
        self.task = task
        self.device = device
        plain = load_plain(file, device, names)
        self._plain, self._logits, self._takes = plain.session, plain.logits, tuple(plain.called)
        if plain.task is not None and plain.task is not task:
            message = f"{file} ends in {plain.ending}, which is of a {plain.task.value} model, not {task.value}"
            raise ModelRejected(message)
        self._declared = declared
        self._reach = reach
        self.removals = UNPLACED_REMOVALS if plain.recurrent else TEXT_REMOVALS
        self._left_out: tuple[int, ...] = ()
        """Ids that pooling attention is not over."""
        probe = variants(self._synthetic(LENGTHS[0], encoder), [Row()])
        logits = self.predict(probe)
        if logits.shape != (1, declared.classes):
            message = (
                f"{file} gives logits of shape {tuple(logits.shape)} for one input, not {declared.classes} classes"
            )
            raise ModelRejected(message)
        self._dtype = logits.dtype
        try:
            opened = OpenSession.of(file, plain, self._inputs(probe)[0], device)
            if reach is not None:
                opened = opened.with_windows(self._long_inputs(reach)[0], reach)
            self._use(opened, "")
        except NotOpenedError as error:
            self._use(None, str(error))
        self.dtype = str(self._dtype).removeprefix("torch.")
        self._hides = True
        """Whether the file's own mask hides single tokens."""
        # The self-tests raise the one and may allow the other.
        self.noise = torch.finfo(self._dtype).eps
        self.batch_is_neutral = False

    def encode(self, model_input: ModelInput) -> Encoding:
        """Tokenise and find the units; raises InvalidInput."""
        return replace(self._encoder.encode(model_input), removals=self.removals)

    def predict(self, rows: Sequence[BatchRow]) -> Tensor:
        """Logits [B, C] of the file as it is."""
        return self._predict(self._inputs(rows)[0])

    def run(self, rows: Sequence[BatchRow]) -> BatchOutput:
        """Run rows: those that need attention to be open in the open session, the others in the plain one."""
        opened = [i for i, each in enumerate(rows) if self._needs_open(each.row)]
        plain = sorted(set(range(len(rows))).difference(opened))
        logits = torch.zeros(len(rows), self.shape.classes, device=self.device)
        states = torch.zeros(len(rows), self.shape.width, device=self.device)
        if plain:
            logits[plain] = self.predict([rows[i] for i in plain]).to(logits)
        reduced: list[AttentionReductions] = []
        observed: list[int] = []
        for part in parts(rows, opened, self.shape, self._dtype.itemsize):
            found = self._run_open([rows[i] for i in part])
            assert found.readouts is not None
            logits[part], states[part] = found.logits.to(logits), found.readouts.to(states)
            if found.permuted is not None:
                reduced.append(found.permuted)
                observed += [part[number] for number in found.permuted_rows]
        return BatchOutput(
            logits=logits,
            readouts=states if any(each.row.readout for each in rows) else None,
            permuted=joined(reduced) if reduced else None,
            permuted_rows=tuple(observed),
        )

    def capture(self, encoding: Encoding, request: CaptureRequest) -> Capture:
        """Run the untouched input once in each session: its logits are bitwise those of the file on it alone."""
        inputs, visible = self._inputs(variants(encoding, [Row()]))
        logits = self._predict(inputs)[0]
        decision = request.decide(logits.double().cpu().numpy())
        if self._opened is None:
            return Capture(
                logits=logits, state=None, decision=decision, attention=None, norms=None, gradients=None,
                selected=None, uniform=False,
            )  # fmt: skip
        seen = self._opened.see(inputs, blocks=MapKind.NORM_ROLLOUT in request.maps)
        observer = CaptureObserver(
            reducer=Reducer(readout=self.readout, fusions=(request.options.rollout_fusion,)),
            blocks=self._opened.blocks if seen.blocks else (),
            keep_probabilities=request.attention is not None,
            block_inputs=[each.entered for each in seen.blocks],
        )
        values = [each.values for each in seen.blocks] or seen.weights  # which nobody looks at
        for weights, value in zip(seen.weights, values, strict=True):
            observer.observe(weights.float(), value)
        kept = [layer[0] for layer in observer.probabilities]
        uneven = observer.largest_deviation
        if self._opened.pooled:
            uneven = deviation(seen.weights[0][0, 0, 0], visible[0].bool())
        return Capture(
            logits=logits,
            state=seen.states[0],
            decision=decision,
            attention=observer.reducer.reductions(),
            norms=torch.stack(observer.norms) if observer.norms else None,
            gradients=None,
            selected=None if request.attention is None else select_attention(kept, request.attention, self.readout),
            uniform=bool(uneven < UNIFORM_TOLERANCE),
        )

    def synthetic(self, length: int, seed: int = 0) -> Encoding:
        """An input of random ids, to try things on; every token but the first and the last is a unit."""
        return replace(self._synthetic(length, self._encoder, seed), removals=self.removals)

    def self_test(self) -> tuple[SelfTest, ...]:
        """Prove on synthetic ids that rows are themselves in a batch, and that attention can be read and edited.

        Attention that fails is closed again: what is left, and said, is the scope INPUT_ONLY.
        """
        rows = [row for length in LENGTHS for row in variants(self.synthetic(length), [Row()])]
        inputs, visible = self._inputs(rows)
        found = SelfTest(name=FOUND, passed=self._opened is not None, value=self.shape.layers, tolerance=1.0,
                         detail=self._closed or f"{self.shape.layers} layers.", required=False)  # fmt: skip
        tests = [found]
        if self._opened is not None:
            tests += OnnxSelfTester(plain=self._predict, opened=self._opened, inputs=inputs, visible=visible).run()
            if self._reach is not None:
                tests.append(windows_are_kept(self._opened, *self._long_inputs(self._reach)))
            # Rows of one request run in both sessions.
            self.noise = max(self.noise, *(test.value for test in tests if test.name == NEUTRAL))
        failed = next((test for test in tests if not test.passed), None)
        if failed is not None:
            self._use(None, f"self-test {failed.name}: {failed.detail}")
        elif self._opened is not None and self._opened.blocks:
            tests.append(blocks_make_the_states(self._opened, inputs))
            if not tests[-1].passed:
                said = f"self-test {tests[-1].name}: {tests[-1].detail}"
                self._use(replace(self._opened, blocks=(), without=said), "")
        return (
            *tests,
            padded_equals_alone(self._predict, inputs),
            *([self._hiding(inputs)] if RemovalOperator.HIDDEN_KEYS in self.removals.usual else []),
            try_company(self, self.scope),
        )

    def _hiding(self, inputs: dict[str, Tensor]) -> SelfTest:
        """Find a session whose mask hides single tokens; without one there is no second way to remove words."""
        close = TOLERANCES[self._dtype].close
        error = hidden_keys_are_hidden(self._predict, inputs)
        if error > close and self._opened is not None:
            opened = self._opened
            self._hides = False
            error = hidden_keys_are_hidden(lambda given: opened.see(given, weights=False).logits, inputs)
        return at_most(
            "hidden_keys_are_hidden", error, close, "The id of a hidden token changes logits, relatively, by"
        )

    def _use(self, opened: OpenSession | None, problem: str) -> None:
        """Read and edit attention by this session; by none, for a `problem`."""
        self._opened, self._closed = opened, problem
        self.readout, self.scope = 0, Scope.INPUT_ONLY
        self.shape = replace(self._declared, layers=0, heads=0)
        self._left_out = ()
        self.maps, self.lacking = offered(opened, problem)
        if opened is not None:
            self.readout, self.scope, self._dtype = opened.readout, Scope.ALL_LAYERS, opened.dtype
            self.shape = replace(self._declared, layers=opened.layers, heads=opened.heads, width=opened.width)
            if opened.pooled:
                self.removals = UNPLACED_REMOVALS
                probe = opened.see(self._inputs(variants(self.synthetic(LENGTHS[0]), [Row()]))[0])
                self._left_out = unattended(probe.weights[0][0, 0, 0], self._encoder.special)

    def _run_open(self, rows: Sequence[BatchRow]) -> BatchOutput:
        """Run rows with attention open: logits and states of all, and reductions of those that are observed."""
        opened = self._opened
        assert opened is not None
        batch = arrange([with_edit(each) for each in rows], late=False)
        edits = edits_of(batch, layers=opened.layers, heads=opened.heads, readout=self.readout, length=batch.length)
        assert edits is not None
        explicit = edits.explicit({name: torch.from_numpy(array) for name, array in edits.arrays.items()})
        inputs, visible = self._inputs(batch.started)
        if opened.pooled:
            explicit = among(explicit, batch.edited, visible[batch.first_edited :].bool())
        seen = opened.edit(inputs, visible, explicit, weights=bool(batch.fusions))
        reducer = Reducer(readout=self.readout, fusions=batch.fusions)
        for weights in seen.weights:
            reducer.observe(weights[batch.first_edited :].float(), weights)
        places = list(batch.places)
        return BatchOutput(
            logits=seen.logits[places],
            readouts=seen.states[places],
            permuted=reducer.reductions() if batch.fusions else None,
            permuted_rows=batch.permuted,
        )

    def _needs_open(self, row: Row) -> bool:
        hides = row.removed is not None and row.operator is RemovalOperator.HIDDEN_KEYS
        return row.edit is not AttentionEdit.NONE or row.readout or (hides and not self._hides)

    def _predict(self, inputs: dict[str, Tensor]) -> Tensor:
        return self._plain.run([self._logits], inputs)[0]

    def _inputs(self, rows: Sequence[BatchRow]) -> tuple[dict[str, Tensor], Tensor]:
        """Inputs of the graph, and which tokens are visible [B, T]."""
        length = max(each.encoding.length for each in rows)
        staged = dict(zip(INPUTS, torch.from_numpy(stage_rows(rows, length, self._encoder)), strict=True))
        return {name: staged[name] for name in self._takes}, attended(staged, self._left_out)

    def _long_inputs(self, reach: int) -> tuple[dict[str, Tensor], Tensor]:
        """Two texts that are longer than a window, or the longest that there are."""
        length = probe_length(reach, self._declared.max_tokens)
        return self._inputs([row for seed in range(2) for row in variants(self.synthetic(length, seed), [Row()])])

    @staticmethod
    def _synthetic(length: int, encoder: Encoder, seed: int = 0) -> Encoding:
        return synthetic_input(length, encoder.vocabulary, encoder.special, seed)
