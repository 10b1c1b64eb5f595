"""Every notebook runs from top to bottom at its small size and finds what it must; saved ones are fit to be read."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# What holds at the end of each, in its own names; runs as its last cell.
FOUND = {
    "01_mathematics": """
assert y.tolist() == [2.25, 0] and loss == 1.28125
assert gradient_W.tolist() == [[3.75, 7.5, 11.25], [0, 0, 0]] and gradient_x.tolist() == [1.875, -3.75, 3.75]
assert losses[0] > 0.9 and losses[-1] < 0.05
assert difference < 1e-4 and not weights[0][6:, :6].any()""",
    "02_text": """
assert skipped.total == 1 and from_file[0]["text"] == rows["reviews-zh"][0]["text"]
documents_of = manifest["documents"]
assert documents_of["exact_duplicates"] >= 20 and documents_of["near_duplicates"] >= 20
assert 1 <= documents_of["contaminated"] < 10
assert abs(np.mean(estimated - true)) < 0.02 and 0.03 < np.std(estimated - true) < 0.1
assert filled > 0.95 and all(abs(measured[name] - wanted[name]) < 0.02 for name in wanted)""",
    "03_baseline": """
assert history["loss"][-1] < history["loss"][0] < 0.7 and history["val_loss"][-1] > min(history["val_loss"])
assert plain > 0.65 and metrics["accuracy"] > 0.72 and low < metrics["accuracy"] < high""",
    "04_pretrain": """
assert result["validation_loss"] < entropy - 0.7 < math.log(vocabulary_size) - 2
assert "宾馆" in table["酒店"] and before[0] != guesses(model, tokenizer, batch, count=1)[0]
assert history["validation_loss"].is_monotonic_decreasing""",
    "05_finetune": """
assert [answer["label"] for answer in answers[:2]] == ["positive", "negative"]
means = results.groupby(["task", "start"])["accuracy"].mean()
assert len(results) == 12 and means["topic", "pretrained"] > means["topic", "random weights"] + 0.1""",
    "06_generate_translate_answer": """
assert generator.tokenizer.vocabulary[int(np.argmax(p))] == "光"
assert any(one["has the form"] for one in written) and copied("床前明月光") == 5
assert translated["bleu"] > 60 and answered["exact_match"] > 60
assert translations[0]["written"].endswith("日星期二") and 0 < answers[0]["score"] < 1""",
    "07_export_and_serve": """
assert elsewhere["label"] == by_columns["label"] == [row["label"] for row in by_rows] == ["positive", "negative"]
assert refused[0] == 400 and status["model_version_status"][0]["state"] == "AVAILABLE"
assert max(abs(row["score"] - one["score"]) for row, one in zip(by_rows, of_run)) < 1e-5
assert server.returncode == 0 and "这是" not in open("server.log").read()""",
}
EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


@pytest.mark.slow
@EACH
def test_notebook_runs(path, monkeypatch):
    monkeypatch.setenv("FROMZERO_SMALL", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of this checkout: notebooks leave its folder
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(FOUND[path.stem]))
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": path.parent}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]


@EACH
def test_a_saved_notebook_is_fit_to_be_read(path):
    """Run from top to bottom, its answers in it; no warnings, no colours of a terminal, no places of a machine."""
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not any(cell.metadata for cell in notebook.cells) and path.stat().st_size < 300_000
    for output in (output for cell in cells for output in cell.outputs):
        assert output.output_type in ("stream", "display_data", "execute_result") and output.get("name") != "stderr"
        data = output.get("data", {})
        for text in (output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")):
            assert "\x1b" not in text
            assert not re.search(r"(?<![\w.:/<])/(?!v1/)\w+/[\w.]", text), f"an absolute path: {text}"


def test_readmes_name_every_notebook():
    assert [path.stem for path in NOTEBOOKS] == list(FOUND)
    for readme in ("README.md", "README.zh.md"):
        text = (ROOT / readme).read_text(encoding="utf-8")
        assert re.findall(r"\(notebooks/(\w+)\.ipynb\)", text) == list(FOUND)
