"""What a person reads in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings

import canned
from hostile import TEXTS, explanations
from rollcall_client._v1 import explanation_pb2
from rollcall_client.html import render_article, render_page, style_sheet

if TYPE_CHECKING:
    from rollcall_client import Explanation

VOID = {"meta", "img"}
_NAMES = re.compile(r"[a-z0-9-]+")
OWN_TAGS = set(
    _NAMES.findall("""
    html head meta title style body header p h1 h2 h3 h4 h5 bdi main article section span table thead tbody tr th td b i
    figure figcaption mark details summary div small dl dt dd del script nav a ul li noscript svg rect line img
    """)
)
OWN_ATTRIBUTES = set(
    _NAMES.findall("""
    lang charset name content http-equiv class data-flag data-outcome id title dir scope aria-hidden aria-live
    aria-label href type x x1 x2 y1 y2 width src alt
    """)
)


class Page(HTMLParser):
    """Reads a page and refuses what is not balanced or not ours."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self.links: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Only tags and attributes that the page makes itself."""
        assert tag in OWN_TAGS
        assert {name for name, _ in attrs} <= OWN_ATTRIBUTES
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        """Every end closes the last start."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Scripts apart, text is kept as people read it."""
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif self.open and self.open[-1] != "style":
            self.text.append(data)


def test_the_verdict_comes_first() -> None:
    """Flag and sentence stand before everything else, then in the order of the terminal."""
    text = "".join(Page(render_page(canned.explanation(), title="Review 7")).text)
    headings = [
        "Review 7",
        "FAITHFUL gradient rollout",
        "This map may be relied on",
        "Policy standard@1",
        "Prediction",
        "Map shown",
        "What the words do, measured",
        "Smallest change of the decision",
        "Different attention, same answer",
        "All maps",
        "Checks of gradient rollout",
        "Time",
    ]
    start = 0
    for heading in headings:
        start = text.index(heading, start)


def test_only_a_faithful_map_is_a_picture() -> None:
    """Words are marked under the faithful map, and nowhere else."""
    page = render_page(canned.explanation())
    # Once where it is shown and once in its own details.
    assert page.count('<figure class="trusted" data-flag="FAITHFUL">') == 2
    assert page.count("<mark") == 2 * len(canned.WORDS)
    assert page.count('<figure class="untrusted"') == 2


@pytest.mark.parametrize(
    "verdict",
    [
        canned.verdict(explanation_pb2.FLAG_UNFAITHFUL),
        canned.verdict(explanation_pb2.FLAG_INCONCLUSIVE, explanation_pb2.REASON_CONFLICT),
        canned.unchecked(),
        canned.verdict(explanation_pb2.Flag.ValueType(99)),
    ],
    ids=["unfaithful", "inconclusive", "not checked", "from the future"],
)
def test_any_other_map_is_hatched_and_captioned(verdict: explanation_pb2.Verdict) -> None:
    """No word is marked, and the caption says so."""
    page = render_page(canned.explanation(canned.explain_reply(verdict)))
    assert "<mark" not in page
    assert 'class="trusted"' not in page
    assert "Its weights are not drawn." in page


def test_a_twin_stands_beside_the_original() -> None:
    """A rewiring witness is shown with both maps and how far they are apart."""
    page = render_page(canned.explanation())
    assert "Alternative, same prediction" in page
    assert "The maps differ by 0.162 nats" in page


def test_thorough_checks_stand_apart() -> None:
    """They have a table that says they do not decide; the adversary's map says what it proves and what not."""
    page = render_page(canned.explanation(canned.thorough()))
    assert "Numbers and witnesses beside the flag; none of them decides." in page
    assert "The most different map with the same prediction that the search found" in page
    assert "proof that such maps exist, not that this one is wrong" in page
    assert "layer 1 head 2" in page
    assert "Thorough checks" not in render_page(canned.explanation())


def test_attention_by_head_comes_on_demand() -> None:
    """The numbers are there for each layer and head, and the page says that nobody checked them."""
    page = render_page(canned.explanation(canned.recommended_instead()))
    assert "Nobody checks single heads" in page
    numbers = json.loads(Page(page).scripts[0])
    assert (len(numbers["weights"]), len(numbers["weights"][0]), len(numbers["words"])) == (4, 4, 12)
    for layer in numbers["weights"]:
        assert [sum(head) for head in layer] == pytest.approx([1] * 4, abs=1e-3)
    assert "Nobody checks single heads" not in render_page(canned.explanation())


def test_several_answers_have_an_overview() -> None:
    """Each answer is one click away, with its flag."""
    answers = [canned.explanation(), canned.explanation(canned.recommended_instead())]
    page = Page(render_page(answers, title="Two"))
    assert page.links == ["#answer-1", "#answer-2"]
    assert page.tags.count("article") == 2
    assert "0 answers" in render_page([])


def test_the_page_needs_no_network_and_runs_only_its_own_script() -> None:
    """The policy allows script and styles by their hashes, and nothing is loaded from anywhere."""
    page = render_page(canned.explanation())
    (style,) = re.findall(r"<style>(.*?)</style>", page, flags=re.DOTALL)
    for name, content in {"script": Page(page).scripts[-1], "style": style}.items():
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in page
    assert "default-src 'none'" in page
    named = page.replace("http://www.w3.org/2000/svg", "")  # what SVG is called, not where it is
    assert not re.search(r"https?:|url\(|@import|src=", named)


def test_an_article_needs_no_leave_of_any_policy() -> None:
    """It is one element without scripts, styles and links, also where the answer carries attention."""
    article = Page(render_article(canned.explanation(canned.recommended_instead()), title="Record 7"))
    assert article.tags[0] == "article"
    assert article.tags.count("article") == 1
    assert not {"script", "style", "a"} & set(article.tags)
    assert "Record 7" in article.text
    assert ".badge" in style_sheet()


def test_the_stronger_a_words_weight_the_stronger_its_colour() -> None:
    """The heaviest word has the strongest of the shades that the style sheet has."""
    page = render_page(canned.explanation())
    shades = [int(shade) for shade in re.findall(r'<mark class="heat-(\d+)"', page)][: len(canned.WORDS)]
    shown = canned.explanation().shown.scores
    assert shades == [round(20 * score / max(shown)) for score in shown]
    assert all(f".heat-{shade} {{" in style_sheet() for shade in range(1, 21))


def test_the_same_answer_makes_the_same_page() -> None:
    """Pages can be compared and archived."""
    assert render_page(canned.explanation()) == render_page(canned.explanation())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(explanations(), TEXTS)
def test_nothing_hostile_reaches_the_page(explanation: Explanation, title: str) -> None:
    """Whatever is sent: our tags, our attributes, our script, and no character that hides or reorders."""
    source = render_page([explanation, explanation], title=title)
    page = Page(source)
    *data, script = page.scripts
    assert script == Page(render_page([])).scripts[-1]
    assert all(json.loads(block)["words"] for block in data)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", source)
