"""The file of callers says who has which token and certificate, and what is wrong with it, without quoting it."""

from __future__ import annotations

import hashlib

import pytest

from rollcall.domain.identity import Identity, Role
from rollcall.edge.access.callers import parse_callers, token_digest

DIGEST = hashlib.sha256(b"secret token").hexdigest()
OTHER = hashlib.sha256(b"next token").hexdigest()
BACKEND = Identity(name="backend", tenant="reviews", roles=frozenset({Role.CALLER, Role.METRICS}))
FILE = f"""
[backend]
tenant = "reviews"
roles = ["caller", "metrics"]
token_sha256 = ["{DIGEST}", "{OTHER}"]
certificate = "spiffe://prod/reviews"

["auditing@example"]
roles = "auditor"
certificate = ["auditing.example", "spiffe://prod/auditing"]
"""


def test_tokens_and_certificates_find_their_owner() -> None:
    """Each caller is known by what it has; who leaves out the tenant is one."""
    callers = parse_callers(FILE.encode())
    auditing = Identity(name="auditing@example", tenant="auditing@example", roles=frozenset({Role.AUDITOR}))
    assert callers.by_token("secret token") == callers.by_token("next token") == BACKEND
    assert callers.by_certificate(["spiffe://prod/reviews"]) == BACKEND
    assert callers.by_certificate(["unknown.example", "auditing.example"]) == auditing


@pytest.mark.parametrize("token", ["", "secret token ", "SECRET TOKEN", DIGEST, "ünknown"])
def test_other_tokens_are_nobodys(token: str) -> None:
    """Neither a near miss nor the digest itself opens the door."""
    assert parse_callers(FILE.encode()).by_token(token) is None
    assert parse_callers(FILE.encode()).by_certificate([token]) is None


def test_every_digest_is_compared_whichever_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of an answer does not tell how far a guess was right, nor which entry it fits."""
    callers, compared = parse_callers(FILE.encode()), list[bytes]()

    def compare(known: bytes, digest: bytes) -> bool:
        compared.append(known)
        return known == digest

    monkeypatch.setattr("hmac.compare_digest", compare)
    for token in ("secret token", "next token", "unknown"):
        compared.clear()
        callers.by_token(token)
        assert compared == [DIGEST.encode(), OTHER.encode()]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("[a", "is not valid TOML"),
        ("a = 1", "a: expected a section"),
        ('["b c"]\nroles = "caller"', "expected names of callers"),
        ("[a]", "a.roles: expected some of caller, auditor"),
        ('[a]\nroles = ["caller", "root"]', "a.roles: expected some of"),
        ('[a]\nroles = "caller"\ntokens = "x"', "a.tokens: expected one of tenant, roles"),
        ('[a]\nroles = "caller"\ntoken_sha256 = "hunter2"', "a.token_sha256: expected digests"),
        ('[a]\nroles = "caller"\ntoken_sha256 = [1]', "a.token_sha256: expected text"),
        ('[a]\nroles = "caller"\ntenant = "rollcall:rechecks"', "a.tenant: expected a name"),
        (f'[a]\nroles = "caller"\ntoken_sha256 = "{DIGEST}"\n[b]\nroles = "admin"\ntoken_sha256 = "{DIGEST}"', "a has"),
        ('[a]\nroles = "caller"\ncertificate = ["x", "x"]', "a.certificate: a has the same"),
    ],
)
def test_mistakes_are_named_and_not_quoted(content: str, problem: str) -> None:
    """An operator learns the place; a token that was written where its digest belongs is not repeated."""
    with pytest.raises(ValueError, match=problem.replace("[", r"\[")) as raised:
        parse_callers(content.encode())
    assert "hunter2" not in str(raised.value)


def test_the_digest_is_sha256() -> None:
    """Other tools can make it: FIPS 180-2, example B.1."""
    assert token_digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
