"""`rollcall calibrate` and `rollcall assess`: options, and what they print. Heavy packages wait until they run."""
# ruff: noqa: PLC0415 - imports wait for their command

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollcall.disk import replace_file
from rollcall.domain.inputs import Modality
from rollcall.domain.maps import MapKind, usual_of
from rollcall.domain.model import UNDECLARED, Declared
from rollcall.settings import MODEL_FILE, is_servable, read_model
from rollcall.verdict.calibration import SUFFIX, calibration_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollcall.models.loading import LoadedModel
    from rollcall.studies.texts import Data


class StudyError(Exception):
    """A study cannot be made; the message says why."""


def model_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that measures a model on data."""
    parser.add_argument("--model", type=Path, required=True, metavar="PATH", help="the model's directory or .onnx file")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="PATH",
        help="inputs like those that it will be asked about, unseen in training: .tsv, .csv or .jsonl with a column "
        "text or sentence (pairs: and text_pair, sentence2 or text2; a model that labels words: and word_index or "
        "word_character), or .txt with one text a line; or a folder of pictures, PNG or JPEG",
    )
    parser.add_argument(
        "--token",
        action="append",
        default=[],
        dest="tokens",
        metavar="TOKEN",
        help="of a language model: a token that it is asked for, as in its settings; repeated",
    )
    parser.add_argument("--dtype", default="float32", help="precision that it is served in (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="order of the texts (default %(default)s)")
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIRECTORY",
        help="where measured inputs are kept, to go on after a stop (default: beside the model)",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def calibrate_options(parser: argparse.ArgumentParser) -> None:
    """Options of `rollcall calibrate`."""
    model_options(parser)
    parser.add_argument(
        "--alpha", type=_share, default=0.05, metavar="SHARE", help="most answers with a wrong flag (default .05)"
    )
    parser.add_argument(
        "--confidence", type=_share, default=0.9, metavar="SHARE", help="confidence of that promise (default .9)"
    )
    parser.add_argument(
        "--inputs", type=int, default=300, metavar="N", help="inputs with reach to measure (default %(default)s)"
    )
    parser.add_argument(
        "--maps",
        default="usual",
        metavar="NAMES",
        help="maps to calibrate, with commas: usual (default), all, or names; the usual ones are always among them",
    )
    parser.add_argument(
        "--task", metavar="WORDS", help="what the texts are, for the promise (default: name of the file)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"calibration file (default: DIRECTORY{SUFFIX})")


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        message = f"expected a share between 0 and 1, got {text}"
        raise argparse.ArgumentTypeError(message)
    return value


def chosen_maps(text: str, offered: Sequence[MapKind]) -> tuple[MapKind, ...]:
    """The maps that `--maps` names, those of them that the model has; raises StudyError for an unknown name."""
    wanted = set(usual_of(offered))
    for name in filter(None, (part.strip() for part in text.split(","))):
        if name == "all":
            wanted |= set(offered)
        elif name != "usual":
            try:
                kind = MapKind(name.lower().replace("-", "_"))
            except ValueError as error:
                message = f"--maps: no map {name!r}; there are {', '.join(kind.value for kind in MapKind)}"
                raise StudyError(message) from error
            if kind not in offered:
                message = f"--maps: this model cannot make {kind.value}"
                raise StudyError(message)
            wanted.add(kind)
    return tuple(kind for kind in MapKind if kind in wanted)


def load(options: argparse.Namespace) -> LoadedModel:
    """Load the model; raises StudyError where it serves predictions only, ModelRejected."""
    from rollcall.models.loading import load_model

    if not is_servable(options.model):
        message = f"--model: no directory or .onnx file {options.model}"
        raise StudyError(message)
    model = load_model(options.model, dtype=options.dtype, tokens=options.tokens, declared=_declared(options.model))
    if model.failed:
        message = f"{options.model}: failed its self-tests ({', '.join(model.failed)}): predictions only"
        raise StudyError(message)
    return model


def require_fit(model: LoadedModel, data: Data) -> None:
    """Refuse inputs of another kind than the model reads; raises StudyError, DataError."""
    from rollcall.studies.texts import Kind

    if model.modality is Modality.IMAGE:
        read = {Kind.PICTURES: "pictures"}
    elif model.backend.shape.causal:
        read = {Kind.TEXTS: "prompts, one text each"}
    else:
        read = {Kind.TEXTS: "texts", Kind.PAIRS: "pairs of texts"}
    if data.kind not in read:
        message = f"--data: {data.name} holds {data.kind.value}; this model reads {' or '.join(read.values())}"
        raise StudyError(message)
    data.require(model.backend.task)


def _declared(model: Path) -> Declared:
    """What a repository's `model.toml` says of the files beside it; raises SettingsError."""
    file = model / MODEL_FILE
    return read_model(file, name="measured", revision="").declared if file.is_file() else UNDECLARED


def calibrate(options: argparse.Namespace) -> bool:
    """Measure, calibrate, write the file; whether the primary map's promise is kept. Raises StudyError and others."""
    from rollcall.studies.calibrating import CalibratingError, calibrate, calibration_file
    from rollcall.studies.journal import JournalError
    from rollcall.studies.laboratory import Laboratory
    from rollcall.studies.measuring import Work, measure_all
    from rollcall.studies.texts import DataError, read_data
    from rollcall.verdict.policies import STANDARD

    try:
        data = read_data(options.data)
        model = load(options)
        require_fit(model, data)
        laboratory = Laboratory(model=model, policy=STANDARD, kinds=chosen_maps(options.maps, model.maps))
        out = options.out or calibration_path(options.model)
        work = options.work or out.with_name(out.name.removesuffix(".json") + ".work")
        inputs = [(number, data.inputs[number]) for number in data.order(options.seed)]
        cases = measure_all(
            laboratory,
            Work(inputs=inputs, reached=options.inputs),
            work / f"{data.digest.removeprefix('sha256:')[:12]}-{options.seed}.jsonl",
            label="inputs with reach",
            quiet=options.quiet,
        )
        found = calibrate(cases, STANDARD, alpha=options.alpha, confidence=options.confidence, seed=options.seed)
    except (CalibratingError, DataError, JournalError) as error:
        raise StudyError(str(error)) from error
    file = calibration_file(
        found,
        model={"digest": model.digest, "dtype": model.backend.dtype, "noise_floor": model.backend.noise},
        policy=STANDARD,
        data={
            "name": data.name,
            "digest": data.digest,
            "task": options.task or data.name,
            "kind": data.kind.value,
            "seed": options.seed,
        },
        created=datetime.now(UTC),
    )
    replace_file(out, json.dumps(file, indent=1) + "\n")
    if options.json:
        print(json.dumps(file, indent=1))
    else:
        print(told(file))
        print(f"\nwritten to {out}; inputs kept in {work}", file=sys.stderr)
    return not file["failed"]


def assess_options(parser: argparse.ArgumentParser) -> None:
    """Options of `rollcall assess`."""
    model_options(parser)
    parser.add_argument("--inputs", type=int, default=100, metavar="N", help="inputs to explain (default %(default)s)")
    parser.add_argument(
        "--maps", default="usual", metavar="NAMES", help="maps, with commas: usual (default), all, or names beside them"
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help=f"calibration of the model (default: DIRECTORY{SUFFIX}, if there)",
    )
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="MAP[:FLAG]>=SHARE",
        help="exit with 1 unless this holds, e.g. recommended>=0.7 or raw_attention:unfaithful<=0.1; may be repeated",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the page (Markdown) there, too")


def assess(options: argparse.Namespace) -> bool:
    """Explain a sample and tell what it says; whether all requirements hold. Raises StudyError and others."""
    from rollcall.studies.assessing import RequirementError, page, parse_requirement
    from rollcall.studies.assessing import assess as assess_cases
    from rollcall.studies.journal import JournalError
    from rollcall.studies.laboratory import Laboratory
    from rollcall.studies.measuring import Work, measure_all
    from rollcall.studies.texts import DataError, read_data
    from rollcall.verdict.calibration import CalibrationError, parse_calibration
    from rollcall.verdict.policies import STANDARD

    try:
        required = [parse_requirement(text) for text in options.require]
        data = read_data(options.data)
        model = load(options)
        require_fit(model, data)
        beside = calibration_path(options.model)
        path = options.calibration or (beside if beside.is_file() else None)
        calibration = None
        if path is not None:
            calibration = parse_calibration(
                _calibration_json(path), model_digest=model.digest, policy=STANDARD, dtype=model.backend.dtype
            )
        laboratory = Laboratory(
            model=model, policy=STANDARD, kinds=chosen_maps(options.maps, model.maps), calibration=calibration
        )
        work = options.work or beside.with_name(beside.name.removesuffix(SUFFIX) + ".assessment.work")
        cases = measure_all(
            laboratory,
            Work(inputs=[(i, data.inputs[i]) for i in data.order(options.seed)], most=options.inputs, truth=False),
            work / f"{data.digest.removeprefix('sha256:')[:12]}-{options.seed}.jsonl",
            label="inputs",
            quiet=options.quiet,
        )
    except (CalibrationError, DataError, JournalError, RequirementError) as error:
        raise StudyError(str(error)) from error
    if not cases:
        message = f"{options.data}: the model refused every input"
        raise StudyError(message)
    found = assess_cases(cases)
    found["required"] = {str(one): one.met(found) for one in required}
    statement = "No calibration: no promise." if calibration is None else calibration.reference().statement
    texts = {case.number: data.shown(case.number) for case in cases}
    text = page(found, texts, model=options.model.name, calibration=statement, data=data.name)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1) if options.json else text)
    for name, met in found["required"].items():
        print(f"{'holds' if met else 'DOES NOT HOLD'}: {name}", file=sys.stderr)
    return all(found["required"].values())


def _calibration_json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        message = f"{path}: no JSON; make a calibration with: rollcall calibrate"
        raise StudyError(message) from error


def told(file: Mapping[str, Any]) -> str:
    """A calibration on one page."""
    data, measured, maps = file["data"], file["measured"], file["maps"]
    few = "" if data["inputs"] >= _fewest() else f"; FEWER THAN {_fewest()}: such a calibration scatters widely"
    pairs = ", both texts together" if data.get("kind") == "pairs of texts" else ""
    lengths = f"{data['shortest']} to {data['longest']} units{pairs}"
    reach = f"{data['with_reach']} of {data['tried']} tried had reach"
    heads = ("map", "width c", "decided", "FAITHFUL", "wrong", "UNFAITHFUL", "wrong", "removals")
    rows = [
        _row(name + (" *" if name == file["primary_map"] else ""), entry)
        for name, entry in [*maps.items(), ("recommended", file["recommended"])]
    ]
    splits = max(int(entry["held_out"].get("splits", 0)) for entry in maps.values())
    correlation = measured["operator_agreement"]["median_correlation"]
    same = _percent(measured["p_values"]["at_most_0.05"]["share"])
    lines = [
        f"calibration {file['id']}",
        f"{data['inputs']} inputs ({data['task']}), {lengths}; {reach}{few}",
        "",
        f"with {file['confidence']:.0%} confidence at most {file['alpha']:.0%} of answers carry a wrong flag of",
        *_table([heads, *rows]),
        "",
        f"* the primary map. Shares on held-out halves, {splits} splits.",
        f"The gradient as a prior {_helps(file['prior'])}.",
        f"An answer takes {file['answers']['removals']:.0f} removals.",
        *_rewired(measured.get("rewiring")),
        f"The effects by both operators correlate {'nowhere' if correlation is None else f'{correlation:.2f}'}.",
        f"p <= .05 for {same} of random maps.",
    ]
    if file["failed"]:
        lines.append("FAILED: no width kept the primary map's promise; the policy's default widths hold.")
    return "\n".join(lines)


def _rewired(rewiring: Mapping[str, Any] | None) -> list[str]:
    if rewiring is None:
        return ["Its attention cannot be opened: removals alone, nothing rewired."]
    return [f"Rewired attention keeps the answer in {_percent(rewiring['same_answer'])} of draws."]


def _row(name: str, entry: Mapping[str, Any]) -> tuple[str, ...]:
    c, held = "FAILED" if entry["c"] is None else f"{entry['c']:.3f}", entry["held_out"]
    if not held:
        return (name, c, *["-"] * 6)
    return (
        name,
        c,
        _percent(held["faithful"] + held["unfaithful"]),
        _percent(held["faithful"]),
        _percent(held["wrong_faithful"]),
        _percent(held["unfaithful"]),
        _percent(held["wrong_unfaithful"]),
        f"{held['removals']:.0f}",
    )


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell, the first one to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _fewest() -> int:
    from rollcall.studies.calibrating import FEWEST_INPUTS

    return FEWEST_INPUTS


def _helps(prior: Mapping[str, Any]) -> str:
    with_it, without = (prior["errors_of_alignment"][name] for name in ("with", "without"))
    if with_it is None or without is None:
        return "cannot be had, or was not measured"
    errors = f"after the first look's removals A is off by {with_it:.2f} with it, by {without:.2f} without"
    return f"{'helps' if prior['used'] else 'does not help'} ({errors})"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
