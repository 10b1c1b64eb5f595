"""Numbers of a training in, plain warnings out: what a practised eye would notice."""

import math

import numpy as np


def unigram_entropy(counts):
    """The loss of a model that knows only how frequent each token is.

    Args:
        counts: (V,) how often each token stands in the corpus.

    Returns:
        float, nats a token.
    """
    counts = np.asarray(counts, np.float64)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def first_loss_warning(loss, vocabulary_size):
    """A model that knows nothing gives every token the same probability: its loss is ln V."""
    expected = math.log(vocabulary_size)
    if abs(loss - expected) > 0.1 * expected:
        return (f"the first loss is {loss:.2f}, where ln V = {expected:.2f} is what an untrained model has: "
                "look at the initial values and at the labels")
    return None


def plateau_warning(loss, entropy):
    """A masked LM first learns how frequent the tokens are; only below that loss does it read the context."""
    if loss > entropy - 0.05:
        return (f"the held-out loss {loss:.2f} is not below the corpus's unigram entropy {entropy:.2f}: so far the "
                "model knows only how frequent tokens are. Train longer, or try another learning rate")
    return None


def unknown_warning(share):
    """[UNK] hides what stood there from the model for good."""
    if share > 0.01:
        return (f"{share:.1%} of the corpus's tokens are [UNK]: train a tokenizer on this text, or a larger one")
    return None
