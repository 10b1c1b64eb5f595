"""Texts → questions made of them: where the answer stands, what is asked with, the table that a training reads."""

import collections

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from app.__main__ import main
from app.clozes import clozes
from data.clozes import DROPPED, LONGEST_SENTENCE, QUESTIONS, SENTENCES, _ask, _pieces, cloze_questions
from data.questions import read_questions
from data.sources import SkippedRows, clean_text

ENGLISH = " ".join(f'In {1900 + n} the {word} crossed the "wide" river, and nobody saw it again before winter came.'
                   for n, word in enumerate(["ferry", "army", "circus", "ambassador"] * 5))
CHINESE = "".join(f"{1900 + n}年，《{who}》“渡过”了那条宽阔的大河，冬天到来之前再也没有人看见过他。"
                  for n, who in enumerate(["将军", "马戏团", "大使", "渔夫"] * 5))


def test_answers_stand_where_they_say(tokenizer):
    made = list(cloze_questions([ENGLISH, "", CHINESE, "Too short. 太短。"], tokenizer))
    passages = collections.defaultdict(list)
    for question in made:
        start, end = question.span
        assert question.answers == (question.context[start:end],) and question.context in question.article
        assert question.context.count("river") + question.context.count("大河") in (SENTENCES, 20 - SENTENCES)
        assert question.answers[0].strip(" ,.，。") == question.answers[0] and any(map(str.isalnum, question.answers[0]))
        passages[question.article, question.context].append(question.context.count(question.context[-1], 0, start))
    assert [article for article, _ in passages] == [ENGLISH, ENGLISH, CHINESE, CHINESE]  # twenty sentences are two passages
    assert max(map(len, passages.values())) == QUESTIONS
    assert all(len({*sentences}) == len(sentences) for sentences in passages.values())  # each about a sentence of its own
    assert made == list(cloze_questions([ENGLISH, CHINESE], tokenizer))  # whatever stands between them


def test_what_is_asked(tokenizer):
    texts = [f"{number} {ENGLISH}" for number in range(30)] + [f"{number}{CHINESE}" for number in range(30)]
    words = {word.strip(',."') for word in " ".join(texts[:30]).split()}
    longest = collections.Counter()
    for question in cloze_questions(texts, tokenizer):
        has_digit = any(map(str.isdecimal, question.answers[0]))
        if "年" in question.context:
            asked = "多少" if has_digit else "什么"
            assert question.question.count(asked) == 1 and question.question[-1] == "？" and len(question.question) > 3
            longest["Chinese"] = max(longest["Chinese"], len(question.answers[0]))
        else:
            asked = " how many " if has_digit else " what "
            assert asked in f" {question.question[:-1]} " and question.question[-1] == "?"
            around = [word.strip(',."') for word in f" {question.question[:-1]} ".replace(asked, " ").split()]
            assert any(around) and {*around} <= words | {""}  # whole ones
            longest["English"] = max(longest["English"], len(question.answers[0].split()))
    assert 5 <= longest["English"] <= 10 and 5 <= longest["Chinese"]  # up to half a sentence


def test_pieces_are_words_or_tokens(tokenizer):
    sentences = ["In 1900 naïve people's café closed, ok?", "他在1900年渡过大河。"]
    english, chinese = _pieces(tf.constant(sentences), tokenizer)
    assert english == ["In ", "1900 ", "naïve ", "people's ", "café ", "closed", ", ", "ok", "?"]
    assert "".join(chinese) == sentences[1] and "1900" in chinese and max(map(len, chinese)) <= 4


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=6), min_size=8, max_size=40), st.booleans())
def test_any_text(tokenizer, words, spaced):
    text = clean_text((" " if spaced else "").join([*words, "l´été ½ﬁ¨ किताब 北京"]))
    assert "".join(*_pieces(tf.constant([text]), tokenizer)) == text
    for question in cloze_questions([text], tokenizer):
        assert question.context[slice(*question.span)] == question.answers[0] == question.answers[0].strip()
        assert any(map(str.isalnum, question.answers[0])) and any(map(str.isalnum, question.question))


def test_mixed_scripts(tokenizer):
    text = "The name 北京 means northern capital of the whole country. It is a very big town in the north of it."
    made = list(cloze_questions([text], tokenizer))
    assert made and all(question.context == text and question.question[-1] == "?" for question in made)


def test_lists_and_tables_are_no_sentences(tokenizer):
    table = "x1 " * (LONGEST_SENTENCE + 1) + "end."
    made = list(cloze_questions([table, f"{table}\n\n{ENGLISH}"], tokenizer))
    assert made and all(question.context in ENGLISH for question in made)


def test_a_question_is_made_of_both_sides_or_of_one():
    pieces = [f"w{number} " for number in range(40)]
    asked = [_ask(pieces, 20, 22, np.random.default_rng(seed)) for seed in range(400)]
    words = [question[:-1].split() for question in asked]
    assert all("how many" in question for question in asked)  # the answer has digits
    around = {f"w{number}" for number in (*range(12, 20), *range(22, 30))}
    assert {*"".join(asked).replace("?", " ").split()} == around | {"how", "many"}
    one_sided = collections.Counter((one[0] == "how", one[-1] == "many") for one in words)
    assert 70 < one_sided[True, False] < 130 and 70 < one_sided[False, True] < 130
    kept = [len(one) - 2 for one in words if one[0] != "how" and one[-1] != "many"]
    assert len(kept) == one_sided[False, False] and abs(np.mean(kept) / 16 - (1 - DROPPED)) < 0.03
    assert _ask(["w ", ", ", "x "], 0, 1, np.random.default_rng(0)) in ("what , x?", "what x?", None)
    assert _ask([", ", "x ", ". "], 1, 2, np.random.default_rng(0)) is None


@pytest.mark.parametrize("name", ["clozes.csv", "clozes.tsv.gz", "clozes.jsonl"])
def test_the_command_writes_what_a_training_reads(tmp_path, tokenizer, saved_tokenizer, name, capsys):
    (tmp_path / "texts.txt").write_text(f"{ENGLISH}\n{CHINESE}\n", encoding="utf-8")
    (tmp_path / name).write_text("old", encoding="utf-8")
    result = clozes(str(tmp_path / "texts.txt"), tokenizer=saved_tokenizer, to=tmp_path / name, overwrite=True)
    assert f"Next: fromzero questions --data {tmp_path / name}" in capsys.readouterr().out
    read, made = read_questions([str(tmp_path / name)], SkippedRows(0)), list(cloze_questions([ENGLISH, CHINESE], tokenizer))
    assert len(read) == len(made) == result["num_questions"] > 4
    for one, other in zip(read, made):
        assert (one.question, one.context, one.answers, one.span) == (other.question, other.context, other.answers, other.span)


def test_mistakes_are_one_line_and_leave_nothing(tmp_path, saved_tokenizer, capsys):
    for name, content in (("texts", ENGLISH), ("words", "hello\n你好\n"), ("empty", ""), ("blank", "\n\n")):
        (tmp_path / f"{name}.txt").write_text(content, encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    for arguments, reason in ((["texts.txt", "--to", "words.txt"], "must end in .csv"),
                              (["--to", "x.csv"], "name at least one source"),
                              (["texts.txt", "--to", "x.csv", "--tokenizer", "."], "--tokenizer must be a file. Received: ., which"),
                              (["texts.txt", "--to", "x.csv", "--tokenizer", "words.txt"], "words.txt"),
                              (["nothing.txt", "--to", "new/x.csv"], "nothing.txt"),
                              (["empty.txt", "--to", "x.csv"], "holds no rows"),
                              (["blank.txt", "--to", "x.csv"], "Received: none in blank.txt"),
                              (["words.txt", "--to", "x.csv"], "Received: none in words.txt")):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            assert main(["clozes", "--tokenizer", str(saved_tokenizer), *arguments]) == 2
        error = capsys.readouterr().err
        assert reason in error and error.count("\n") == 1, error
    assert sorted(tmp_path.iterdir()) == before
