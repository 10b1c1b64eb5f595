"""How well encoder–decoders translate: captions of Multi30k into German, Tatoeba's sentences between English and Chinese.

    python -m benchmarks.translation --data FOLDER [--work FOLDER] [SET …]

BLEU and chrF by sacreBLEU, whose signatures stand with the figures, of beams of 5; case counts. Sets: multi30k on
test_2016_flickr, tatoeba_en_zh and tatoeba_zh_en on the test part, whose English no other part holds, with the first 20
of its sentences. Figures that are in the file already are kept for those that are not measured again.
"""

import gzip
import json
from pathlib import Path

import numpy as np

from app.evaluate import evaluate
from app.seq2seq import seq2seq
from benchmarks.peers import measure_sets, read, table_row

# Columns, seeds, options of `seq2seq`.
OPTIONS = {"minutes": 8, "num_layers": 3, "dropout": 0.2, "source_length": 64, "target_length": 64}
SETS = {"multi30k": ("en", "de", 3), "tatoeba_en_zh": ("en", "zh", 1), "tatoeba_zh_en": ("zh", "en", 1)}
PARTS = {"multi30k": ("train", "val", "test_2016_flickr"), "tatoeba_cmn": ("train", "dev", "test")}
FIGURES = ("n_examples", "bleu", "bleu_signature", "chrf", "chrf_signature", "examples")


def pairs(folder, part):
    """Rows {language: text} of a part of a set, whether its languages stand in one file or in two."""
    if (folder / f"{part}.jsonl.gz").exists():
        return read(folder / f"{part}.jsonl.gz")
    sides = {}
    for language in ("en", "de"):
        with gzip.open(folder / f"{part}.{language}.gz", "rt", encoding="utf-8") as lines:
            sides[language] = lines.read().splitlines()
    return [dict(zip(sides, row)) for row in zip(*sides.values(), strict=True)]


def write_parts(folder, work):
    """Writes the three parts of a set as .jsonl; returns their names, training first, test last."""
    names = []
    for part in PARTS[folder.name]:
        names.append(work / f"{folder.name}-{part}.jsonl")
        names[-1].write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in pairs(folder, part)),
                             encoding="utf-8")
    return list(map(str, names))


def measure(name, data, work):
    """Trains with each seed, unless that is done, and tests; returns the figures."""
    text, target, seeds = SETS[name]
    train, validation, test = write_parts(data / ("multi30k" if name == "multi30k" else "tatoeba_cmn"), work)
    columns, runs = {"text_column": text, "target_column": target}, []
    for seed in range(seeds):
        run = work / f"seed-{seed}"
        if not (run / "config.json").exists():
            seq2seq(data=(train,), validation=(validation,), to=run, seed=seed, **columns, **OPTIONS)
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        measured = evaluate(run, data=test, **columns)
        runs.append({"seed": seed, "steps": config["step"], **{figure: measured[figure] for figure in FIGURES}})
    return {"options": OPTIONS, "runs": runs}


def mean(runs, figure):
    """A figure over the seeds, as text: its mean, and the standard deviation if there are several."""
    values = [run[figure] for run in runs]
    return f"{np.mean(values):.1f}" + (f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else "")


def table(results):
    """The figures as Markdown, with Tatoeba's sentences."""
    lines = ["| test set | seeds | BLEU | chrF | steps |", "|---|---|---|---|---|"]
    for name, one in results.items():
        runs = one["runs"]
        lines.append(f"| {name} | {len(runs)} | {mean(runs, 'bleu')} | {mean(runs, 'chrf')} | "
                     f"{np.mean([run['steps'] for run in runs]):,.0f} |")
    lines += ["", *dict.fromkeys(f"`{run[figure]}`" for one in results.values() for run in one["runs"]
                                 for figure in ("bleu_signature", "chrf_signature"))]
    for name, one in results.items():
        lines += ["", f"The first sentences of {name}:", "", "| text | written | a person's |", "|---|---|---|"]
        lines += [table_row(*(example[column] for column in ("text", "written", "target")))
                  for example in one["runs"][0]["examples"]]
    return "\n".join(lines)


if __name__ == "__main__":
    measure_sets(__doc__.splitlines()[0], SETS, measure, table, "translation")
