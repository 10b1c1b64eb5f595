"""A run and text in, how good it is out, as JSON: a classifier on labels (with an HTML page), others on plain text."""

import hashlib
import json
import re
from pathlib import Path

import tyro

from app.terminal import as_tuple, check_at_least, console, load_tensorflow, progress_bar
from app.writing import beams

WORST_MISTAKES = 30
SHOWN_CHARACTERS = 500


def evaluate(
    run: tyro.conf.Positional[Path],
    *,
    data: tuple[str, ...],
    text_column: str | None = None,
    pair_column: str | None = None,
    label_column: str | None = None,
    target_column: str | None = None,
    whole_files: bool = False,
    num_beams: int | None = None,
    length_penalty: float | None = None,
    report: Path | None = None,
    bootstrap_samples: int | None = None,
    seed: int | None = None,
    max_skipped: int = 1000,
) -> dict:
    """Measure a classifier on labelled text, a GPT on plain text, or a run of seq2seq on pairs of texts.

    Args:
        run: folder of a run of finetune, seq2seq or pretrain --objective clm.
        data: sources of labelled text, for a GPT of plain text, for a run of seq2seq of pairs: files, globs, folders,
            tfds:NAME:SPLIT, sample:NAME.
        text_column: column of the text; found when left out.
        pair_column: for a classifier of text pairs, column of the second text.
        label_column: for a classifier, column of the label; found when left out.
        target_column: for a run of seq2seq, column of the text that should be written; found when left out.
        whole_files: for a GPT, a .txt file is one text, not one a line.
        num_beams: for a run of seq2seq, as for predict.
        length_penalty: for a run of seq2seq, as for predict.
        report: where the .json and the .html go, the ending left out; RUN/evaluation-… when left out.
            An earlier evaluation of the same data is replaced, anything else is not.
        bootstrap_samples: for a classifier, resamples for the 95 % intervals; 1000 when left out.
        seed: of the resampling; 0 when left out.
        max_skipped: stop after so many unreadable rows.

    Returns:
        What the JSON file holds. Of a classifier `models.metrics.classification_metrics` and the run, the data, the
        counts, notes and the worst mistakes; of a GPT what `app.perplexity.perplexity` returns, of a run of seq2seq what
        `app.text_scores.text_scores` returns, with the run and the data.
    """
    run, data = Path(run), as_tuple(data)
    if not data:
        raise ValueError("evaluate needs at least one source of text. Received: none; name it after --data")
    from app.kinds import kind_of

    kind = kind_of(run, "classifier", "causal_lm", "seq2seq", whole_files=(whole_files, "causal_lm"),
                   pair_column=(pair_column, "classifier"), label_column=(label_column, "classifier"),
                   bootstrap_samples=(bootstrap_samples, "classifier"), seed=(seed, "classifier"),
                   target_column=(target_column, "seq2seq"), num_beams=(num_beams, "seq2seq"),
                   length_penalty=(length_penalty, "seq2seq"))
    identity = {"data": list(data), "text_column": text_column}
    if kind == "causal_lm":
        identity |= {"whole_files": whole_files}
    elif kind == "seq2seq":
        identity |= {"target_column": target_column, **beams(num_beams, length_penalty)}
    else:
        identity |= {"pair_column": pair_column, "label_column": label_column}
    bootstrap_samples, seed = 1000 if bootstrap_samples is None else bootstrap_samples, seed or 0
    check_at_least(0, seed=seed, bootstrap_samples=bootstrap_samples)
    json_path, html_path = _report_paths(run, report, identity)

    load_tensorflow()
    if kind == "causal_lm":
        from app.perplexity import evaluate_generator

        return evaluate_generator(run, identity, json_path, max_skipped)
    if kind == "seq2seq":
        from app.text_scores import evaluate_writer

        return evaluate_writer(run, identity, json_path, max_skipped)
    from app.classifier import load_classifier
    from app.report import html_page
    from data.sources import SkippedRows
    from data.tasks import read_examples
    from models.metrics import classification_metrics
    from models.run_folder import whole, write_json

    classifier = load_classifier(run)
    if classifier.takes_pairs and pair_column is None:
        raise ValueError("this classifier takes pairs of texts: name the column of the second text with --pair-column")
    skipped = SkippedRows(max_skipped)
    examples = read_examples(
        data, classifier.task, skipped, text_column=text_column, pair_column=pair_column, label_column=label_column,
        label_names=classifier.label_names)
    n_seen = 0
    with progress_bar("evaluate", total=len(examples.texts), unit="texts") as advance:
        def count(n):
            nonlocal n_seen
            n_seen += n
            advance(n)

        probabilities = classifier.probabilities(examples.texts, examples.pairs, progress=count)
    if not n_seen == len(probabilities) == len(examples.texts):
        raise RuntimeError(f"every example must be counted once: {n_seen} of {len(examples.texts)} were seen")

    evaluation = {
        "run": str(run), "task": classifier.task, **identity,
        "n_seen": n_seen, "skipped": dict(skipped.counts),
        **classification_metrics(examples.labels, probabilities, classifier.label_names,
                                 bootstrap_samples=bootstrap_samples, seed=seed),
        "worst_mistakes": worst_mistakes(examples, probabilities, classifier.label_names),
    }
    evaluation["notes"] = _notes(evaluation, skipped)
    write_json(json_path, evaluation)
    with whole(html_path) as temporary:
        temporary.write_text(html_page(evaluation), encoding="utf-8")
    _print_summary(evaluation, console)
    console.print(f"report: {html_path}\n        {json_path}", markup=False)
    return evaluation


def worst_mistakes(examples, probabilities, label_names):
    """The wrong predictions of which the classifier was surest, surest first.

    Args:
        examples: `data.tasks.Examples` of N examples.
        probabilities: float (N, C).
        label_names: C names.

    Returns:
        A list of {"text", "pair", "label", "predicted", "probability"}; long texts are cut.
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = (predicted != examples.labels).nonzero()[0]
    return [
        {"text": _cut(examples.texts[i]), "pair": _cut(examples.pairs[i]) if examples.pairs is not None else None,
         "label": label_names[examples.labels[i]], "predicted": label_names[predicted[i]],
         "probability": float(confidence[i])}
        for i in wrong[(-confidence[wrong]).argsort(kind="stable")][:WORST_MISTAKES]
    ]


def _cut(text):
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def _report_paths(run, report, identity):
    """The two files to write. An existing one must be an evaluation of the same data."""
    if report is None:
        stem = re.sub(r"[^\w.-]+", "-", Path(identity["data"][0].split(":")[-1]).name.split(".")[0]) or "data"
        # Files of one name in two folders, or other columns, are another evaluation.
        digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:8]
        report = run / f"evaluation-{stem}-{digest}"
    report = Path(report)
    base = report.with_suffix("") if report.suffix in (".json", ".html") else report
    json_path, html_path = base.with_name(base.name + ".json"), base.with_name(base.name + ".html")
    try:
        earlier = json.loads(json_path.read_text(encoding="utf-8"))
        replaceable = isinstance(earlier, dict) and all(earlier.get(key) == value for key, value in identity.items())
    except FileNotFoundError:
        replaceable = not html_path.exists()
    except ValueError:
        replaceable = False
    if not replaceable:
        raise ValueError(f"a report replaces only an evaluation of the same data. Found: {base}.json or .html is "
                         "something else; choose another name with --report")
    return json_path, html_path


def _notes(evaluation, skipped):
    notes = []
    present = [entry["label"] for entry in evaluation["classes"] if entry["support"]]
    missing = [entry["label"] for entry in evaluation["classes"] if not entry["support"]]
    if len(present) == 1:
        notes.append(f"The data holds only one class ({present[0]}): accuracy is its recall, and F1 says little.")
    elif missing:
        notes.append(f"No example of: {', '.join(missing)}.")
    if skipped.total:
        notes.append(f"Rows left out because they could not be read: {skipped}.")
    return notes


def _print_summary(evaluation, console):
    from rich.table import Table
    from rich.text import Text

    from app.report import METRICS

    # `Text` everywhere: a label or a path may hold square brackets, which rich would take for its own markup.
    table = Table(title=Text(f"{evaluation['task']} on {evaluation['n_examples']:,} examples"))
    for column in ("", "value", "95 % interval"):
        table.add_column(column, justify="right" if column else "left")
    for key, name in METRICS.items():
        interval = evaluation.get("intervals", {}).get(key)
        table.add_row(name, f"{evaluation[key]:.4f}", "{:.4f} – {:.4f}".format(*interval) if interval else "")
    console.print(table)
    for note in evaluation["notes"]:
        console.print(note, markup=False)
