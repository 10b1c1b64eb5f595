"""A prepared corpus on disk: `manifest.json`, `tokenizer.json`, `train.rows`, `validation.rows`, `token_counts.npy`."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np

from data.packing import open_rows
from data.tokenizer import UNK, Tokenizer

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class PreparedCorpus:
    """What pretraining reads.

    Attributes:
        tokenizer: the `Tokenizer` of the rows.
        train_rows, validation_rows: np.memmap (rows, sequence_length) of ids.
        token_counts: np.int64 (V,), how often each id stands in the training rows, special tokens not counted.
        sha256: hexadecimal, of the manifest: two corpora with the same one hold the same rows.
    """

    tokenizer: Tokenizer
    train_rows: np.ndarray
    validation_rows: np.ndarray
    token_counts: np.ndarray
    sha256: str

    @property
    def sequence_length(self):
        return self.train_rows.shape[1]

    @property
    def unknown_share(self):
        """Share of [UNK] among the tokens of the training rows."""
        return float(self.token_counts[UNK] / max(1, self.token_counts.sum()))


def load_prepared(folder):
    """Opens what `prepare` wrote.

    Raises:
        FileNotFoundError: no prepared corpus there.
        ValueError: its files do not belong together.
    """
    folder = Path(folder)
    path = folder / "manifest.json"
    if not path.exists():
        raise FileNotFoundError(f"a prepared corpus holds manifest.json. Received: {folder}. "
                                f"Make one: fromzero prepare SOURCES --to {folder}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']}")
        rows, length, size = manifest["rows"], manifest["recipe"]["sequence_length"], manifest["vocabulary_size"]
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path} must be a manifest of format {FORMAT} (reason: {error}). Run `prepare` again.") from None
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    if tokenizer.sha256 != manifest["tokenizer_sha256"]:
        raise ValueError(f"{folder}/tokenizer.json must be the one that the rows were made with. It was changed: "
                         "run `prepare` again.")
    try:
        token_counts = np.load(folder / "token_counts.npy", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{folder}/token_counts.npy is damaged ({error}). Run `prepare` again.") from None
    return PreparedCorpus(
        tokenizer,
        *(open_rows(folder / f"{split}.rows", length, size, rows[split]) for split in ("train", "validation")),
        token_counts,
        hashlib.sha256(path.read_bytes()).hexdigest(),
    )
