"""How a console may be reached."""

from __future__ import annotations

import pytest

from rollcall.console.options import ConsoleOptions, OpenId, problems

ISSUER = OpenId(issuer="https://issuer.example", client_id="console", client_secret="hush")  # noqa: S106 - made up


@pytest.mark.parametrize(
    ("options", "host", "wrong"),
    [
        (ConsoleOptions(target="t"), "127.0.0.1", ""),
        (ConsoleOptions(target="t"), "localhost", ""),
        (ConsoleOptions(target="t"), "::1", ""),
        (ConsoleOptions(target="t"), "0.0.0.0", "--host"),  # noqa: S104 - refused
        (ConsoleOptions(target="t", public_url="http://audit.example"), "10.0.0.1", "--host"),
        (ConsoleOptions(target="t", public_url="https://audit.example"), "10.0.0.1", ""),
        (ConsoleOptions(target="t", public_url="audit.example"), "127.0.0.1", "--public-url"),
        (ConsoleOptions(target="t", public_url="https://audit.example/console"), "127.0.0.1", "--public-url"),
        (ConsoleOptions(target="t", open_id=ISSUER), "127.0.0.1", "--oidc-issuer"),
        (ConsoleOptions(target="t", open_id=ISSUER, public_url="http://127.0.0.1:8003"), "127.0.0.1", ""),
    ],
)
def test_sessions_travel_by_https_or_not_at_all(options: ConsoleOptions, host: str, wrong: str) -> None:
    """Beyond the loopback, browsers come by https; each mistake is named by its option."""
    found = problems(options, host)
    assert bool(found) == bool(wrong)
    assert all(problem.startswith(wrong) for problem in found)


def test_it_answers_to_its_own_names_alone() -> None:
    """Other names in a browser's request lead here by somebody's trick."""
    assert ConsoleOptions(target="t").hosts == ["localhost", "127.0.0.1", "[::1]"]
    assert ConsoleOptions(target="t", public_url="https://audit.example:444").hosts[0] == "audit.example"
    assert ConsoleOptions(target="t", public_url="https://audit.example").secure
    assert "hush" not in repr(ISSUER)
