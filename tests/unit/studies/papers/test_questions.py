"""The same texts asked in three ways: labels that are right, and no held-out text among those to learn from."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollcall.studies.papers.vashishth.questions import KINDS, rows_of

WORDS = ["the", "film", "was", "a", "plot", "of", "its", "time", "and", "the", "cast", "is", "not", "in", "it"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both data sets, small."""
    folder = tmp_path_factory.mktemp("data")
    for name, texts in {
        "train_phrases": ["0\tbad film", "1\tgood film", "0\tawful", "1\tgreat cast"],
        "train": ["1\tA good and great film", "0\ta bad and awful film", "1\t" + "long " * 30],
        "test": ["1\tGood film", "1\tgreat indeed", "0\tbad indeed"],
    }.items():
        (folder / "sst2").mkdir(exist_ok=True)
        (folder / "sst2" / f"{name}.tsv").write_text("label\ttext\n" + "\n".join(texts) + "\n")
    (folder / "imdb_counterfactual").mkdir()
    for name in ("train", "test"):
        lines = [f"1\t{number}\t{' '.join(WORDS * 3)} {name} {number}" for number in range(5)]
        (folder / "imdb_counterfactual" / f"{name}.tsv").write_text("label\tpair_id\ttext\n" + "\n".join(lines) + "\n")
    return folder


def test_pairs_are_the_single_texts_and_half_of_them_agree(data: Path) -> None:
    """What differs between the tasks is the question alone."""
    single, pair = KINDS["single"](data, 10, 10), KINDS["pair"](data, 40, 10)
    opinion = {one.text: one.label for one in single.training}
    for one in pair.training:
        assert one.other is not None
        assert one.label == (opinion[one.text] == opinion[one.other])
    assert sum(one.label for one in pair.training) == 20
    assert all(len(one.text.split()) <= 20 for one in single.training)
    assert [one.text for one in single.held_out if one.text.lower() == "good film"] == []


def test_the_next_word_is_the_one_that_follows(data: Path) -> None:
    """A prefix of some words, and the number of the word behind it in the text."""
    task = KINDS["next word"](data, 30, 5)
    text = f" {' '.join(WORDS * 3)} "
    assert all(f" {one.text} {task.labels[one.label]} " in text for one in task.training)
    assert 0 < task.chance <= 1


def test_both_texts_of_a_pair_are_of_one_type(data: Path) -> None:
    """As in training, where no types are given; a separator parts them."""
    pair = KINDS["pair"](data, 8, 2)
    tokenizer = pair.tokenizer()
    (row,) = rows_of(pair.training[:1], tokenizer).ids
    assert row.count(tokenizer.sep_token_id) == 2
    assert "token_type_ids" not in tokenizer("good film", "bad film")
