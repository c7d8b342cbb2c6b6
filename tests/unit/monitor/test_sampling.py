"""Who is checked again is decided by chance that nobody outside can steer, once for each input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from rollcall.monitor.sampling import Sampler
from tests.unit.pipeline.fakes import WORDS, encoding

DIGEST = "sha256:aa"


def inputs(count: int) -> list[str]:
    """Different texts."""
    rng = np.random.default_rng(3)
    texts: dict[str, None] = {}
    while len(texts) < count:
        texts[" ".join(rng.choice(WORDS, size=8))] = None
    return list(texts)


@pytest.mark.parametrize("share", [0.005, 0.2, 0.5])
def test_the_share_is_kept(share: float) -> None:
    """Of many inputs about the share that was set is chosen."""
    sampler = Sampler(share=share, secret=b"one")
    chosen = sum(sampler.chooses(sampler.key(DIGEST, encoding(text))) for text in inputs(3000))
    assert binomtest(chosen, 3000, share).pvalue > 1e-4


def test_none_and_all_are_exact() -> None:
    """A share of 0 chooses nobody, a share of 1 everybody."""
    keys = [Sampler(share=0, secret=b"s").key(DIGEST, encoding(text)) for text in inputs(200)]
    assert not any(Sampler(share=0, secret=b"s").chooses(key) for key in [*keys, 0])
    assert all(Sampler(share=1, secret=b"s").chooses(key) for key in [*keys, 2**64 - 1])


def test_the_choice_depends_on_the_secret_the_model_and_the_tokens_alone() -> None:
    """The same input is chosen alike within a process, and independently in another one or by another model."""
    texts = inputs(400)

    def chosen(secret: bytes, digest: str) -> list[bool]:
        sampler = Sampler(share=0.5, secret=secret)
        return [sampler.chooses(sampler.key(digest, encoding(text))) for text in texts]

    first = chosen(b"one", DIGEST)
    assert chosen(b"one", DIGEST) == first
    for other in (chosen(b"two", DIGEST), chosen(b"one", "sha256:bb")):
        same = sum(a == b for a, b in zip(first, other, strict=True))
        assert binomtest(same, len(texts), 0.5).pvalue > 1e-4


def test_an_input_is_new_once_while_it_is_remembered() -> None:
    """Asking the same again adds nothing; what was forgotten longest ago is new again."""
    sampler = Sampler(share=0, secret=b"s", most=2)
    assert [sampler.is_new(key) for key in (1, 2, 1, 3)] == [True, True, False, True]
    assert [sampler.is_new(key) for key in (1, 2)] == [False, True]
    assert not sampler.is_new(1)


def test_the_secret_is_not_shown() -> None:
    """A log of the sampler gives nobody the means to choose."""
    assert "hidden" not in repr(Sampler(share=0.1, secret=b"hidden"))
