"""A run and data in, how good it is out, as JSON: a classifier on labels (with an HTML page), others on theirs."""

import hashlib
import json
import re
from pathlib import Path

import tyro

from app.terminal import as_tuple, check_at_least, load_tensorflow
from app.writing import beams


def evaluate(
    run: tyro.conf.Positional[Path],
    *,
    data: tuple[str, ...],
    items: tuple[str, ...] = (),
    text_column: str | None = None,
    pair_column: str | None = None,
    label_column: str | None = None,
    target_column: str | None = None,
    question_column: str | None = None,
    context_column: str | None = None,
    answer_column: str | None = None,
    whole_files: bool = False,
    num_beams: int | None = None,
    length_penalty: float | None = None,
    no_repeat_ngram_size: int | None = None,
    report: Path | None = None,
    bootstrap_samples: int | None = None,
    seed: int | None = None,
    max_skipped: int = 1000,
) -> dict:
    """Measure a classifier on labelled text, a GPT on plain text, others on data of the kind they were trained on.

    Args:
        run: folder of a run of finetune, seq2seq, questions, recommend, extract or pretrain --objective clm.
        data: sources of labelled text, for a GPT of plain text, for a run of seq2seq or extract of pairs, for a
            recommender of users and items: files, globs, folders, tfds:NAME[:split], sample:NAME; for a run of questions
            also SQuAD's JSON.
        items: for a recommender, as for recommend: what new items are called.
        text_column: column of the text; found when left out. A recommender knows its columns.
        pair_column: for a classifier of text pairs, column of the second text.
        label_column: for a classifier, column of the label; found when left out.
        target_column: for a run of seq2seq or extract, column of the text that should be written; found when left out.
        question_column: for a run of questions, as for questions; so are the next two.
        context_column: for a run of questions.
        answer_column: for a run of questions.
        whole_files: for a GPT, a .txt file is one text, not one a line.
        num_beams: for a run of seq2seq, as for predict.
        length_penalty: for a run of seq2seq, as for predict.
        no_repeat_ngram_size: for a run of seq2seq, as for predict.
        report: where the .json and the .html go, the ending left out; RUN/evaluation-… when left out.
            An earlier evaluation of the same data is replaced, anything else is not.
        bootstrap_samples: for a classifier, resamples for the 95 % intervals; 1000 when left out.
        seed: of the resampling; 0 when left out.
        max_skipped: stop after so many unreadable rows.

    Returns:
        What the JSON file holds. Of a classifier `models.metrics.classification_metrics` and the run, the data, the
        counts, notes and the worst mistakes; of a GPT what `app.perplexity.perplexity` returns, of a run of seq2seq what
        `app.text_scores.text_scores`, of a run of questions what `app.answer_scores.answer_scores` returns, with the run
        and the data; of an extractor the ROUGE of others beside it; of a recommender what
        `app.recommender_scores.evaluate_recommender` returns.
    """
    run, data, items = Path(run), as_tuple(data), as_tuple(items)
    if not data:
        raise ValueError("evaluate needs at least one source of data. Received: none; name it after --data")
    search = {"num_beams": num_beams, "length_penalty": length_penalty, "no_repeat_ngram_size": no_repeat_ngram_size}
    from app.kinds import kind_of

    kind = kind_of(run, "classifier", "causal_lm", "seq2seq", "span", "recommender", "extractor",
                   whole_files=(whole_files, "causal_lm"), items=(items or None, "recommender"),
                   text_column=(text_column, "classifier", "causal_lm", "seq2seq", "extractor"),
                   question_column=(question_column, "span"), context_column=(context_column, "span"),
                   answer_column=(answer_column, "span"), pair_column=(pair_column, "classifier"),
                   label_column=(label_column, "classifier"),
                   bootstrap_samples=(bootstrap_samples, "classifier"), seed=(seed, "classifier"),
                   target_column=(target_column, "seq2seq", "extractor"),
                   **{name: (value, "seq2seq") for name, value in search.items()})
    identity = {"data": list(data), "text_column": text_column}
    if kind == "causal_lm":
        identity |= {"whole_files": whole_files}
    elif kind == "seq2seq":
        identity |= {"target_column": target_column, **beams(**search)}
    elif kind == "span":
        identity = {"data": list(data), "question_column": question_column, "context_column": context_column,
                    "answer_column": answer_column}
    elif kind == "recommender":
        identity = {"data": list(data), "items": list(items)}
    elif kind == "extractor":
        identity |= {"target_column": target_column}
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
    if kind == "span":
        from app.answer_scores import evaluate_answerer

        return evaluate_answerer(run, identity, json_path, max_skipped)
    if kind == "recommender":
        from app.recommender_scores import evaluate_recommender

        return evaluate_recommender(run, identity, json_path, max_skipped)
    if kind == "extractor":
        from app.text_scores import evaluate_extractor

        return evaluate_extractor(run, identity, json_path, max_skipped)
    from app.classifier_scores import evaluate_classifier

    return evaluate_classifier(run, identity, json_path, html_path, max_skipped, bootstrap_samples, seed)


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
