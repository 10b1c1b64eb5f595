"""A pretrained GPT's run folder in, what goes on with texts out: what pretraining, generate and export share."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import tensorflow as tf

from data.batching import cleaned
from data.punctuation import full_width
from data.tokenizer import CLS, PAD, SEP, SPECIAL_TOKENS, Tokenizer
from models import gpt, heads
from models.config import TransformerConfig, from_dict
from models.generation import beam_search, draw, sample
from models.halves import in_halves
from models.run_folder import load_config


@dataclasses.dataclass(frozen=True)
class Generator:
    """A causal language model with all that it needs to go on with a text.

    Attributes:
        model: `models.heads.causal_lm`.
        tokenizer: the `Tokenizer` it was trained with.
        sequence_length: how many tokens it sees at once.
    """

    model: object
    tokenizer: Tokenizer
    sequence_length: int

    @functools.cached_property
    def decoder(self):
        return gpt.Decoder(self.model, self.sequence_length)

    def beginning(self, prompts):
        """Prompts' token ids: tf.string (B,) → int32 (B, n), padded on the left; of what the model cannot see, the end."""
        token_ids = self.tokenizer.encode(cleaned(prompts))
        token_ids = tf.concat([tf.fill([token_ids.nrows(), 1], CLS), token_ids], axis=1)[:, -self.sequence_length :]
        shape = tf.maximum(token_ids.bounding_shape(), [0, 1])  # a column of no prompts too
        return tf.reverse(tf.reverse(token_ids, [1]).to_tensor(PAD, shape=shape), [1])

    def texts(self, prompts, seeds, num_tokens, sampling):
        """Goes on with several texts at once. Runs eagerly and in a SavedModel.

        Args:
            prompts: tf.string (B,).
            seeds: int32 (B,): the text of a prompt and a seed is the one that `stream` writes.
            num_tokens: N, how many tokens follow at most.
            sampling: `models.generation.Sampling`.

        Returns:
            tf.string (B,), prompts included.
        """
        nothing = tf.zeros([tf.size(prompts), 0], tf.int32)
        return self.pieces(prompts, seeds, nothing, num_tokens, num_tokens, sampling)[0]

    def pieces(self, prompts, seeds, written, piece, num_tokens, sampling):
        """Goes on by a few tokens, so that a text may be shown while it is written. Runs eagerly and in a SavedModel.

        Args:
            prompts, seeds, num_tokens, sampling: as for `texts`.
            written: int32 (B, n): the tokens that earlier calls gave; at first none.
            piece: P, how many further ones.

        Returns:
            (tf.string (B,), prompts and all that was written; int32 (B, P), the further tokens, 0 after the end). One
            piece after the other, the text of each row is that of `texts`: a token's number is drawn from its place.
        """
        beginning = tf.concat([self.beginning(prompts), written], axis=1)
        uniform = tf.map_fn(lambda seed: _uniform(seed, num_tokens), seeds, fn_output_signature=tf.float32)  # (B, N)
        places = tf.shape(written)[1] + tf.range(piece)
        uniform = tf.ensure_shape(tf.gather(uniform, tf.minimum(places, num_tokens - 1), axis=1), [None, piece])
        present = tf.math.bincount(beginning, minlength=self.tokenizer.vocabulary_size,
                                   maxlength=self.tokenizer.vocabulary_size, binary_output=True, axis=-1)

        def continuation(half):
            logits, state = self.decoder.start(half["beginning"], piece)
            return sample(self.decoder, logits, state, half["present"], half["uniform"], sampling,
                          **endings(self.tokenizer))

        drawn = in_halves(continuation, {"beginning": beginning, "present": present > 0, "uniform": uniform})
        ended = tf.reduce_any(written == SEP, axis=1, keepdims=True)
        drawn = tf.where(tf.logical_or(ended, places >= num_tokens), PAD, drawn)  # (B, P)
        return self._decode(tf.concat([beginning, drawn], axis=1)), drawn

    def stream(self, prompt, num_tokens, sampling, seed):
        """Goes on with a text, token by token.

        Args:
            prompt: the beginning; may be empty.
            num_tokens: how many tokens follow at most.
            sampling: `models.generation.Sampling`.
            seed: the same one gives the same text.

        Yields:
            The text's next characters; the prompt first, as the tokenizer reads it.
        """
        beginning = self.beginning(tf.constant([prompt]))
        text = ""
        token_ids = beginning[0].numpy().tolist()
        uniform = _uniform(seed, num_tokens)[:, None]  # (N, 1)
        logits, state = self.decoder.start(beginning, num_tokens)
        present = np.zeros((1, self.tokenizer.vocabulary_size), bool)
        present[0, token_ids] = True
        finished = np.zeros(1, bool)
        step = self._step(sampling)
        for number in range(num_tokens + 1):
            longer = self._decode(tf.constant([token_ids])).numpy()[0].decode()
            # A space at the end shows with the word that follows it.
            yield longer[len(text) :]
            text = longer
            if number == num_tokens or token_ids[-1] == SEP:
                return
            drawn, logits, state, present, finished = step(logits, state, present, finished, uniform[number])
            token_ids.append(int(drawn[0]))

    def best(self, prompt, num_tokens, beams):
        """The most probable continuation that a beam finds, with the prompt before it."""
        beginning = self.beginning(tf.constant([prompt]))
        whole = tf.concat([beginning, self.search(num_tokens, beams)(beginning)], axis=1)
        return self._decode(whole).numpy()[0].decode()

    def _decode(self, token_ids):
        return full_width(self.tokenizer.decode(token_ids))

    # Graphs, one for every way of decoding, whatever the length of the text. They live as long as the generator.

    @functools.cached_property
    def _step(self):
        return functools.cache(lambda sampling: tf.function(
            lambda *arguments: draw(self.decoder, *arguments, sampling, **endings(self.tokenizer)),
            autograph=False, reduce_retracing=True))

    @functools.cached_property
    def search(self):
        """`search(num_tokens, beams)` → a function of beginnings, int32 (B, n), to the most probable tokens after
        each that a beam finds, int32 (B, num_tokens), 0 after the end."""
        @functools.cache
        def graph(num_tokens, beams):
            @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)], autograph=False)
            def search(beginning):
                logits, state = self.decoder.start(beginning, num_tokens)
                return beam_search(self.decoder, logits, state, num_tokens, beams, **endings(self.tokenizer))[0][:, 0]

            return search

        return graph


def endings(tokenizer):
    """What every way of decoding is told: a text ends with [SEP], and no other special token stands in it."""
    token_ids = np.arange(tokenizer.vocabulary_size)
    return {"forbidden": (token_ids < len(SPECIAL_TOKENS)) & (token_ids != SEP), "stop_id": SEP}


def _uniform(seed, num_tokens):
    """Where in its distribution each token is taken: float32 (N,) in [0, 1), the same in eager and in graph mode."""
    return tf.random.stateless_uniform((num_tokens,), [seed, 0])


def load_generator(folder):
    """Loads a run of `pretrain --objective clm`.

    Raises:
        FileNotFoundError, ValueError: as `models.run_folder.load_config`.
    """
    folder = Path(folder)
    config = from_dict(TransformerConfig, load_config(folder, "causal_lm")["model"])
    model = heads.causal_lm(gpt.backbone(config))
    model.load_weights(folder / "causal_lm.weights.h5")
    return Generator(model, Tokenizer.load(folder / "tokenizer.json"), config.sequence_length)
