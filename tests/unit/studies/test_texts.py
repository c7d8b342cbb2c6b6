"""Files of inputs: every format gives the same texts, and what is wrong is said without telling the text."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollcall.domain.decision import Task
from rollcall.domain.inputs import ImageInput, TextInput, WordRef
from rollcall.studies.texts import DataError, Kind, read_data

FILES = {
    "d.tsv": 'label\tsentence\n1\ta "fine" film\n0\t\n1\tdull, dull\n',
    "d.csv": 'sentence,label\n"a ""fine"" film",1\n,0\n"dull, dull",1\n',
    "d.jsonl": '{"text": "a \\"fine\\" film"}\n{"text": " "}\n{"text": "dull, dull", "label": 1}\n',
    "d.txt": 'a "fine" film\n\ndull, dull\n',
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_texts(tmp_path: Path, name: str) -> None:
    """Texts in the order of the file, without the empty ones, named by folder and file."""
    path = tmp_path / name
    path.write_text(FILES[name], encoding="utf-8")
    data = read_data(path)
    assert [data.shown(number) for number in range(len(data.inputs))] == [('a "fine" film',), ("dull, dull",)]
    assert data.kind is Kind.TEXTS
    assert data.name == f"{tmp_path.name}/{name}"


def test_pairs_and_line_breaks_in_quotes_are_read(tmp_path: Path) -> None:
    """A quoted field of a .csv may hold a line break; a pair has its second text."""
    path = tmp_path / "d.csv"
    path.write_text('text,text_pair\n"one\ntwo",three\n', encoding="utf-8")
    data = read_data(path)
    assert data.inputs == (TextInput(text="one\ntwo", text_pair="three"),)
    assert (data.kind, data.shown(0)) == (Kind.PAIRS, ("one\ntwo", "three"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.tsv", "label\tsentence\tsentence2\n1\ta\tb\n0\t\t\n0\tc\td\n"),
        ("d.csv", "text,text2\na,b\n,\nc,d\n"),
        (
            "d.jsonl",
            '{"text": "a", "text_pair": "b"}\n{"text": " ", "text_pair": ""}\n{"text": "c", "text_pair": "d"}\n',
        ),
    ],
)
def test_pairs_are_read_from_every_table(tmp_path: Path, name: str, content: str) -> None:
    """Whatever the second column is called; rows without either text are left out."""
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert [read_data(path).shown(number) for number in range(2)] == [("a", "b"), ("c", "d")]


@pytest.mark.parametrize(
    ("column", "word"),
    [("word_index", WordRef(index=2)), ("word_character", WordRef(character=2))],
)
@pytest.mark.parametrize("name", ["d.tsv", "d.jsonl"])
def test_a_column_names_the_word_that_is_asked_about(tmp_path: Path, name: str, column: str, word: WordRef) -> None:
    """By its number or by a character; a model that labels words needs it for each line, and no other one takes it."""
    path = tmp_path / name
    rows = {"d.tsv": f"text\t{column}\na b c\t2\n", "d.jsonl": f'{{"text": "a b c", "{column}": 2}}\n'}
    path.write_text(rows[name], encoding="utf-8")
    data = read_data(path)
    assert data.inputs == (TextInput(text="a b c", word=word),)
    assert data.shown(0) == ("a b c [word 2]" if word.index else "a b c [the word at character 2]",)
    data.require(Task.TOKEN_LABEL)
    with pytest.raises(DataError, match="answers about whole inputs"):
        data.require(Task.SINGLE_LABEL)
    path.write_text('{"text": "a b c"}\n' if name == "d.jsonl" else "text\na b c\n", encoding="utf-8")
    read_data(path).require(Task.MULTI_LABEL)
    with pytest.raises(DataError, match="a column word_index or word_character"):
        read_data(path).require(Task.TOKEN_LABEL)


def test_the_pictures_of_a_folder_are_read(tmp_path: Path) -> None:
    """PNG and JPEG files by name, and nothing else; the digest knows every byte and every name."""
    for name, content in (("b.png", b"2"), ("a.JPG", b"1"), ("notes.txt", b"3")):
        (tmp_path / name).write_bytes(content)
    data = read_data(tmp_path)
    assert data.inputs == (ImageInput(data=b"1"), ImageInput(data=b"2"))
    assert [data.shown(number) for number in range(2)] == [("a.JPG",), ("b.png",)]
    assert data.kind is Kind.PICTURES
    (tmp_path / "b.png").write_bytes(b"4")
    changed = read_data(tmp_path)
    (tmp_path / "b.png").rename(tmp_path / "c.png")
    assert len({data.digest, changed.digest, read_data(tmp_path).digest}) == 3


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    """It is named, and what was looked for."""
    with pytest.raises(DataError, match="no pictures in it"):
        read_data(tmp_path)


def test_the_order_is_drawn_by_the_seed(tmp_path: Path) -> None:
    """The same for the same seed, another for another, and each text once."""
    path = tmp_path / "d.txt"
    path.write_text("\n".join(f"text {i}" for i in range(50)))
    data = read_data(path)
    assert data.order(1) == data.order(1)
    assert data.order(1) != data.order(2)
    assert sorted(data.order(1)) == list(range(50))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("d.parquet", b"secret", "expected .tsv"),
        ("d.txt", b"secret \xff", "not UTF-8 from byte 7"),
        ("d.txt", b"\n \n", "no texts"),
        ("d.tsv", b"words\tlabel\nsecret\t1\n", "line 2 has no column called text or sentence"),
        ("d.csv", b"", "no texts"),
        ("d.jsonl", b'{"text": "x"}\nsecret\n', "line 2 is no JSON"),
        ("d.jsonl", b'["secret"]\n', "line 1 is no JSON object"),
        ("d.tsv", b"text\tword_index\nsecret\tfirst\n", "line 2 must have one number"),
        ("d.tsv", b"text\tword_index\tword_character\nsecret\t0\t0\n", "line 2 must have one number"),
        ("d.jsonl", b'{"text": "secret", "word_index": -1}\n', "line 1 must have one number"),
        ("d.jsonl", b'{"words": "secret"}\n', "line 1 has no column"),
        ("d.tsv", b"text\ttext_pair\na\tb\nsecret\t\n", "line 3 has one text of a pair, and the other one is empty"),
        ("d.csv", b"text,text_pair\na,b\n ,secret\n", "line 3 has one text of a pair"),
        ("d.jsonl", b'{"text": "a", "text_pair": "b"}\n{"text": "secret"}\n', "line 2: some rows are pairs"),
        ("d.jsonl", b'{"text": "a"}\n{"text": "secret", "text_pair": "b"}\n', "line 2: some rows are pairs"),
    ],
)
def test_a_file_that_cannot_be_read_says_where(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    """The place and what was expected, never the text."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        read_data(path)
    assert "secret" not in str(caught.value)
