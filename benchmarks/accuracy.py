"""Test accuracy with all and with few labels, beside linear models on bags of words.

    python -m benchmarks.accuracy --data FOLDER [--work FOLDER] [--minutes M] [TASK …]

A task is a set (all its labels, validation on its development split) or SET-100, SET-500, SET-1000 (the published draws
of few_labels.json; nothing is held out of a draw). One pretraining a language comes first, on the train and unlabelled
files alone, the texts of every test split taken out; it and the corpus are found again in --work. Then a committee is
trained for each seed or draw. Nothing is tuned on a test split. With few labels every fifth test review of imdb is
read, as in the published bars. A run that stands in the file of figures is not measured again, and several of these
commands may run at once, each on tasks of its own: their minutes are then not those of a machine of one's own.
"""

import argparse
import gzip
import json
import re
import tempfile
import time
from pathlib import Path

import numpy as np

from app.finetune import finetune
from app.prepare import prepare
from app.pretrain import pretrain
from app.terminal import load_tensorflow
from benchmarks import peers
from benchmarks.baseline import CHINESE, split_files
from benchmarks.peers import RESULTS, read

SIZE = {"num_layers": 4, "hidden_dim": 128}
VOCABULARY_SIZE = 16_384
SEEDS = 3  # with all labels
# How each set is learned; what was tried on development splits stands in benchmarks/findings.md.
ALL_LABELS = {
    "sst2": {"sequence_length": 64, "num_epochs": 5, "seeds": 3},
    "imdb": {"sequence_length": 256, "num_epochs": 2},
    "trec": {"sequence_length": 64, "num_epochs": 10, "learning_rate": 2e-3, "seeds": 3},
    "agnews": {"sequence_length": 128},
    "sms": {"sequence_length": 128, "num_epochs": 5, "seeds": 3},
    "chnsenticorp": {"sequence_length": 256, "num_epochs": 5, "learning_rate": 2e-3, "seeds": 3},
    "thucnews": {"sequence_length": 64, "learning_rate": 3e-3, "seeds": 3},
    "online_shopping": {"sequence_length": 128, "learning_rate": 2e-3},
}
FEW_LABELS = {
    "imdb": {"sequence_length": 256, "minimum_steps": 150, "rounds": 0},
    "thucnews": {"sequence_length": 64, "minimum_steps": 200},
    "agnews": {"sequence_length": 128, "minimum_steps": 200, "num_epochs": 2},
}
LINEAR = {"tfidf": "TF-IDF + LR", "nbsvm": "NB-SVM"}
LABELS = ("100", "500", "1000")
TASKS = (*ALL_LABELS, *(f"{name}-{labels}" for name in FEW_LABELS for labels in LABELS))


def language(name):
    """Of a set: "zh" or "en"."""
    return "zh" if name in CHINESE else "en"


def plain_wikitext(source, target):
    """Writes WikiText's paragraphs as they were before they were cut into words; its headings are left out."""
    with gzip.open(source, "rt", encoding="utf-8") as lines, open(target, "w", encoding="utf-8") as paragraphs:
        for line in map(str.strip, lines):
            if line and not line.startswith("="):
                line = re.sub(r"\s+", " ", re.sub(r" @(.)@ ", r"\1", line.replace("<unk>", "")))
                line = re.sub(r" ([.,;:!?%)\]]|n't\b|'s\b)", r"\1", line)
                paragraphs.write(re.sub(r"([(\[$]) ", r"\1", line) + "\n")
    return target


def backbone(data, work, name, minutes):
    """The folder of the language's pretraining, done if it is not there yet."""
    folder, corpus = work / f"{name}-{minutes:g}min", work / f"{name}-corpus"
    if (folder / "config.json").exists():
        return folder
    sets = [data / task for task in ALL_LABELS if language(task) == name]
    sources = [path for folder in sets for path in sorted(folder.glob("*.jsonl.gz"))
               if path.name in ("train.jsonl.gz", "unlabelled.jsonl.gz")]
    work.mkdir(parents=True, exist_ok=True)
    sources.append(data / "zh_wiki" / "zhwiki_hans.jsonl.gz" if name == "zh" else
                   plain_wikitext(data / "wikitext2" / "wiki.train.tokens.gz", work / "wikitext.txt"))
    prepare(tuple(map(str, sources)), held_out=tuple(str(folder / "test.jsonl.gz") for folder in sets), to=corpus,
            vocabulary_size=VOCABULARY_SIZE)
    pretrain(corpus, to=folder, minutes=minutes, **SIZE)
    return folder


def linear_models(train, test, chinese):
    """Predictions of the two linear models that are hardest to beat on such sets, {"tfidf": labels, "nbsvm": labels}.

    TF-IDF and logistic regression; log-count ratios and logistic regression (Wang & Manning 2012, "Baselines and
    Bigrams", section 2.3). Of words and pairs, or of one to three Chinese characters; one class against the others.
    """
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    texts, labels = [row["text"] for row in train], np.array([row["label"] for row in train])
    held_out = [row["text"] for row in test]
    features = {"ngram_range": (1, 3) if chinese else (1, 2), "analyzer": "char" if chinese else "word",
                "max_features": 500_000, "min_df": 1 if len(train) < 3000 else 2}
    tfidf = TfidfVectorizer(sublinear_tf=True, **features)
    predictions = {"tfidf": LogisticRegression(C=10, max_iter=300).fit(tfidf.fit_transform(texts), labels)
                   .predict(tfidf.transform(held_out))}
    counts = CountVectorizer(binary=True, token_pattern=r"\w+|[^\w\s]", **features)
    seen, unseen, names, scores = counts.fit_transform(texts), counts.transform(held_out), np.unique(labels), []
    for name in names:
        inside, outside = (1 + np.asarray(seen[part].sum(axis=0))[0] for part in (labels == name, labels != name))
        ratio = np.log((inside / inside.sum()) / (outside / outside.sum()))
        model = LogisticRegression(C=4, solver="liblinear", dual=True, max_iter=200)
        model.fit(seen.multiply(ratio).tocsr(), labels == name)
        scores.append(model.decision_function(unseen.multiply(ratio).tocsr()))
    predictions["nbsvm"] = names[np.argmax(scores, axis=0)]
    return predictions


def write(rows, path):
    """Writes rows as a .jsonl file; returns its name."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def draws(data, task):
    """The parts of a task that are measured one by one: [None] × seeds, or lists of row numbers."""
    name, _, labels = task.partition("-")
    if not labels:
        return [None] * SEEDS
    return json.loads((data / "few_labels.json").read_text(encoding="utf-8"))[name][labels]


def measure(data, task, draw, seed, folder, backbone_folder, linear=None):
    """Trains and tests once.

    Args:
        draw: row numbers of the training file, or None for all of it.
        folder: for temporary files.
        linear: the figures of the linear models, if they are known.

    Returns:
        dict: "accuracy", "macro_f1", "members" (test accuracy of each), "seconds" of the whole training, and of each
        linear model {"accuracy", "macro_f1"}.
    """
    name = task.partition("-")[0]
    train, dev, test = (read(path) for path in split_files(data / name, folder))
    test_texts = {row["text"] for row in test}
    if draw is None:
        known = [row for row in train if row["text"] not in test_texts]
        options = {"validation": (write(dev, folder / "held-out.jsonl"),), **ALL_LABELS[name]}
    else:
        train, chosen = read(data / name / "train.jsonl.gz"), set(draw)  # rows are numbered in the whole file
        more = data / name / "unlabelled.jsonl.gz"
        test = test[::5] if name == "imdb" else test
        known = [train[number] for number in draw if train[number]["text"] not in test_texts]
        rest = [{"text": row["text"]} for number, row in enumerate(train)
                if number not in chosen and row["text"] not in test_texts]
        rest += [row for row in (read(more) if more.exists() else []) if row["text"] not in test_texts]
        options = {"validation_share": 0, "unlabelled": (write(rest, folder / "unlabelled.jsonl"),), **FEW_LABELS[name]}
    held_out, run = write(test, folder / "test.jsonl"), folder / "run"
    started = time.perf_counter()
    finetune(data=(write(known, folder / "known.jsonl"),), to=run, model="committee", backbone=str(backbone_folder),
             seed=seed, **options)
    seconds = time.perf_counter() - started
    tested = committee_figures(run, held_out)
    labels = [row["label"] for row in test]
    linear = linear or {kind: figures(labels, predicted)
                        for kind, predicted in linear_models(known, test, name in CHINESE).items()}
    return {**tested, "seconds": seconds, **linear}


def committee_figures(run, held_out):
    """{"accuracy", "macro_f1", "members": accuracy of each in their order} of a committee, in one pass over a file."""
    import keras

    from app.classifier import load_classifier, one_graph, outputs
    from data.batching import encode_all
    from data.sources import SkippedRows
    from data.tasks import read_examples

    committee = load_classifier(run)
    examples = read_examples((held_out,), committee.task, SkippedRows(0), label_names=committee.label_names)
    encoded = encode_all(committee.tokenizer, examples, committee.sequence_length, committee.segment_length)
    votes = committee.model.get_layer("votes")
    members = outputs(one_graph(keras.Model(committee.model.input, votes.input)), encoded)  # (N, C, M) log-probabilities
    whole = (members @ votes.get_weights()[0]).argmax(axis=1)
    return {**figures(examples.labels, whole),
            "members": [figures(examples.labels, member)["accuracy"] for member in members.argmax(axis=1).T]}


def figures(labels, predicted):
    """{"accuracy", "macro_f1"} of predicted labels."""
    from sklearn.metrics import accuracy_score, f1_score

    return {"accuracy": float(accuracy_score(labels, predicted)),
            "macro_f1": float(f1_score(labels, predicted, average="macro"))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"of {', '.join(TASKS)}; all of them if not given")
    parser.add_argument("--data", type=Path, required=True, help="folder of the open sets")
    parser.add_argument("--work", type=Path, default=Path("runs/accuracy"), help="where corpora and backbones go")
    parser.add_argument("--minutes", type=float, default=40, help="of each language's pretraining")
    parser.add_argument("--runs", type=int, default=5, help="of a task, at most")
    parser.add_argument("--to", type=Path, default=RESULTS / "accuracy.json", help="where the figures go")
    arguments = parser.parse_args()
    if unknown := set(arguments.tasks) - set(TASKS):
        parser.error(f"a task is one of {', '.join(TASKS)}. Received: {', '.join(sorted(unknown))}")
    load_tensorflow()
    results = read_figures(arguments.to, arguments.minutes)
    if results["minutes"] != arguments.minutes:
        parser.error(f"{arguments.to} holds figures after {results['minutes']:g} minutes of pretraining, "
                     f"not {arguments.minutes:g}: choose another --to")
    for task in arguments.tasks or TASKS:
        runs = results["tasks"].get(task, [])
        for seed, draw in list(enumerate(draws(arguments.data, task)))[len(runs) : arguments.runs]:
            folder = backbone(arguments.data, arguments.work, language(task.partition("-")[0]), arguments.minutes)
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            linear = {kind: runs[0][kind] for kind in LINEAR} if runs and draw is None else None  # as they have no seed
            with tempfile.TemporaryDirectory() as temporary:
                run = measure(arguments.data, task, draw, seed, Path(temporary), folder, linear)
            results = read_figures(arguments.to, arguments.minutes)  # again: other tasks may be measured beside this one
            run["pretraining"] = {key: config[key] for key in ("step", "seconds", "validation_loss")}
            runs = results["tasks"].setdefault(task, [])
            runs.append(run)
            peers.save(arguments.to, results, table(results))


def read_figures(path, minutes):
    """The figures of a file, or none yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {
        "machine": peers.machine(), "minutes": minutes, "tasks": {}}


def summary(runs, side=None):
    """Mean and spread of the accuracies of a task's runs, in percent.

    Args:
        side: a linear model of `LINEAR`; None = the committee.
    """
    accuracies = [100 * (run[side] if side else run)["accuracy"] for run in runs]
    spread = f"{np.std(accuracies, ddof=1):.1f}" if len(set(accuracies)) > 1 else ""
    return f"{np.mean(accuracies):.1f}" + (f" ± {spread}" if spread else "")


def in_order(tasks):
    """The pairs of a dict by task, in the order of `TASKS`."""
    return sorted(tasks.items(), key=lambda item: TASKS.index(item[0]))


def table(results):
    """The figures as Markdown: mean ± sd in percent; the members are encoders, bag, and document vectors (few labels) or linear classifier."""
    lines = ["| task | runs | committee | macro F1 | its members | TF-IDF + LR | NB-SVM | minutes |",
             "|---|---|---|---|---|---|---|---|"]
    for task, runs in in_order(results["tasks"]):
        members = 100 * np.mean([run["members"] for run in runs], axis=0)
        f1, minutes = (100 * np.mean([run["macro_f1"] for run in runs]),
                       np.median([run["seconds"] for run in runs]) / 60)
        lines.append(f"| {task} | {len(runs)} | {summary(runs)} | {f1:.1f} "
                     f"| {', '.join(f'{member:.1f}' for member in members)} | {summary(runs, 'tfidf')} "
                     f"| {summary(runs, 'nbsvm')} | {minutes:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
