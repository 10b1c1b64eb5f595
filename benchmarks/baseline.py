"""The simple baseline beside fastText: test accuracy with all labels and seconds of training, alternating in one run.

    python -m benchmarks.baseline --data FOLDER [SET …]

FOLDER holds the open sets as SET/train.jsonl.gz, dev.jsonl.gz (cut from train where missing) and test.jsonl.gz.
fastText's text is lower-cased, English punctuation is split off and Chinese is cut into characters. Of each the better
of two settings by the development split is taken (of ours by the mean of the seeds); both read pairs of words, and of
Chinese characters triples too.
"""

import argparse
import json
import re
import tempfile
import time
from pathlib import Path

import numpy as np

from app.evaluate import evaluate
from app.finetune import finetune
from app.terminal import load_tensorflow
from benchmarks import peers
from benchmarks.peers import RESULTS, read

CHINESE = {"chnsenticorp", "thucnews", "online_shopping"}
SETS = ("sst2", "trec", "sms", "chnsenticorp", "thucnews", "agnews")
SEEDS = 3
SMALL = 8000  # training rows; fewer want more epochs
FASTTEXT_EPOCHS = {"small": (15, 50), "large": (5, 15)}
# Rows of a training file that stay on one side where its development split is cut off: imdb's reviews of a film stand
# together, and a film's name tells what people think of it (benchmarks/findings.md).
ROWS_TOGETHER = {"imdb": 250}
OURS = {"small": ({"num_epochs": 5}, {"num_epochs": 15}), "large": ({"num_epochs": 3}, {"num_epochs": 5})}


def split_files(folder, temporary):
    """Train, development and test file of a set; where none is, a tenth of the training rows is the development split."""
    if (folder / "dev.jsonl.gz").exists():
        return tuple(folder / f"{split}.jsonl.gz" for split in ("train", "dev", "test"))
    rows = read(folder / "train.jsonl.gz")
    files, stretch = (temporary / "train.jsonl", temporary / "dev.jsonl"), ROWS_TOGETHER.get(folder.name, 1)
    for file, in_dev in zip(files, (False, True)):
        part = [row for n, row in enumerate(rows) if (n // stretch % 10 == 0) == in_dev]
        file.write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
    return *files, folder / "test.jsonl.gz"


def fasttext_file(rows, path, chinese):
    """Writes rows the way fastText reads them: `__label__x text`."""
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            text = re.sub(r"\s+", " ", row["text"].lower())
            text = " ".join(text) if chinese else re.sub(r"([^\w\s'])", r" \1 ", text)
            file.write(f"__label__{row['label']} {text}\n")


def run_fasttext(name, files, temporary):
    """Accuracy and seconds of fastText with the epoch count that the development split prefers."""
    paths = []
    for file in files:
        paths.append(temporary / f"{Path(file).name}.fasttext")
        fasttext_file(read(file), paths[-1], name in CHINESE)
    train, dev, test = paths

    def run(held_out, epochs):
        return peers.run("fasttext_peer", train, held_out, epochs, 3 if name in CHINESE else 2)

    epochs = max(FASTTEXT_EPOCHS[size(files)], key=lambda count: run(dev, count)["accuracy"])
    return {**run(test, epochs), "epochs": epochs}


def size(files):
    """Whether the training file is "small" or "large"."""
    return "small" if len(read(files[0])) < SMALL else "large"


def run_ours(name, files, folder, seed, options):
    """Accuracies and seconds, of the whole command and of the training steps alone, through the commands a user has."""
    train, dev, test = map(str, files)
    started = time.perf_counter()
    trained = finetune(data=(train,), validation=(dev,), model="baseline", to=folder, seed=seed, ngrams=500_000,
                       longest_ngram=3 if name in CHINESE else 2, sequence_length=512, **options)
    seconds = time.perf_counter() - started
    return {"accuracy": evaluate(folder, data=(test,), bootstrap_samples=0)["accuracy"], "seconds": trained["seconds"],
            "command_seconds": seconds, "dev_accuracy": trained["validation_accuracy"], "options": options}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--data", type=Path, required=True, help="folder of the open sets")
    parser.add_argument("--to", type=Path, default=RESULTS / "baseline.json", help="where the figures go")
    arguments = parser.parse_args()
    load_tensorflow()
    # Figures of other sets stay.
    results = json.loads(arguments.to.read_text(encoding="utf-8")) if arguments.to.exists() else {}
    for name in arguments.sets:
        with tempfile.TemporaryDirectory() as temporary:
            temporary = Path(temporary)
            files = split_files(arguments.data / name, temporary)
            theirs, *settings = zip(*[
                (run_fasttext(name, files, temporary),
                 *(run_ours(name, files, temporary / f"run-{seed}-{number}", seed, options)
                   for number, options in enumerate(OURS[size(files)]))) for seed in range(SEEDS)])
        ours = max(settings, key=lambda runs: np.mean([run["dev_accuracy"] for run in runs]))
        results[name] = {side: {figure: [run[figure] for run in runs] for figure in runs[0]}
                         for side, runs in (("fasttext", theirs), ("ours", ours))}
        peers.save(arguments.to, results, table(results))


def table(results):
    """The figures as Markdown: mean ± sd of the accuracies, medians of the seconds."""
    lines = ["| set | fastText | s | baseline | s | of it training steps, s | difference, points | time |",
             "|---|---|---|---|---|---|---|---|"]
    for name, sides in results.items():
        mean = {side: 100 * np.mean(values["accuracy"]) for side, values in sides.items()}
        spread = {side: 100 * np.std(values["accuracy"], ddof=1) for side, values in sides.items()}
        # fastText reads its file while it is timed, so ours is timed with reading, tokenizer, evaluations and saving.
        seconds = {"fasttext": np.median(sides["fasttext"]["seconds"]), "ours": np.median(sides["ours"]["command_seconds"])}
        lines.append(f"| {name} | {mean['fasttext']:.2f} ± {spread['fasttext']:.2f} | {seconds['fasttext']:.1f} "
                     f"| {mean['ours']:.2f} ± {spread['ours']:.2f} | {seconds['ours']:.1f} "
                     f"| {np.median(sides['ours']['seconds']):.1f} "
                     f"| {mean['ours'] - mean['fasttext']:+.2f} | × {seconds['ours'] / seconds['fasttext']:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
