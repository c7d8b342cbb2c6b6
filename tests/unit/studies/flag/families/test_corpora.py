"""Real texts: what is read from files, where evidence stands, and what is said of a file that lacks something."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollcall.studies.flag.families.corpora import (
    CORPORA,
    Labelled,
    agreement,
    differing,
    imdb_counterfactual,
    rows_of_texts,
    sst2,
    sst_wiki,
    trec,
    whole_words,
)
from rollcall.training.pieces import SPECIAL_PIECES, piece_tokenizer

DATA = Path(__file__).parents[6] / "shared" / "data"
SIZES = {
    "sst2": (2, 83_921, 1815),
    "trec": (6, 5452, 489),
    "ag_news": (4, 10_001, 7600),
    "imdb_counterfactual": (2, 3414, 976),
    "sst_wiki": (2, 6920, 1821),
    "agreement": (2, 7873, 1453),
}
TOKENIZER = piece_tokenizer([*SPECIAL_PIECES, "good", "bad", "film", "##s", "a"], positions=6)


def table(path: Path, *rows: str) -> Path:
    """Write a file of columns that are parted by "|" here; return its folder."""
    path.write_text("".join(row.replace("|", "\t") + "\n" for row in rows), encoding="utf-8")
    return path.parent


@pytest.mark.parametrize("name", CORPORA)
def test_a_data_set_is_read_whole(name: str) -> None:
    """Its classes, and how many texts there are to learn from and to be asked about."""
    directory = DATA / name
    if not directory.is_dir():
        pytest.skip(f"NOT CHECKED: the data set {name} is missing; expected it in shared/data beside the repository")
    corpus = CORPORA[name](directory)
    assert (len(corpus.labels), len(corpus.training), len(corpus.held_out)) == SIZES[name]
    assert {one.label for one in corpus.training} == set(range(len(corpus.labels)))
    assert {one.text for one in corpus.training}.isdisjoint(one.text for one in corpus.held_out)


def test_quotes_are_characters_like_any_other(tmp_path: Path) -> None:
    """The files know no quoting: an opening quote does not swallow the lines behind it."""
    for name in ("train_phrases.tsv", "train.tsv"):
        table(tmp_path / name, "label|text", '1|"a good film', "0|bad")
    corpus = sst2(table(tmp_path / "test.tsv", "label|text", "0|a bad film"))
    assert [one.text for one in corpus.training] == ['"a good film', "bad"] * 2
    assert corpus.held_out == (Labelled(text="a bad film", label=0),)


def test_of_a_sentence_what_stands_before_its_verb_is_read(tmp_path: Path) -> None:
    """Every fifth is held out; verbs elsewhere in the others tell their number, too, but for infinitives."""
    rows = [
        "0|1|is|are|rain is wet",
        "0|2|are|is|the dogs are where the cat is now",
        "1|4|include|includes|the parts of it include what they have",
        "0|2|passes|pass|the train passes",
        "0|0|is|are|is it",
        "0|1|has|have|time has come",
    ]
    corpus = agreement(table(tmp_path / "linzen_test.tsv", "attractors|verb_index|correct|wrong|text", *rows))
    assert corpus.labels == ("singular", "plural")
    assert [(one.text, one.label) for one in corpus.held_out] == [("rain", 0), ("time", 0)]
    assert [(one.text, one.label) for one in corpus.training] == [
        ("the dogs", 1),
        ("the parts of it", 1),
        ("the train", 0),
        ("the dogs are where the cat", 0),
    ]


def test_named_labels_are_numbered_in_their_order(tmp_path: Path) -> None:
    """The same in both files, whichever comes first."""
    table(tmp_path / "train.tsv", "label|text", "NUM|how many", "ABBR|what is it short for")
    corpus = trec(table(tmp_path / "test.tsv", "label|text", "NUM|how far"))
    assert corpus.labels == ("ABBR", "NUM")
    assert [one.label for one in (*corpus.training, *corpus.held_out)] == [1, 0, 1]


def test_a_text_that_was_learned_is_not_asked_about(tmp_path: Path) -> None:
    """Nor one that differs from it in capitals and punctuation alone, as some test questions do."""
    table(tmp_path / "train.tsv", "label|text", "NUM|How many?", "NUM|how far")
    corpus = trec(table(tmp_path / "test.tsv", "label|text", "NUM|how many", "NUM|how long", "NUM|how far"))
    assert [one.text for one in corpus.held_out] == ["how long"]


def test_the_opinion_is_the_evidence_and_the_encyclopedia_is_not(tmp_path: Path) -> None:
    """The evidence is the first half, to the character."""
    table(tmp_path / "train.tsv", "label|sst_text|wiki_text", "0|a bad film|it is a film")
    table(tmp_path / "test.tsv", "label|sst_text|wiki_text", "1|a good film|it is a film")
    (one,) = sst_wiki(tmp_path).held_out
    assert [one.text[start:end] for start, end in one.decisive] == ["a good film"]
    assert one.text == "a good film it is a film"


def test_the_words_that_people_changed_are_the_evidence(tmp_path: Path) -> None:
    """On both sides of a pair, wherever in the file its halves stand."""
    columns = "label|pair_id|text"
    table(tmp_path / "train.tsv", columns, "1|1|fine", "0|1|awful")
    table(tmp_path / "test.tsv", columns, "1|7|a good film", "0|8|bad", "0|7|a very bad film", "1|8|good")
    marked = {
        one.text: [one.text[start:end] for start, end in one.decisive] for one in imdb_counterfactual(tmp_path).held_out
    }
    assert marked == {"a good film": ["good"], "a very bad film": ["very", "bad"], "bad": ["bad"], "good": ["good"]}


def test_a_word_that_the_other_side_lacks_is_marked_on_one_side_only() -> None:
    """There is nothing to point at where a word was left out."""
    assert differing("not good", "good") == ((0, 3),)
    assert differing("good", "not good") == ()


def test_a_missing_file_is_named_with_its_columns(tmp_path: Path) -> None:
    """So that whoever lacks the data can put it there."""
    with pytest.raises(ValueError, match=r"train\.tsv is missing.*columns label, text"):
        trec(tmp_path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    """And so are those that are there."""
    with pytest.raises(ValueError, match=r"train\.tsv has no column text; it has label, sentence"):
        trec(table(tmp_path / "train.tsv", "label|sentence", "NUM|how many"))


def test_an_empty_field_is_named_by_its_line(tmp_path: Path) -> None:
    """A text of nothing would be an input without units."""
    with pytest.raises(ValueError, match=r"train\.tsv, line 3: a field is empty"):
        trec(table(tmp_path / "train.tsv", "label|text", "NUM|how many", "NUM|"))


def test_rows_are_cut_to_what_the_model_reads() -> None:
    """Tokens of the evidence are marked, also where it is several, and special tokens never are."""
    rows = rows_of_texts([Labelled(text="films a bad good film", label=1, decisive=((0, 5), (8, 11)))], TOKENIZER)
    assert TOKENIZER.convert_ids_to_tokens(rows.ids[0]) == ["[CLS]", "film", "##s", "a", "bad", "[SEP]"]
    assert rows.words == [[0, 1, 1, 2, 3, 0]]
    assert rows.secret == [[False, True, True, False, True, False]]


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("a good film", "a good film"),
        ("a bad good film", "a bad good film"),
        ("a bad good film a", "a bad good film"),
        ("a bad good films", "a bad good"),
        ("films films a ", "films films"),
    ],
)
def test_a_text_is_cut_behind_the_last_whole_word(text: str, cut: str) -> None:
    """Four tokens fit beside the special ones; half a word is none."""
    (one,) = whole_words([Labelled(text=text, label=0)], TOKENIZER)
    assert one.text == cut


def test_evidence_behind_the_cut_is_left_out() -> None:
    """No span points behind the end of the text."""
    (one,) = whole_words(
        [Labelled(text="a bad good film a bad", label=0, decisive=((2, 5), (6, 21), (18, 21)))], TOKENIZER
    )
    assert one.decisive == ((2, 5), (6, 15))
