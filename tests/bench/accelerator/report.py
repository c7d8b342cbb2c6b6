"""What was found, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.bench.accelerator.measure import Found
from tests.bench.markdown import table
from tests.bench.results import Origin

TARGETS = (
    ("p50 of one explanation, BERT-base, 128 tokens, bf16", "at most 10 ms"),
    ("p99", "at most 20 ms"),
    ("saturated", "at least 300/s"),
    ("its rows one by one on the stock model / its checks", "at least 10"),
    ("rows/s of its checks / the stock model's best", "at least 0.90"),
)


def page(origin: Origin, founds: Sequence[Found]) -> str:
    """Lay out everything."""
    blocks = origin.head("Explanations on an accelerator")
    blocks.append("Aimed at: " + "; ".join(f"{what} {bound}" for what, bound in TARGETS) + ".")
    blocks.append(
        table(
            ["", *(f"{found.model}, {found.dtype}" for found in founds)],
            [[name, *(value(found) for found in founds)] for name, value in _ROWS],
        )
    )
    for found in founds:
        blocks += _details(found)
    return "\n\n".join(blocks) + "\n"


_ROWS: tuple[tuple[str, Callable[[Found], str]], ...] = (
    ("device", lambda f: f.device),
    ("tokens", lambda f: str(f.tokens)),
    ("rows of an explanation", lambda f: f"{f.rows:g}"),
    ("flags of its maps", lambda f: ", ".join(f"{name} {share:.0%}" for name, share in f.flags.items())),
    ("one explanation at a time, p50", lambda f: f"{f.latency_ms['p50']:.1f} ms"),
    ("p90", lambda f: f"{f.latency_ms['p90']:.1f} ms"),
    ("p99", lambda f: f"{f.latency_ms['p99']:.1f} ms"),
    ("everything but the model, per explanation", lambda f: f"{f.statistics_ms.text(1)} ms"),
    ("a prediction", lambda f: f"{f.predict_ms.text(1)} ms"),
    ("explanations/s, most", lambda f: f"{max(s.explanations_per_second for s in f.saturated):.0f}"),
    ("share of the matrix product's rate then", lambda f: f"{max(s.share_of_limit for s in f.saturated):.3f}"),
    ("matrix product", lambda f: f"{f.limit_tflops:.0f} TFLOP/s"),
    ("one row", lambda f: f"{f.row_gflop:.1f} GFLOP"),
    ("stock model, best", lambda f: f"{max(f.stock_rows_per_second.values()):,.0f} rows/s"),
    ("its share of the matrix product's rate", lambda f: f"{_stock_share(f):.2f}"),
    ("rows/s of its checks / the stock model's best", lambda f: f"{f.fan_out:.2f}"),
    ("rows of its checks one by one on the stock model / its checks", lambda f: f.one_by_one_ratio.text(1)),
    ("numerical noise of logits, relative", lambda f: f"{f.noise:.2g}"),
)


def _stock_share(found: Found) -> float:
    return max(found.stock_rows_per_second.values()) * found.row_gflop / 1e3 / found.limit_tflops


def _details(found: Found) -> list[str]:
    return [
        f"## {found.model}",
        table(
            ["processes", "callers", "explanations/s", "rows/s", "share of the matrix product's rate"],
            [
                [
                    str(s.processes),
                    str(s.callers),
                    f"{s.explanations_per_second:.1f}",
                    f"{s.rows_per_second:,.0f}",
                    f"{s.share_of_limit:.3f}",
                ]
                for s in found.saturated
            ],
        ),
        table(["stage", "ms"], [[name, spread.text(2)] for name, spread in found.stages_ms.items()]),
        table(
            ["rows at once", "stock rows/s"],
            [[str(rows), f"{rate:,.0f}"] for rows, rate in found.stock_rows_per_second.items()],
        ),
        table(["self-test", "largest error"], [[name, told] for name, told in found.self_tests.items()]),
        *(
            [
                "One explanation at a time: " + ", ".join(f"{name} {value:.1f}" for name, value in found.busy.items()),
                table(
                    ["kernel", "share of the device's time", "launches"],
                    [[f"`{name[:90]}`", f"{share:.3f}", f"{count:.1f}"] for name, share, count in found.kernels],
                ),
            ]
            if found.busy
            else []
        ),
    ]
