"""The peers' sides of benchmarks/tokenizing.py, in their environment: PEER FILE.

FILE is JSON: [training texts, texts].
"""

import json
import sys
import time
from pathlib import Path

from benchmarks.peers import serve

BATCH_SIZE, VOCABULARY_SIZE = 64, 8192


def keras_hub_tokenize(vocabulary, texts):
    """KerasHub's BERT WordPiece in tf.data."""
    import keras_hub
    import tensorflow as tf

    tokenizer = keras_hub.tokenizers.WordPieceTokenizer(
        vocabulary=vocabulary, lowercase=True, strip_accents=True, split_on_cjk=True)
    batches = tf.data.Dataset.from_tensor_slices(texts).batch(BATCH_SIZE).map(
        tokenizer, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    return lambda: sum(int(batch.row_splits[-1]) for batch in batches)


def tokenizers_tokenize(trained, texts):
    """encode_batch of `tokenizers`."""
    batches = [texts[start : start + BATCH_SIZE] for start in range(0, len(texts), BATCH_SIZE)]
    return lambda: sum(len(encoding.ids) for batch in batches
                       for encoding in trained.encode_batch(batch, add_special_tokens=False))


if __name__ == "__main__":
    from tokenizers import BertWordPieceTokenizer

    training_texts, examples = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    wordpiece = BertWordPieceTokenizer(lowercase=True)
    wordpiece.train_from_iterator(training_texts, vocab_size=VOCABULARY_SIZE, show_progress=False)
    ids = wordpiece.get_vocab()
    tokenize = (keras_hub_tokenize(sorted(ids, key=ids.get), examples) if sys.argv[1] == "keras_hub" else
                tokenizers_tokenize(wordpiece, examples))

    def measure(question):
        started = time.perf_counter()
        tokens = tokenize()
        return {"tokens": tokens, "seconds": time.perf_counter() - started}

    serve(measure)
