"""A classifier and labelled text in, how good and how trustworthy it is out: JSON, an HTML page, a table for people."""

from rich.table import Table
from rich.text import Text

from app.classifier import load_classifier
from app.report import METRICS, html_page
from app.terminal import console, progress_bar
from data.sources import SkippedRows
from data.tasks import read_examples
from models.metrics import classification_metrics
from models.run_folder import whole, write_json

WORST_MISTAKES = 30
SHOWN_CHARACTERS = 500


def evaluate_classifier(run, identity, json_path, html_path, max_skipped, bootstrap_samples, seed):
    """What `app.evaluate.evaluate` does with a classifier: measures, writes the two files, shows a table.

    Args:
        run: its folder.
        identity: dict with "data", "text_column", "pair_column" and "label_column", as `evaluate` takes them.
        json_path, html_path: the files to write.
        max_skipped, bootstrap_samples, seed: as `evaluate` takes them.

    Returns:
        What the JSON file holds: the run, `identity`, `models.metrics.classification_metrics`, counts, notes and the worst
        mistakes.
    """
    classifier = load_classifier(run)
    skipped = SkippedRows(max_skipped)
    examples = read_labelled(classifier, identity, skipped)
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
    _print_summary(evaluation)
    console.print(f"report: {html_path}\n        {json_path}", markup=False)
    return evaluation


def read_labelled(classifier, identity, skipped):
    """The `data.tasks.Examples` to measure a classifier by.

    Args:
        identity: as for `evaluate_classifier`.
        skipped: `SkippedRows`.

    Raises:
        ValueError: as `read_examples`, and where the column of the second texts is missing.
    """
    if classifier.takes_pairs and identity["pair_column"] is None:
        raise ValueError("this classifier takes pairs of texts: name the column of the second text with --pair-column")
    return read_examples(
        identity["data"], classifier.task, skipped, text_column=identity["text_column"],
        pair_column=identity["pair_column"], label_column=identity["label_column"], label_names=classifier.label_names)


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


def _print_summary(evaluation):
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
