"""How many questions an encoder from zero answers: SQuAD 1.1 in English, CMRC 2018 in Chinese.

    python -m benchmarks.questions --data FOLDER [--work FOLDER] [squad] [cmrc2018]

First a pretraining on texts of the language, those of the training questions among them, none of the test questions';
then, where people's questions are few, a training on clozes, of texts that have no 16 characters in common with the test
questions'; then the training on questions. SQuAD: train, tested on dev. CMRC 2018, whose training file cannot be had: dev, tested on
trial. Nothing was chosen by the test sets. Figures that are in the file already are kept for those that are not measured
again.
"""

import dataclasses
import json
from pathlib import Path

from app.clozes import clozes
from app.evaluate import evaluate
from app.prepare import prepare
from app.pretrain import pretrain
from app.questions import questions
from app.tables import write_rows
from benchmarks.accuracy import SIZE, VOCABULARY_SIZE, plain_wikitext
from benchmarks.peers import measure_sets, table_row
from data.questions import read_questions
from data.sources import SkippedRows, read_texts


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Where a set lies and how it is learned: files in the folder of the open sets, minutes, options of the commands.

    Attributes:
        train, test: questions to learn from and to be tested on.
        texts: further ones to pretrain on; clozes: those of them that clozes are made of.
        rows: tokens of a row and rows of a batch in pretraining. Rows as long as the windows of questions are better
            (findings.md); SQuAD was measured before that was known.
        minutes: of pretraining, of the clozes if there are any, of the questions.
        cloze_options, options: of the last two.
    """

    train: str
    test: str
    texts: tuple
    rows: tuple
    minutes: tuple
    options: dict
    clozes: str | None = None
    cloze_options: dict = dataclasses.field(default_factory=dict)


SETS = {
    "squad": Recipe("squad/train-v1.1.reconstructed.json.gz", "squad/dev-v1.1.reconstructed.json.gz",
                    ("imdb/train.jsonl.gz", "imdb/unlabelled.jsonl.gz", "agnews/train.jsonl.gz"), rows=(128, 32),
                    minutes=(30, 25), options={"dropout": 0.0}),
    "cmrc2018": Recipe("cmrc2018/cmrc2018_dev.json.gz", "cmrc2018/cmrc2018_trial.json.gz",
                       ("zh_wiki/zhwiki_hans.jsonl.gz", "thucnews/train.jsonl.gz", "online_shopping/train.jsonl.gz"),
                       rows=(384, 10), minutes=(30, 15, 6), options={"batch_size": 8, "learning_rate": 2e-3},
                       clozes="zh_wiki/zhwiki_hans.jsonl.gz", cloze_options={"batch_size": 16, "dropout": 0.0}),
}
FIGURES = ("n_examples", "exact_match", "f1", "metric", "examples")
SHARED = 16  # characters that a text for clozes may not have in common with a test question's


def write_texts(source, target):
    """Writes the texts that questions are asked about, and the questions, a line each."""
    found = read_questions([str(source)], SkippedRows(1000))
    texts = dict.fromkeys(" ".join(text.split()) for question in found for text in (question.context, question.question))
    target.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return str(target)


def write_others(source, test, target):
    """Writes the texts of a source that have no piece in common with the lines of `test`."""
    def pieces(text):
        text = "".join(text.split())
        return (text[start : start + SHARED] for start in range(len(text) - SHARED + 1))

    tested = {piece for line in Path(test).read_text(encoding="utf-8").splitlines() for piece in pieces(line)}
    write_rows(({"text": text} for text in read_texts([str(source)], SkippedRows(1000)) if tested.isdisjoint(pieces(text))),
               target)
    return str(target)


def measure(name, data, work):
    """Trains, unless that is done, and tests; returns the figures."""
    recipe = SETS[name]
    corpus, backbone, run = (work / part for part in ("corpus", "backbone", "answers"))
    sources = [write_texts(data / recipe.train, work / "train.txt"), *(str(data / file) for file in recipe.texts)]
    if name == "squad":
        sources.append(str(plain_wikitext(data / "wikitext2" / "wiki.train.tokens.gz", work / "wikitext.txt")))
    test = write_texts(data / recipe.test, work / "test.txt")
    sequence_length, batch_size = recipe.rows
    prepare(tuple(sources), held_out=(test,), to=corpus, vocabulary_size=VOCABULARY_SIZE, sequence_length=sequence_length)
    runs = [backbone]
    if not (backbone / "config.json").exists():
        pretrain(corpus, to=backbone, minutes=recipe.minutes[0], batch_size=batch_size, **SIZE)
    if recipe.clozes:
        runs.append(work / "clozes")
        if not (work / "clozes" / "config.json").exists():
            others = write_others(data / recipe.clozes, test, work / "others.jsonl")
            clozes((others,), tokenizer=backbone / "tokenizer.json", to=work / "clozes.csv", overwrite=True)
            questions(data=(str(work / "clozes.csv"),), backbone=str(backbone), to=work / "clozes",
                      minutes=recipe.minutes[1], **recipe.cloze_options)
    if not (run / "config.json").exists():
        questions(data=(str(data / recipe.train),), backbone=str(runs[-1]), to=run, minutes=recipe.minutes[-1],
                  **recipe.options)
    steps = [json.loads((folder / "config.json").read_text(encoding="utf-8"))["step"] for folder in (*runs, run)]
    measured = evaluate(run, data=str(data / recipe.test))
    return {"minutes": recipe.minutes, "steps": steps, "cloze_options": recipe.cloze_options,
            "options": recipe.options, **{figure: measured[figure] for figure in FIGURES}}


def table(results):
    """The figures as Markdown, with the first questions of each test set."""
    lines = ["| set | questions | minutes (steps) of all trainings | exact match | F1 |", "|---|---|---|---|---|"]
    for name, one in results.items():
        trainings = " + ".join(f"{minutes:g} ({steps:,})" for minutes, steps in zip(one["minutes"], one["steps"]))
        lines.append(f"| {name} | {one['n_examples']:,} | {trainings} | {one['exact_match']:.1f} | {one['f1']:.1f} |")
    for name, one in results.items():
        lines += ["", f"The first questions of {name}:", "", "| question | found | people's |", "|---|---|---|"]
        lines += [table_row(example["question"], example["answer_found"], "; ".join(dict.fromkeys(example["answers"])))
                  for example in one["examples"]]
    return "\n".join(lines)


if __name__ == "__main__":
    measure_sets(__doc__.splitlines()[0], SETS, measure, table, "questions")
