"""A trained encoder–decoder's run folder in, texts from texts out: what seq2seq, predict, evaluate and export share."""

import dataclasses
import functools
from pathlib import Path

import tensorflow as tf

from app.generator import endings
from data.pairs import encode_texts
from data.punctuation import full_width
from data.tokenizer import CLS, PAD, Tokenizer
from models import bert, seq2seq
from models.config import TransformerConfig, from_dict
from models.generation import beam_search
from models.halves import in_halves
from models.run_folder import load_config

BATCH_TEXTS = 32  # written at a time


@dataclasses.dataclass(frozen=True)
class Writer:
    """An encoder–decoder with all that it needs to write texts from texts.

    Attributes:
        model: `models.seq2seq.encoder_decoder`.
        tokenizer: the `Tokenizer` it was trained with.
        source_length, target_length: the longest rows, in tokens.
    """

    model: object
    tokenizer: Tokenizer
    source_length: int
    target_length: int

    @functools.cached_property
    def decoder(self):
        return seq2seq.Decoder(self.model, CLS)

    def texts(self, sources, beams):
        """Writes the most probable texts that a beam finds. Runs eagerly and in a SavedModel.

        Args:
            sources: tf.string (B,); of one longer than the model reads, the beginning.
            beams: `models.generation.Beams`.

        Returns:
            tf.string (B,).
        """
        return self._search(self._encode(sources), beams)

    def write(self, sources, beams, progress=None):
        """The same for N strings, texts of similar length together.

        Args:
            progress: called with the number of texts done.

        Returns:
            list of N strings.
        """
        order = sorted(range(len(sources)), key=lambda number: len(sources[number]))
        written = [""] * len(sources)
        for start in range(0, len(order), BATCH_TEXTS):
            numbers = order[start : start + BATCH_TEXTS]
            token_ids = self._encode(tf.constant([sources[number] for number in numbers]))
            for number, text in zip(numbers, self.graph(beams)(token_ids).numpy()):
                written[number] = text.decode()
            if progress:
                progress(len(numbers))
        return written

    @functools.cached_property
    def graph(self):
        """`graph(beams)` → a function of sources as token ids, int32 (B, S), `[CLS] … [SEP]`, padded with 0, to
        texts, tf.string (B,). It is traced once and lives as long as the writer."""
        return functools.cache(lambda beams: tf.function(
            lambda token_ids: self._search(token_ids, beams), [tf.TensorSpec([None, None], tf.int32)], autograph=False))

    def _encode(self, sources):
        rows = encode_texts(self.tokenizer, sources, self.source_length)
        return rows.to_tensor(PAD, shape=tf.maximum(rows.bounding_shape(), [0, 1]))  # a column of no texts too

    def _search(self, token_ids, beams):
        room = self.target_length - 1

        def search(half):
            logits, state = self.decoder.start(half["token_ids"], room)
            return beam_search(self.decoder, logits, state, room, beams, **endings(self.tokenizer))[0][:, 0]

        return full_width(self.tokenizer.decode(in_halves(search, {"token_ids": token_ids})))


def build_model(config):
    """The model of a `TransformerConfig`, encoder and decoder alike."""
    return seq2seq.encoder_decoder(bert.backbone(config), config)


def load_writer(folder):
    """Loads a run of `seq2seq`.

    Raises:
        FileNotFoundError, ValueError: as `models.run_folder.load_config`.
    """
    folder = Path(folder)
    config = load_config(folder, "seq2seq")
    model = build_model(from_dict(TransformerConfig, config["model"]))
    model.load_weights(folder / "seq2seq.weights.h5")
    return Writer(model, Tokenizer.load(folder / "tokenizer.json"), config["source_length"], config["target_length"])
