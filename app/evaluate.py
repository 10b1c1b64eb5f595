"""A run and text in, how good it is out, as JSON: a classifier on labels (with an HTML page), others on plain text."""

import hashlib
import json
import re
from pathlib import Path

import tyro

from app.decoding import BEAMS
from app.terminal import as_tuple, check_at_least, console, load_tensorflow, progress_bar

WORST_MISTAKES = 30
SHOWN_EXAMPLES = 20  # of written texts, the first ones
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
    num_beams: int = BEAMS["num_beams"],
    length_penalty: float = BEAMS["length_penalty"],
    report: Path | None = None,
    bootstrap_samples: int = 1000,
    seed: int = 0,
    max_skipped: int = 1000,
) -> dict:
    """Measure a classifier on labelled text, a GPT on plain text, or a run of seq2seq on pairs of texts.

    Args:
        run: folder of a run of finetune, seq2seq or pretrain --objective clm.
        data: sources of labelled text, of plain text for a GPT, of pairs for a run of seq2seq: files, globs, folders, tfds:NAME:SPLIT, sample:NAME.
        text_column: column of the text; found when left out.
        pair_column: column of the second text, for a classifier of text pairs.
        label_column: column of the label; found when left out.
        target_column: for a run of seq2seq, column of the text that should be written; found when left out.
        whole_files: for a GPT, a .txt file is one text, not one a line.
        num_beams: for a run of seq2seq, as for predict.
        length_penalty: for a run of seq2seq, as for predict.
        report: where the .json and the .html go, the ending left out; RUN/evaluation-… when left out.
            An earlier evaluation of the same data is replaced, anything else is not.
        bootstrap_samples: resamples for the 95 % intervals.
        seed: of the resampling.
        max_skipped: stop after so many unreadable rows.

    Returns:
        What the JSON file holds. Of a classifier `models.metrics.classification_metrics` and the run, the data, the
        counts, notes and the worst mistakes; of a GPT what `app.perplexity.perplexity` returns, of a run of seq2seq what
        `app.text_scores.text_scores` returns, with the run and the data.
    """
    check_at_least(0, seed=seed, bootstrap_samples=bootstrap_samples)
    data = as_tuple(data)
    if not data:
        raise ValueError("evaluate needs at least one source of text. Received: none; name it after --data")
    from models.run_folder import load_config

    kind = load_config(Path(run), "classifier", "causal_lm", "text_to_text")["kind"]
    for name, value, owner in (("--whole-files", whole_files, "causal_lm"), ("--target-column", target_column, "text_to_text"),
                               ("--pair-column", pair_column, "classifier"), ("--label-column", label_column, "classifier")):
        if value and kind != owner:
            raise ValueError(f"{name} belongs to a {owner} run. Received: {run}, a {kind} run")
    if kind == "causal_lm":
        return _evaluate_generator(Path(run), {"data": list(data), "text_column": text_column, "whole_files": whole_files},
                                   report, max_skipped)
    if kind == "text_to_text":
        check_at_least(1, num_beams=num_beams)
        check_at_least(0, length_penalty=length_penalty)
        return _evaluate_text_to_text(
            Path(run), {"data": list(data), "text_column": text_column, "target_column": target_column,
                        "num_beams": num_beams, "length_penalty": length_penalty}, report, max_skipped)
    identity = {"data": list(data), "text_column": text_column, "pair_column": pair_column,
                "label_column": label_column}
    json_path, html_path = _report_paths(Path(run), report, identity)

    load_tensorflow()
    from app.classifier import load_classifier
    from app.report import html_page
    from data.sources import SkippedRows
    from data.tasks import read_examples
    from models.metrics import classification_metrics
    from models.run_folder import whole, write_json

    classifier = load_classifier(Path(run))
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


def _evaluate_generator(run, identity, report, max_skipped):
    """The part of `evaluate` for a GPT."""
    json_path, _ = _report_paths(run, report, identity)
    load_tensorflow()
    from app.generator import load_generator
    from app.perplexity import perplexity
    from data.sources import SkippedRows, read_texts
    from models.run_folder import write_json

    generator = load_generator(run)
    skipped = SkippedRows(max_skipped)
    texts = read_texts(identity["data"], skipped, identity["text_column"], whole_files=identity["whole_files"])
    with progress_bar("evaluate", unit="texts") as advance:
        measured = perplexity(generator, texts, progress=advance)
    evaluation = {"run": str(run), **identity, "skipped": dict(skipped.counts), **measured}
    write_json(json_path, evaluation)
    console.print("{texts:,} texts, {tokens:,} tokens, {words:,} words, {characters:,} characters; {unknown:,} tokens are "
                  "[UNK]\n"
                  "loss {loss:.4f} nats a token, perplexity {perplexity:.2f} of a token, {word_perplexity:.1f} of a word, "
                  "{bits_per_character:.3f} bits a character".format(**measured), markup=False)
    if skipped.total:
        console.print(f"Rows left out because they could not be read: {skipped}.", markup=False)
    console.print(f"report: {json_path}", markup=False)
    return evaluation


def _evaluate_text_to_text(run, identity, report, max_skipped):
    """The part of `evaluate` for a run of seq2seq."""
    json_path, _ = _report_paths(run, report, identity)
    load_tensorflow()
    from app.text_scores import text_scores
    from app.text_to_text import load_text_to_text
    from data.pairs import read_pairs
    from data.sources import SkippedRows
    from models.run_folder import write_json

    text_to_text = load_text_to_text(run)
    skipped = SkippedRows(max_skipped)
    texts, references = read_pairs(identity["data"], skipped, text_column=identity["text_column"],
                                   target_column=identity["target_column"])
    with progress_bar("write", len(texts), "texts") as advance:
        written = text_to_text.write(texts, identity["num_beams"], identity["length_penalty"], advance)
    examples = [dict(zip(("text", "target", "written"), map(_cut, one))) for one in zip(texts, references, written)]
    evaluation = {"run": str(run), **identity, "n_examples": len(texts), "skipped": dict(skipped.counts),
                  **text_scores(written, references), "examples": examples[:SHOWN_EXAMPLES]}
    write_json(json_path, evaluation)
    console.print("{n_examples:,} texts: BLEU {bleu:.2f}, chrF {chrf:.2f}, ROUGE-1 {rouge1:.3f}, ROUGE-2 {rouge2:.3f}, "
                  "ROUGE-L {rougeL:.3f}\n{bleu_signature}\n{chrf_signature}".format(**evaluation), markup=False)
    if skipped.total:
        console.print(f"Rows left out because they could not be read: {skipped}.", markup=False)
    console.print(f"report: {json_path}", markup=False)
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
