"""A model of the Hugging Face hub at one commit: only where somebody says so, and only files that are needed."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from rollcall.bringing.hugging_face import choose
from rollcall.bringing.parts import Part, Source
from rollcall.domain.errors import ModelRejected

PREFIX = "hub:"
PINNED = re.compile(r"hub:(?P<repository>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40})")


def read_hub(source: str, *, endpoint: str | None = None) -> Source:
    """Find the files of "hub:ORGANISATION/NAME@COMMIT"; they are fetched when they are opened.

    Raises ModelRejected, also for a name or number of a version that may move.
    """
    pinned = PINNED.fullmatch(source)
    if pinned is None:
        message = f"{source[:120]}: expected hub:ORGANISATION/NAME@COMMIT, all 40 digits: branches and tags move"
        raise ModelRejected(message)
    from huggingface_hub import HfApi  # noqa: PLC0415 - only where something is fetched
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # noqa: PLC0415 - documented, not exported

    repository, commit = pinned["repository"], pinned["commit"]
    try:
        told = HfApi(endpoint=endpoint).model_info(repository, revision=commit, files_metadata=True)
    except (httpx.HTTPError, OSError, ValueError) as error:
        message = f"{source}: the hub does not tell of it: {type(error).__name__}"
        raise ModelRejected(message) from error
    if told.sha != commit:
        message = f"{source}: the hub answers with another commit, {told.sha}"
        raise ModelRejected(message)
    parts = {
        file.rfilename: Part(
            name=file.rfilename,
            size=file.size or 0,
            open=_fetching(repository, file.rfilename, commit, endpoint),
            sha256=file.lfs.sha256 if file.lfs else "",
        )
        for file in told.siblings or []
        if Path(file.rfilename).name == file.rfilename
    }
    chosen = choose(parts, source)
    return Source(
        kind=f"the Hugging Face hub, commit {commit}",
        name=repository.rpartition("/")[2],
        copied=chosen.copied,
        pickled=chosen.pickled,
        notes=chosen.notes,
    )


def _fetching(
    repository: str, name: str, commit: str, endpoint: str | None
) -> Callable[[], AbstractContextManager[IO[bytes]]]:
    @contextmanager
    def opened() -> Iterator[IO[bytes]]:
        from huggingface_hub import hf_hub_download  # noqa: PLC0415 - likewise
        from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # noqa: PLC0415 - documented, not exported

        with tempfile.TemporaryDirectory(prefix="rollcall-hub-") as folder:
            try:
                path = hf_hub_download(repository, name, revision=commit, local_dir=folder, endpoint=endpoint)
            except (httpx.HTTPError, OSError, ValueError) as error:
                message = f"{name} cannot be fetched from the hub: {type(error).__name__}"
                raise ModelRejected(message) from error
            with Path(path).open("rb") as file:
                yield file

    return opened
