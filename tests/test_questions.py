"""Files of questions → examples: SQuAD's forms and tables, answers found in their texts, articles kept apart."""

import gzip
import json

import pytest

from data.questions import Question, find_answer, learnable, read_questions, split
from data.sources import SkippedRows

TEXT = "Anna was born in 1941 in Paris. In 4 years she moved to Rome, and Paris she saw again."


def squad(*questions, context=TEXT, title="Anna"):
    return {"version": "1.1", "data": [{"title": title, "paragraphs": [{"context": context, "qas": list(questions)}]}]}


def asked(question, *answers, **more):
    return {"id": "1", "question": question, "answers": [{"text": text, **start} for text, start in answers], **more}


@pytest.mark.parametrize("name", ["a.json", "a.JSON.gz"])
def test_squads_json(tmp_path, name):
    content = json.dumps(squad(
        asked(" Where was she born? ", ("Paris", {"answer_start": 25}), (" in Paris", {"answer_start": 21})),
        asked("Where is Bob?", is_impossible=True, plausible_answers=[{"text": "Rome", "answer_start": 56}]),
        asked("Who?", ("Berta", {"answer_start": 0}), ("Anna", {"answer_start": 7})),
        asked("", ("Anna", {"answer_start": 0})), asked(None, ("Anna", {"answer_start": 0})))).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    skipped = SkippedRows(10)
    first, second, third = read_questions([str(path)], skipped)
    assert first == Question("Where was she born?", TEXT, ("Paris", "in Paris"), (25, 30), "Anna")
    assert second == Question("Where is Bob?", TEXT, (), None, "Anna")
    assert third.answers == ("Berta", "Anna") and third.span == (0, 4)
    assert skipped.counts == {"no question": 2} and str(path) in str(skipped)


def test_a_start_is_trusted_where_it_is_right_and_sure(tmp_path):
    path = tmp_path / "a.json"
    for start, wanted in (({"answer_start": 66}, 66), ({"answer_start": 66, "occurrences": 1}, 66), ({"answer_start": 3}, 25),
                          ({"answer_start": 66, "occurrences": 2}, 25), ({"answer_start": -1}, 25), ({}, 25)):
        path.write_text(json.dumps(squad(asked("Where was she born?", ("Paris", start)))), encoding="utf-8")
        (question,) = read_questions([str(path)], SkippedRows(10))
        assert question.span == (wanted, wanted + 5), start


def test_the_likely_occurrence_of_an_answer():
    assert TEXT.index("Paris") == 25 and TEXT.index("Paris", 26) == 66
    assert find_answer("When did she move?", TEXT, "4") == (TEXT.index("4 years"), TEXT.index("4 years") + 1)  # not 1941
    far = f"Paris is a name. {'x ' * 100}She was born in Paris. {'x ' * 100}Paris again."
    assert find_answer("Where was she born?", far, "Paris")[0] == far.index("Paris. ")
    assert find_answer("What?", far, "Paris") == (0, 5) and find_answer("What?", far, "Oslo") is None
    assert find_answer("谁？", "他是张三，张三是他", "张三") == (2, 4)
    assert find_answer("What?", "a+b and a+b", "a+b", 8) == (8, 11)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"data": 5}', b'{"data": [{"paragraphs": [{"qas": [{}]}]}]}', b"\x80",
                                     json.dumps(squad({"question": "no answers"})).encode(), b'{"data": [7]}'])
def test_another_json_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r'must be \{"data".*Received: .*a.json'):
        read_questions([str(tmp_path / "a.json")], SkippedRows(10))
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(json.dumps(squad()).encode())[:-9])
    with pytest.raises(ValueError, match=r'must be \{"data"'):
        read_questions([str(tmp_path / "a.json.gz")], SkippedRows(10))


def test_tables(tmp_path):
    (tmp_path / "a.csv").write_text(f'question,context,answer,answer_start\nWhere?,"{TEXT}",Paris,66\nWho?,"{TEXT}",Anna,\n'
                                    f'What?,"{TEXT}",,\n,"{TEXT}",Anna,0\nWho?, ,Anna,0\nWhere?,"{TEXT}",Oslo,x\n', encoding="utf-8")
    skipped = SkippedRows(10)
    questions = read_questions([str(tmp_path / "a.csv")], skipped)
    assert [(question.answers, question.span) for question in questions] == [
        (("Paris",), (66, 71)), (("Anna",), (0, 4)), ((), None), (("Oslo",), None)]
    assert skipped.counts == {"no question": 1, "no text to read": 1} and questions[0].article == TEXT
    assert len(learnable(questions, skipped)) == 3
    assert skipped.counts["an answer that does not stand in its text"] == 1
    (tmp_path / "b.tsv").write_text("问题\t文章\t答案\n他是谁？\t他是张三。\t张三\n", encoding="utf-8")
    (tmp_path / "c.jsonl").write_text('{"q": "who?", "text": "it is me", "a": "me"}\n', encoding="utf-8")
    (question,) = read_questions([str(tmp_path / "b.tsv")], skipped)
    assert question.span == (2, 4)
    (question,) = read_questions([str(tmp_path / "c.jsonl")], skipped, question_column="q", answer_column="a")
    assert question.span == (6, 8)
    with pytest.raises(ValueError, match="c.jsonl:1: the question column must be found by its name.*q, text, a"):
        read_questions([str(tmp_path / "c.jsonl")], skipped)
    (tmp_path / "d.csv").write_text("question,context,answer\n,,\n", encoding="utf-8")
    with pytest.raises(ValueError, match="at least one row with a question and a text"):
        read_questions([str(tmp_path / "d.csv")], skipped)
    with pytest.raises(FileNotFoundError):
        read_questions([str(tmp_path / "e.json")], skipped)


def test_articles_are_held_out_as_a_whole():
    questions = [Question(f"{number}?", "text", (), None, str(number % 40)) for number in range(400)]
    first, held_out = split(questions, 1000, seed=0)
    assert len(first) == 380 and len(held_out) == 20 and sorted([*first, *held_out], key=str) == sorted(questions, key=str)
    assert not {question.article for question in first} & {question.article for question in held_out}
    assert len(split(questions, 10, seed=0)[1]) == 10 and split(questions, 10, seed=1)[1] != split(questions, 10, seed=0)[1]
    assert [len(part) for part in split(questions[:2], 1000, seed=0)] == [1, 1]
    uneven = [Question(f"{number}?", "text", (), None, "big" if number < 95 else "small") for number in range(100)]
    for seed in range(4):
        assert {question.article for question in split(uneven, 1000, seed)[1]} == {"small"}
    with pytest.raises(ValueError, match="2 questions about 1 of them"):
        split(questions[:1] * 2, 1000, seed=0)
