"""ExplanationService: convert, ask the house, convert back. Errors, ids and counts are the interceptor's."""

from __future__ import annotations

import asyncio
import time
import weakref
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rollcall.edge.access.identity import current
from rollcall.edge.bounded import IN_FLIGHT, as_finished
from rollcall.edge.converters import attention, replies, requests
from rollcall.edge.many import OneOfMany
from rollcall.edge.places import Places
from rollcall.telemetry.traces import OFF
from rollcall.v1 import explanation_service_pb2, explanation_service_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from grpc import aio

    from rollcall.domain.explanation import Explanation, Progress
    from rollcall.domain.model import ModelCard
    from rollcall.edge.port import ServicePort
    from rollcall.telemetry.metrics import Metrics
    from rollcall.telemetry.traces import Spans
    from rollcall.v1 import explanation_pb2, model_pb2

    Context = aio.ServicerContext[Any, Any]


class ExplanationServicer(explanation_service_pb2_grpc.ExplanationServiceServicer):
    """The service's methods over a `ServicePort`."""

    def __init__(self, port: ServicePort, metrics: Metrics, spans: Spans = OFF) -> None:
        self._port = port
        self._metrics = metrics
        self._spans = spans
        self._places = Places("streams with attention")

    async def Predict(  # noqa: N802 - the proto's name
        self, request: explanation_service_pb2.PredictRequest, context: Context
    ) -> explanation_service_pb2.PredictResponse:
        """Answer with the prediction alone."""
        asked = requests.predict_request(
            request, limits=self._port.limits(), deadline=deadline_of(context), caller=current()
        )
        answer = await self._port.predict(asked)
        started = time.perf_counter()
        reply = replies.predict_response(answer)
        self._metrics.stage(answer.model.name, "serialize", time.perf_counter() - started)
        return reply

    async def Explain(  # noqa: N802 - the proto's name
        self, request: explanation_pb2.ExplainRequest, context: Context
    ) -> explanation_pb2.ExplainResponse:
        """Answer with the prediction, its maps, and a verdict for each map."""
        asked = requests.explain_request(
            request, limits=self._port.limits(), deadline=deadline_of(context), caller=current()
        )
        answer = await self._port.explain(asked)
        started = time.perf_counter()
        reply = replies.explain_response(answer)
        self._metrics.stage(answer.model.name, "serialize", time.perf_counter() - started)
        return reply

    async def ExplainStream(  # noqa: N802 - the proto's name
        self, request: explanation_pb2.ExplainRequest, context: Context
    ) -> AsyncIterator[explanation_service_pb2.ExplainStreamResponse]:
        """Answer as Explain does, and tell meanwhile how far it is: the latest state, whenever the caller reads.

        Attention follows the answer in chunks, each made when the one before has been taken.
        """
        limits = self._port.limits()
        asked = requests.explain_request(
            request,
            limits=limits,
            deadline=deadline_of(context),
            caller=current(),
            max_attention_bytes=limits.max_attention_bytes,
        )
        with nullcontext() if asked.attention is None else self._places.place(of=limits.max_attention_streams):
            latest = _Latest()
            working = asyncio.ensure_future(self._port.explain(asked, latest.put))
            working.add_done_callback(lambda _: latest.news.set())
            # At once when the call ends, whatever this is waiting for by then. The server keeps its latest call, and
            # so what a callback holds, until another one comes: an answer with attention is too large for that.
            leaving = weakref.ref(working)
            context.add_done_callback(lambda _: _give_up(leaving))  # type: ignore[arg-type] # the stubs name a parameter
            try:
                done = False
                while not done:
                    await latest.news.wait()
                    done = working.done()
                    progress = latest.take()
                    if progress is not None:
                        yield replies.progress_message(progress)
                answer = await working
            finally:
                working.cancel()
                await asyncio.wait({working})
            started = time.perf_counter()
            reply = replies.header_message(answer)
            self._metrics.stage(answer.model.name, "serialize", time.perf_counter() - started)
            yield reply
            if answer.attention is not None:
                for message in attention.parts(answer.attention):
                    yield message

    async def ExplainMany(  # noqa: N802 - the proto's name
        self, request_iterator: AsyncIterator[explanation_pb2.ExplainRequest], context: Context
    ) -> AsyncIterator[explanation_service_pb2.ExplainManyResponse]:
        """Answer requests as Explain does, a few at a time; results leave as they finish."""
        one = OneOfMany(
            port=self._port,
            metrics=self._metrics,
            spans=self._spans,
            context=context,
            deadline=deadline_of(context),
        )
        async with aclosing(as_finished(request_iterator, one.answer, most=IN_FLIGHT)) as answers:
            async for answer in answers:
                yield answer

    async def ListModels(  # noqa: N802 - the proto's name
        self, request: explanation_service_pb2.ListModelsRequest, context: Context
    ) -> explanation_service_pb2.ListModelsResponse:
        """List the models that are served."""
        del request, context
        described = (self._described(card) for card in self._port.models())
        return explanation_service_pb2.ListModelsResponse(models=described)

    async def GetModel(  # noqa: N802 - the proto's name
        self, request: explanation_service_pb2.GetModelRequest, context: Context
    ) -> explanation_service_pb2.GetModelResponse:
        """Describe one model."""
        del context
        card = self._port.model(requests.model_name(request))
        return explanation_service_pb2.GetModelResponse(model=self._described(card))

    def _described(self, card: ModelCard) -> model_pb2.Model:
        port = self._port
        return replies.model(
            card, limits=port.limits(), default_model=port.default_model, record=port.record(card.ref.name)
        )


def _give_up(leaving: weakref.ref[asyncio.Future[Explanation]]) -> None:
    working = leaving()
    if working is not None:
        working.cancel()


@dataclass(slots=True)
class _Latest:
    """The newest progress that has not been sent: a caller who reads slowly holds back no more than that."""

    news: asyncio.Event = field(default_factory=asyncio.Event)
    _progress: Progress | None = None

    def put(self, progress: Progress) -> None:
        """Replace what has not been sent."""
        self._progress = progress
        self.news.set()

    def take(self) -> Progress | None:
        """The newest, once."""
        progress, self._progress = self._progress, None
        self.news.clear()
        return progress


def deadline_of(context: Context) -> float | None:
    """Turn the call's deadline into a reading of time.monotonic()."""
    remaining: float | None = context.time_remaining()
    return None if remaining is None else time.monotonic() + remaining
