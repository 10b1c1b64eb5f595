"""Found answers and right ones in, how well they agree out: exact match and F1 as SQuAD and CMRC 2018 define them."""

import collections
import re
import string

from app.answerer import load_answerer
from app.terminal import console, progress_bar, show_report
from app.text_scores import CHINESE, SHOWN_CHARACTERS, SHOWN_EXAMPLES
from data.questions import read_questions
from data.sources import SkippedRows
from models.run_folder import write_json

# What CMRC 2018's own script leaves out: it lists …… too, but compares character by character, so that … stays.
CHINESE_PUNCTUATION = re.compile(r"[-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』]")
CHINESE_UNIT = re.compile(r"[\u4e00-\u9fa5]|\d+(?:[.,]\d+)*|[^\W\d\u4e00-\u9fa5]+|[^\w\s]")


def evaluate_answerer(run, identity, json_path, max_skipped):
    """What `app.evaluate.evaluate` does with a run of questions: answers, measures, writes the JSON, shows it.

    Args:
        run: its folder.
        identity: dict with "data" and the columns, as `evaluate` takes them.
        json_path: the file to write.
        max_skipped: as `evaluate` takes it.

    Returns:
        What the JSON file holds: the run, `identity`, what `answer_scores` returns and the first examples.
    """
    answerer = load_answerer(run)
    skipped = SkippedRows(max_skipped)
    questions = read_questions(identity["data"], skipped,
                               **{name: value for name, value in identity.items() if name != "data"})
    with progress_bar("answer", len(questions), "questions") as advance:
        found = answerer.answer([question.question for question in questions],
                                [question.context for question in questions], advance)
    answers = [answer for answer, _ in found]
    examples = [{"question": question.question[:SHOWN_CHARACTERS], "answers": question.answers, "answer_found": answer,
                 "score": score} for question, (answer, score) in list(zip(questions, found))[:SHOWN_EXAMPLES]]
    scores = answer_scores(answers, [question.answers for question in questions])
    evaluation = {"run": str(run), **identity, "skipped": dict(skipped.counts), **scores, "examples": examples}
    write_json(json_path, evaluation)
    for name, part in (("questions", evaluation), ("with an answer", evaluation.get("with_answer")),
                       ("without one", evaluation.get("without_answer"))):
        if part:
            console.print(f"{part['n_examples']:,} {name}: exact match {part['exact_match']:.1f}, F1 {part['f1']:.1f}, by "
                          f"the rules of {evaluation['metric']}", markup=False)
    show_report(skipped, json_path)
    return evaluation


def answer_scores(found, answers):
    """Scores of a whole set.

    Args:
        found: N strings, "" = no answer; N at least 1.
        answers: N sequences of strings that count as right, none where there is no answer.

    Returns:
        dict: "n_examples"; "exact_match" and "f1" in [0, 100], means over the questions of the best over the right
        answers; "metric", by whose rules: CMRC 2018's where most questions with an answer have one in Chinese, else
        SQuAD's. Where some questions have no answer, "with_answer" and "without_answer" hold the same of each kind
        (Rajpurkar et al. 2018, "Know What You Don't Know").
    """
    answerable = [bool(texts) for texts in answers]
    chinese = sum(any(CHINESE.search(text) for text in texts) for texts in answers)
    is_chinese = chinese > sum(answerable) / 2
    agreement = chinese_agreement if is_chinese else english_agreement
    # The best exact match and the best F1, which may be of two answers.
    scores = [[max(one) for one in zip(*(agreement(answer, text) for text in texts or [""]))]
              for answer, texts in zip(found, answers, strict=True)]

    def means(chosen):
        exact, f1 = zip(*chosen)
        return {"n_examples": len(chosen), "exact_match": 100 * sum(exact) / len(exact), "f1": 100 * sum(f1) / len(f1)}

    result = {**means(scores), "metric": "CMRC 2018" if is_chinese else "SQuAD"}
    if not all(answerable):
        for name, wanted in (("with_answer", True), ("without_answer", False)):
            if chosen := [score for score, has_one in zip(scores, answerable) if has_one == wanted]:
                result[name] = means(chosen)
    return result


def english_agreement(found, answer):
    """SQuAD's exact match and F1 of two answers (Rajpurkar et al. 2016, section 6.1), each in [0, 1].

    In lower case, without ASCII's punctuation and without articles; F1 is that of the words, in whatever order. Where
    one of the two is empty, both are 1 if the other is empty too, else 0 (version 2.0).
    """
    words = []
    for text in (found, answer):
        text = text.lower().translate(str.maketrans("", "", string.punctuation))
        words.append(re.sub(r"\b(?:a|an|the)\b", " ", text).split())
    exact = float(words[0] == words[1])
    common = (collections.Counter(words[0]) & collections.Counter(words[1])).total()
    return exact, _f1(common, *map(len, words)) if all(words) else exact


def chinese_agreement(found, answer):
    """CMRC 2018's exact match and F1 of two answers (Cui et al. 2019, section 4), each in [0, 1].

    In lower case and without punctuation. A unit is a Chinese character, or a whole word or number of others, where the
    set's own script asks NLTK; F1 is, as there, that of the longest run of units that stands in both.
    """
    texts = [CHINESE_PUNCTUATION.sub("", text.lower().strip()) for text in (found, answer)]
    units = [CHINESE_UNIT.findall(text) for text in texts]
    exact = float(texts[0] == texts[1])
    return exact, _f1(_longest_run(*units), *map(len, units)) if all(units) else exact


def _f1(common, found, wanted):
    """The harmonic mean of precision and recall, of counts."""
    return 2 * common / (found + wanted)


def _longest_run(first, second):
    """How many elements the longest run has that stands in both lists."""
    longest, before = 0, [0] * (len(second) + 1)
    for one in first:
        before = [0, *(length + 1 if one == other else 0 for length, other in zip(before, second))]
        longest = max(longest, *before)
    return longest
