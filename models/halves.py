"""A batch in, its two halves out: what is computed of them runs side by side, each on cores of its own. TensorFlow.

Small models have small operations, which two cores do not share well: each waits for the other, operation by operation.
Halves wait for each other once a batch. `app.terminal.load_tensorflow` gives an operation half of the cores. On two of
them (4 layers × 256, 32 rows of 128, masked language modelling) training took 0.87 of its time, writing 16 texts 0.47.
"""

import tensorflow as tf


def halves(batch, shared=()):
    """Splits the rows of a batch.

    Args:
        batch: {name: tensor (B, …)}.
        shared: names of tensors that belong to all rows: both halves have them whole.

    Returns:
        list of two such dicts, of which the first has the odd row and the second may have none; of the batch itself
        where nothing would run side by side: outside of a tf.function, on a GPU, in a graph for one row.
    """
    first = next(tensor for name, tensor in batch.items() if name not in shared)
    if not tf.inside_function() or tf.config.list_logical_devices("GPU") or first.shape[0] in (0, 1):
        return [batch]
    middle = (tf.shape(first)[0] + 1) // 2
    return [{name: tensor if name in shared else tensor[part] for name, tensor in batch.items()}
            for part in (slice(None, middle), slice(middle, None))]


def in_halves(function, batch):
    """What a function gives for a batch, computed for its halves.

    Args:
        function: of {name: tensor (B, …)} to a tensor (B, …), of which a row depends on the batch's row alone.
        batch: as for `halves`.
    """
    return tf.concat([function(half) for half in halves(batch)], 0)
