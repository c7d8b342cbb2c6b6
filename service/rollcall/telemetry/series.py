"""Children of a metric by label values, bound once and bounded in number.

A scrape may hold 2,000 lines, so each family has a quota of children that carry a model's name. Beyond it, and for
names that nobody configured, a child is shared under the model `other`: the count stays right, only the name is lost,
and `rollcall_series_folded_total` says how often that was decided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from prometheus_client.metrics import MetricWrapperBase

if TYPE_CHECKING:
    from prometheus_client import Counter

OTHER = "other"
"""The model label of what has no configured name, or no room."""

Metric = TypeVar("Metric", bound=MetricWrapperBase)


class Family(Generic[Metric]):
    """One metric whose first label is `model`. `quota` bounds the children with a model's own name."""

    def __init__(self, metric: Metric, *, models: frozenset[str], quota: int, folded: Counter) -> None:
        self._metric = metric
        self._models = models
        self._left = quota
        self._folded = folded
        self._children: dict[tuple[str, ...], Metric] = {}
        self._refused: set[tuple[str, ...]] = set()

    def child(self, model: str, *labels: str) -> Metric:
        """Return the child of a model, known or not, and the other labels in their declared order."""
        key = (model if model in self._models else OTHER, *labels)
        bound = self._children.get(key)
        if bound is None:
            bound = self._children[key] = self._bind(key)
        return bound

    def own(self, model: str, *labels: str) -> Metric | None:
        """Return the child of a configured model, None where there is no room: for values that cannot be added up."""
        key = (model, *labels)
        if model in self._models and (key in self._children or self._left > 0):
            return self.child(*key)
        if key not in self._refused:
            self._refused.add(key)
            self._folded.inc()
        return None

    def remove(self, model: str, *labels: str) -> None:
        """Forget the child of a model, if it has one of its own; its place is free again."""
        key = (model, *labels)
        if self._children.pop(key, None) is not None and model in self._models:
            self._metric.remove(*key)
            self._left += 1

    def _bind(self, key: tuple[str, ...]) -> Metric:
        if key[0] == OTHER:
            return self._metric.labels(*key)
        if self._left == 0:
            self._folded.inc()
            return self.child(OTHER, *key[1:])
        self._left -= 1
        return self._metric.labels(*key)
