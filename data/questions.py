"""Files of questions, texts and answers → examples: each answer found in its text, articles kept apart.

Read are SQuAD's JSON (versions 1.1 and 2.0, CMRC 2018, DRCD …), also .gz, and every table that data/sources.py reads.
"""

import dataclasses
import gzip
import itertools
import json
import re
import zlib
from pathlib import Path

import numpy as np

from data.sources import clean_text, find_column, read_tables

QUESTION_COLUMNS = ("question", "query", "问题")
CONTEXT_COLUMNS = ("context", "passage", "paragraph", "document", "text", "上下文", "文章", "段落", "原文")
ANSWER_COLUMNS = ("answer", "answers", "answer_text", "答案", "回答")
START_COLUMN = "answer_start"
NO_ANSWER_FOUND = "an answer that does not stand in its text"
SURROUNDINGS = 100  # characters on either side of an answer, in which a question's words are looked for
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+")
_LATIN = "0-9A-Za-z\u00c0-\u024f"  # what an answer that stands alone does not touch


@dataclasses.dataclass(frozen=True)
class Question:
    """A question about a text.

    Attributes:
        question: cleaned; context: the text as it was given.
        answers: all that count as right; none = the text does not answer it.
        span: [start, end) in characters of the context, of the answer to learn from; None where there is none, or where
            it does not stand in the context.
        article: what is split as a whole: the article's title, or the context where there are no titles.
    """

    question: str
    context: str
    answers: tuple
    span: tuple | None
    article: str


def read_questions(sources, skipped, *, question_column=None, context_column=None, answer_column=None):
    """Reads questions with their texts and answers.

    Args:
        sources: .json and .json.gz in SQuAD's form; others as for `data.sources.read_tables`, whose columns are found
            by name unless given. An empty answer means that the text does not hold one. A column `answer_start` counts
            in characters; where it is missing or wrong the answer is looked for.
        skipped: `SkippedRows`; rows without question or text are counted there.

    Returns:
        list of `Question`, one at least.

    Raises:
        FileNotFoundError, ValueError: no usable row; a file of another form; a column that is not there.
    """
    columns = (question_column, context_column, answer_column)
    is_squad = (".json", ".json.gz")
    rows = itertools.chain.from_iterable(
        _squad_rows(source) if source.lower().endswith(is_squad) else _table_rows(source, skipped, *columns)
        for source in sources)
    questions = []
    for place, article, question, context, answers in rows:
        question = clean_text(question)
        if question and clean_text(context):
            answers = [(text.strip(), start) for text, start in answers if text.strip()]
            spans = (find_answer(question, context, *answer) for answer in answers)
            questions.append(Question(question, context, tuple(text for text, _ in answers),
                                      next(filter(None, spans), None), article or context))
        else:
            skipped.add("no text to read" if question else "no question", place)
    if not questions:
        raise ValueError("there must be at least one row with a question and a text. Received: none in "
                         f"{', '.join(sources)}")
    return questions


def _squad_rows(source):
    """Yields (place, article, question, context, [(answer, start or None)]) of a file in SQuAD's form."""
    try:
        content = Path(source).expanduser().read_bytes()
        articles = json.loads(gzip.decompress(content) if source.lower().endswith(".gz") else content)["data"]
        for article in articles:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    # Of version 2.0, answers that look right and are not have a name of their own, "plausible_answers".
                    answers = [(str(answer["text"]), _sure_start(answer)) for answer in question["answers"]]
                    yield (f"{source}: question {question.get('id', '')}", str(article.get("title") or ""),
                           str(question["question"] or ""), str(paragraph["context"] or ""),
                           [] if question.get("is_impossible") else answers)
    except (ValueError, TypeError, KeyError, AttributeError, EOFError, RecursionError, gzip.BadGzipFile,
            zlib.error) as error:
        raise ValueError(
            'a .json file of questions must be {"data": [{"title", "paragraphs": [{"context", "qas": [{"question", '
            f'"answers": [{{"text", "answer_start"}}]}}]}}]}}]}}. Received: {source}: {error!r}') from None


def _sure_start(answer):
    """Where an answer starts, if its file knows: one that only counts the answer's `occurrences` names the first."""
    return answer.get("answer_start") if answer.get("occurrences", 1) == 1 else None


def _table_rows(source, skipped, question_column, context_column, answer_column):
    """Yields the same of a table."""
    wanted = [(question_column, QUESTION_COLUMNS, "question"), (context_column, CONTEXT_COLUMNS, "text"),
              (answer_column, ANSWER_COLUMNS, "answer")]
    names = [name for column, candidates, _ in wanted for name in ([column] if column else candidates)]
    for table in read_tables(source, skipped, header_names=names):
        columns = None
        for row in table:
            if columns is None:
                columns = [find_column(row, *one) for one in wanted]
            question, context, answer = (row.get(column) or "" for column in columns)
            start = row.get(START_COLUMN, "").strip()
            yield row.place, "", question, context, [(answer, int(start) if start.isdecimal() else None)]


def find_answer(question, context, answer, start=None):
    """Where an answer stands in a text: [start, end) in characters, or None.

    Where the start is not known, of several occurrences the one counts that is no part of a longer word, then the one
    with most of the question's words around it, then the first.

    Args:
        answer: not empty.
        start: of the answer, if it is known.
    """
    length = len(answer)
    if isinstance(start, int) and start >= 0 and context[start : start + length] == answer:
        return start, start + length
    starts = [match.start() for match in re.finditer(re.escape(answer), context)]
    if len(starts) > 1:
        alone = {match.start() for match in re.finditer(f"(?<![{_LATIN}]){re.escape(answer)}(?![{_LATIN}])", context)}
        asked = _words(question)

        def likely(start):
            around = context[max(0, start - SURROUNDINGS) : start + length + SURROUNDINGS]
            return start in alone, len(asked & _words(around))

        starts = [max(starts, key=likely)]
    return (starts[0], starts[0] + length) if starts else None


def _words(text):
    return set(_WORD.findall(text.lower()))


def learnable(questions, skipped):
    """The questions to learn from: those whose answer stands in the text, and those that have none."""
    kept = []
    for question in questions:
        if question.answers and not question.span:
            skipped.add(NO_ANSWER_FOUND, repr(question.question[:60]))
        else:
            kept.append(question)
    return kept


def split(questions, most, seed):
    """Holds out a twentieth of the questions, or as many as `most`, by whole articles; one at least, then the smallest.

    Returns:
        (those to train on, those held out).

    Raises:
        ValueError: fewer than two articles.
    """
    articles = list(dict.fromkeys(question.article for question in questions))
    if len(articles) < 2:
        raise ValueError("a twentieth of the questions is held out to measure by, with texts of their own. Received: "
                         f"{len(questions)} questions about {len(articles)} of them; give more, or --validation")
    counts = {article: 0 for article in articles}
    for question in questions:
        counts[question.article] += 1
    held_out, room = set(), max(min(most, len(questions) / 20), min(counts.values()))
    for number in np.random.default_rng(seed).permutation(len(articles)):
        if counts[articles[number]] <= room:
            held_out.add(articles[number])
            room -= counts[articles[number]]
    return tuple([question for question in questions if (question.article in held_out) == wanted]
                 for wanted in (False, True))
