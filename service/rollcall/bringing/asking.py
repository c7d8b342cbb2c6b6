"""What an admin asks of a server whose repository.mode is explicit."""

from __future__ import annotations

from dataclasses import dataclass

from rollcall.bringing.peers import Server
from rollcall.oip import open_inference_pb2 as oip


def load(server: Server, name: str, revision: str) -> str:
    """Have a model of the repository served, its newest revision if none is named; return the one that serves now.

    Raises CallFailed; then what was served still is.
    """
    parameters = {"revision": oip.ModelRepositoryParameter(string_param=revision)} if revision else {}
    with server.stub() as stub:
        server.ask(stub.RepositoryModelLoad, oip.RepositoryModelLoadRequest(model_name=name, parameters=parameters))
        return str(server.ask(stub.ModelMetadata, oip.ModelMetadataRequest(name=name)).versions[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A model, or a revision of the repository that is not served; `reason` says why it takes no requests."""

    name: str
    revision: str
    state: str
    reason: str

    def __str__(self) -> str:
        """One line."""
        return " ".join(filter(None, (self.name, self.revision, self.state, self.reason and f"({self.reason})")))


def index(server: Server) -> tuple[Listed, ...]:
    """What a server serves, and what else is in its repository. Raises CallFailed."""
    with server.stub() as stub:
        told = server.ask(stub.RepositoryIndex, oip.RepositoryIndexRequest()).models
    return tuple(Listed(name=one.name, revision=one.version, state=one.state, reason=one.reason) for one in told)


def unload(server: Server, name: str) -> None:
    """Have a model take no further requests. Raises CallFailed."""
    with server.stub() as stub:
        server.ask(stub.RepositoryModelUnload, oip.RepositoryModelUnloadRequest(model_name=name))
