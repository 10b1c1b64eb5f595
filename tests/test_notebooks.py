"""Every notebook runs from top to bottom."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_notebook_runs(path):
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": path.parent.parent}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    answers = "".join(str(output) for output in outputs)
    assert "'positive', 'negative'" in answers  # what the SavedModel says of the two reviews


def test_there_are_notebooks():
    assert NOTEBOOKS
