"""How many questions an encoder from zero answers: SQuAD 1.1 in English, CMRC 2018 in Chinese.

    python -m benchmarks.questions --data FOLDER [--work FOLDER] [squad] [cmrc2018]

First a pretraining on texts of the language, those of the training questions among them, none of the test questions';
then the training on questions. SQuAD: train, tested on dev. CMRC 2018, whose training file cannot be had: dev, tested on
trial. Nothing was chosen by the test sets. Figures that are in the file already are kept for those that are not measured
again.
"""

import json
from pathlib import Path

from app.evaluate import evaluate
from app.prepare import prepare
from app.pretrain import pretrain
from app.questions import questions
from benchmarks.accuracy import SIZE, VOCABULARY_SIZE, plain_wikitext
from benchmarks.peers import measure_sets, table_row
from data.questions import read_questions
from data.sources import SkippedRows

# Files of questions to learn from and to be tested on, further texts to pretrain on; tokens of a row and rows of a batch
# there; minutes of both trainings, options of the second one. Rows as long as the windows of questions are better
# (findings.md); SQuAD was measured before that was known.
SETS = {
    "squad": ("squad/train-v1.1.reconstructed.json.gz", "squad/dev-v1.1.reconstructed.json.gz",
              ("imdb/train.jsonl.gz", "imdb/unlabelled.jsonl.gz", "agnews/train.jsonl.gz"), (128, 32), 30, 25,
              {"dropout": 0.0}),
    "cmrc2018": ("cmrc2018/cmrc2018_dev.json.gz", "cmrc2018/cmrc2018_trial.json.gz",
                 ("zh_wiki/zhwiki_hans.jsonl.gz", "thucnews/train.jsonl.gz", "online_shopping/train.jsonl.gz"), (384, 10),
                 30, 6, {"batch_size": 8, "learning_rate": 2e-3}),
}
FIGURES = ("n_examples", "exact_match", "f1", "metric", "examples")


def write_texts(source, target):
    """Writes the texts that questions are asked about, and the questions, a line each."""
    found = read_questions([str(source)], SkippedRows(1000))
    texts = dict.fromkeys(" ".join(text.split()) for question in found for text in (question.context, question.question))
    target.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return str(target)


def measure(name, data, work):
    """Trains, unless that is done, and tests; returns the figures."""
    train, test, further, (sequence_length, batch_size), pretraining_minutes, minutes, options = SETS[name]
    corpus, backbone, run = (work / part for part in ("corpus", "backbone", "answers"))
    sources = [write_texts(data / train, work / "train.txt"), *(str(data / file) for file in further)]
    if name == "squad":
        sources.append(str(plain_wikitext(data / "wikitext2" / "wiki.train.tokens.gz", work / "wikitext.txt")))
    prepare(tuple(sources), held_out=(write_texts(data / test, work / "test.txt"),), to=corpus,
            vocabulary_size=VOCABULARY_SIZE, sequence_length=sequence_length)
    if not (backbone / "config.json").exists():
        pretrain(corpus, to=backbone, minutes=pretraining_minutes, batch_size=batch_size, **SIZE)
    if not (run / "config.json").exists():
        questions(data=(str(data / train),), backbone=str(backbone), to=run, minutes=minutes, **options)
    steps = [json.loads((folder / "config.json").read_text(encoding="utf-8"))["step"] for folder in (backbone, run)]
    measured = evaluate(run, data=str(data / test))
    return {"minutes": [pretraining_minutes, minutes], "steps": steps, "options": options,
            **{figure: measured[figure] for figure in FIGURES}}


def table(results):
    """The figures as Markdown, with the first questions of each test set."""
    lines = ["| set | questions | minutes (steps) of pretraining | of questions | exact match | F1 |",
             "|---|---|---|---|---|---|"]
    for name, one in results.items():
        trainings = " | ".join(f"{minutes:g} ({steps:,})" for minutes, steps in zip(one["minutes"], one["steps"]))
        lines.append(f"| {name} | {one['n_examples']:,} | {trainings} | {one['exact_match']:.1f} | {one['f1']:.1f} |")
    for name, one in results.items():
        lines += ["", f"The first questions of {name}:", "", "| question | found | people's |", "|---|---|---|"]
        lines += [table_row(example["question"], example["answer_found"], "; ".join(dict.fromkeys(example["answers"])))
                  for example in one["examples"]]
    return "\n".join(lines)


if __name__ == "__main__":
    measure_sets(__doc__.splitlines()[0], SETS, measure, table, "questions")
