"""Texts → questions made of them: where the answer stands, what is asked with, the table that a training reads."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from app.__main__ import main
from app.clozes import clozes
from data.clozes import LONGEST_ANSWER, QUESTIONS, SENTENCES, _pieces, _question, cloze_questions
from data.questions import learnable, read_questions
from data.sources import SkippedRows

ENGLISH = " ".join(f"In {1900 + n} the {word} crossed the wide river, and nobody saw it again before winter came."
                   for n, word in enumerate(["ferry", "army", "circus", "ambassador"] * 5))
CHINESE = "".join(f"{1900 + n}年，{who}渡过了那条宽阔的大河，冬天到来之前再也没有人看见过他。"
                  for n, who in enumerate(["将军", "马戏团", "大使", "渔夫"] * 5))


def test_answers_stand_where_they_say(tokenizer):
    made = list(cloze_questions([ENGLISH, "", CHINESE, "Too short. 太短。"], tokenizer))
    passages = collections.Counter((question.article, question.context) for question in made)
    assert [article for article, _ in passages] == [ENGLISH, ENGLISH, CHINESE, CHINESE]  # twenty sentences are two passages
    assert max(passages.values()) == QUESTIONS  # a mark is no answer
    for question in made:
        start, end = question.span
        assert question.answers == (question.context[start:end],) and question.context in question.article
        assert question.context.count("river") + question.context.count("大河") in (SENTENCES, 20 - SENTENCES)
        assert question.answers[0] == question.answers[0].strip(" ,.，。") and len(question.question) > 4
    assert made == list(cloze_questions([ENGLISH, CHINESE], tokenizer))  # whatever stands between them


def test_what_is_asked(tokenizer):
    texts = [f"{number} {ENGLISH}" for number in range(30)] + [f"{number}{CHINESE}" for number in range(30)]
    words = set(" ".join(texts[:30]).replace(".", " ").replace(",", " ").split())
    lengths = collections.Counter()
    for question in cloze_questions(texts, tokenizer):
        has_digit = any(map(str.isdigit, question.answers[0]))
        if "年" in question.context:
            assert question.question.count("多少" if has_digit else "什么") == 1 and question.question[-1] == "？"
            lengths["Chinese"] = max(lengths["Chinese"], len(question.answers[0]))
        else:
            asked = " how many " if has_digit else " what "
            assert asked in f" {question.question[:-1]} " and question.question[-1] == "?"
            around = f" {question.question[:-1]} ".replace(asked, " ").replace(",", " ").split()
            assert set(around) <= words  # whole ones
            assert {word.strip(",.") for word in question.answers[0].split()} <= words
            lengths["English"] = max(lengths["English"], len(question.answers[0].split()))
    # Half a sentence of 18 words and marks, or of as many tokens.
    assert 5 <= lengths["English"] <= 9 and 5 <= lengths["Chinese"] <= LONGEST_ANSWER


def test_pieces_are_words_or_tokens(tokenizer):
    sentences = ["In 1900 naïve people's café closed, ok?", "他在1900年渡过大河。"]
    english, chinese = _pieces(tf.constant(sentences), tokenizer)
    assert "".join(english) == sentences[0] and "".join(chinese) == sentences[1]
    assert [piece.strip() for piece in english] == ["In", "1900", "naïve", "people", "'", "s", "café", "closed", ",", "ok", "?"]
    assert "1900" in chinese and "年" in "".join(chinese[2:])


def test_a_question_is_made_of_both_sides_or_of_one(tokenizer):
    pieces = [f"w{number} " for number in range(40)]
    asked = [_question(pieces, 20, 22, np.random.default_rng(seed)) for seed in range(200)]
    words = [question[:-1].split() for question in asked]
    assert all("how many" in question for question in asked)  # the answer has digits
    around = {f"w{number}" for number in (*range(12, 20), *range(22, 30))}
    assert set().union(*words) == around | {"how", "many"}
    ends = collections.Counter((one[0] == "how", one[-1] == "many") for one in words)
    assert 30 < ends[True, False] < 70 and 30 < ends[False, True] < 70 and 70 < ends[False, False] < 130


def test_the_command_writes_what_a_training_reads(tmp_path, saved_tokenizer, capsys):
    (tmp_path / "texts.txt").write_text(f"{ENGLISH}\n{CHINESE}\n", encoding="utf-8")
    target = tmp_path / "clozes.csv.gz"
    result = clozes(str(tmp_path / "texts.txt"), tokenizer=saved_tokenizer, to=target)
    assert 4 <= result["num_questions"] <= 4 * QUESTIONS and "Next: fromzero questions --data" in capsys.readouterr().out
    skipped = SkippedRows()
    read = learnable(read_questions([str(target)], skipped), skipped)
    assert len(read) == result["num_questions"] and not skipped.total
    assert all(question.context[slice(*question.span)] == question.answers[0] for question in read)
    (tmp_path / "words.txt").write_text("hello\n你好\n", encoding="utf-8")
    for arguments, reason in (([tmp_path / "texts.txt", "--to", target], "--overwrite"),
                              ([tmp_path / "texts.txt", "--to", tmp_path / "x.txt"], ".csv"),
                              ([tmp_path / "texts.txt", "--to", tmp_path / "x.csv", "--tokenizer", tmp_path], "must be a file"),
                              ([tmp_path / "words.txt", "--to", tmp_path / "x.csv"], "Received: none in")):
        assert main(["clozes", "--tokenizer", str(saved_tokenizer), *map(str, arguments)]) == 2
        assert reason in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clozes.csv.gz", "texts.txt", "words.txt"]


def test_sources_without_a_text_are_named(tmp_path, saved_tokenizer):
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="empty"):
        clozes(str(tmp_path / "empty.txt"), tokenizer=saved_tokenizer, to=tmp_path / "x.csv")
