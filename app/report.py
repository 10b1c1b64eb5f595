"""An evaluation (a dictionary) in, one self-contained HTML page out: no file, font or script from elsewhere."""

import base64
import html
import io

STYLE = """
body { font: 15px/1.5 system-ui, "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", sans-serif;
       max-width: 72em; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { padding: .25em .7em; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.matrix td { text-align: center; border: 1px solid #fff; }
.note { background: #fff6d6; padding: .5em 1em; }
.text { max-width: 44em; overflow-wrap: anywhere; white-space: pre-wrap; }
.scroll { overflow-x: auto; }
"""
METRICS = {"accuracy": "accuracy", "macro_f1": "macro F1", "weighted_f1": "weighted F1",
           "expected_calibration_error": "calibration error (15 bins)",
           "negative_log_likelihood": "negative log likelihood (nats)"}
# Beyond this many classes a matrix of cells is no picture any more; the list of confusions says it better.
MATRIX_CLASSES = 40
CONFUSIONS = 15


def html_page(evaluation):
    """The page of one evaluation.

    Args:
        evaluation: what `app.evaluate.evaluate` returns.

    Returns:
        str: the whole page. Every text that comes from the data is escaped.
    """
    title = f"{evaluation['task']}: {evaluation['run']}"
    parts = [
        f"<h1>{_escape(title)}</h1>",
        f"<p>Data: {_escape(', '.join(evaluation['data']))}. {evaluation['n_examples']:,} examples, "
        f"{sum(evaluation['skipped'].values()):,} unreadable rows left out.</p>",
        *(f'<p class="note">{_escape(note)}</p>' for note in evaluation["notes"]),
        "<h2>Metrics</h2>", _metric_table(evaluation),
        "<h2>Classes</h2>", _class_table(evaluation["classes"]),
        "<h2>Confusion</h2>", _confusion(evaluation),
        "<h2>Reliability</h2>",
        "<p>How often the classifier is right when it is this sure. On the diagonal it can be believed; below, it is "
        "too sure of itself.</p>", _reliability_diagram(evaluation["reliability_bins"]),
        "<h2>Worst mistakes</h2>",
        "<p>Wrong with the highest confidence: look for wrong labels here first.</p>", _mistake_table(evaluation),
    ]
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{_escape(title)}</title>'
            f"<style>{STYLE}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n")


def _escape(text):
    # Control characters are not allowed in HTML even as references; show that there was one.
    return html.escape("".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in str(text)))


def _table(header, rows, numbers=()):
    """Rows of finished HTML cells; `numbers` are the columns that are aligned to the right."""
    def row(cells, tag):
        return "<tr>" + "".join(
            f'<{tag} class="number">{cell}</{tag}>' if column in numbers else f"<{tag}>{cell}</{tag}>"
            for column, cell in enumerate(cells)) + "</tr>"

    return "<table>" + row(header, "th") + "".join(row(cells, "td") for cells in rows) + "</table>"


def _metric_table(evaluation):
    intervals = evaluation.get("intervals", {})
    rows = [(name, f"{evaluation[key]:.4f}",
             "{:.4f} – {:.4f}".format(*intervals[key]) if key in intervals else "") for key, name in METRICS.items()]
    return _table(("metric", "value", "95 % interval"), rows, numbers=(1, 2))


def _class_table(classes):
    rows = [(_escape(entry["label"]), f"{entry['precision']:.4f}", f"{entry['recall']:.4f}", f"{entry['f1']:.4f}",
             f"{entry['support']:,}") for entry in classes]
    return _table(("label", "precision", "recall", "F1", "support"), rows, numbers=(1, 2, 3, 4))


def _confusion(evaluation):
    matrix, names = evaluation["confusion_matrix"], [_escape(entry["label"]) for entry in evaluation["classes"]]
    wrong = sorted(((count, truth, predicted) for truth, row in enumerate(matrix) for predicted, count in enumerate(row)
                    if count and truth != predicted), key=lambda entry: (-entry[0], *entry[1:]))
    parts = []
    if len(names) <= MATRIX_CLASSES:
        # A table of coloured cells and not an image: label names in any script show in the reader's own font.
        head = "<tr><th>true ＼ predicted</th>" + "".join(f"<th>{name}</th>" for name in names) + "</tr>"
        body = "".join(f"<tr><th>{names[truth]}</th>" + "".join(_cell(count, sum(row)) for count in row) + "</tr>"
                       for truth, row in enumerate(matrix))
        parts.append(f'<div class="scroll"><table class="matrix">{head}{body}</table></div>')
    if wrong:
        parts.append(_table(("true", "predicted", "times"),
                            [(names[truth], names[predicted], f"{count:,}") for count, truth, predicted
                             in wrong[:CONFUSIONS]], numbers=(2,)))
    return "".join(parts)


def _cell(count, of_row):
    share = count / of_row if of_row else 0.0
    return (f'<td style="background: rgba(31, 90, 180, {share:.3f}); color: {"#fff" if share > 0.5 else "#222"}" '
            f'title="{100 * share:.1f} %">{count:,}</td>')


def _reliability_diagram(bins):
    from matplotlib.figure import Figure  # a Figure of its own needs no pyplot, no display and no global state

    figure = Figure(figsize=(5.5, 5.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    middles = [(low + high) / 2 for low, high in zip(bins["lower"], bins["upper"], strict=True)]
    width = 0.94 * (bins["upper"][0] - bins["lower"][0])
    above.bar(middles, bins["accuracy"], width, color="#1f5ab4", label="accuracy")
    above.scatter([c for c, n in zip(bins["confidence"], bins["count"], strict=True) if n],
                  [a for a, n in zip(bins["accuracy"], bins["count"], strict=True) if n],
                  color="#d1495b", zorder=3, label="mean confidence of the bin")
    above.plot([0, 1], [0, 1], "--", color="#555", linewidth=1)
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="share that is right")
    above.legend(loc="upper left")
    below.bar(middles, bins["count"], width, color="#888")
    below.set(xlabel="confidence", ylabel="predictions")
    stream = io.BytesIO()
    figure.savefig(stream, format="svg")
    image = base64.b64encode(stream.getvalue()).decode("ascii")
    return f'<img alt="reliability diagram" src="data:image/svg+xml;base64,{image}">'


def _mistake_table(evaluation):
    if not evaluation["worst_mistakes"]:
        return "<p>None.</p>"
    rows = [(f'<div class="text">{_escape(mistake["text"])}'
             + (f"\n— {_escape(mistake['pair'])}" if mistake["pair"] is not None else "") + "</div>",
             _escape(mistake["label"]), _escape(mistake["predicted"]), f"{mistake['probability']:.4f}")
            for mistake in evaluation["worst_mistakes"]]
    return _table(("text", "true", "predicted", "probability"), rows, numbers=(3,))
