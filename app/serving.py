"""A classifier in, a tf.Module with two signatures out: all that answers strings, as core TensorFlow operations."""

import tensorflow as tf

from data.batching import encode_examples
from data.packing import segment_ids


def serving_module(classifier):
    """The tokenizer, the weights and the functions of an export.

    Args:
        classifier: `app.classifier.Classifier`.

    Returns:
        (`tf.Module`, {signature name: concrete function}) for `tf.saved_model.save`.
    """
    module = tf.Module(name="fromzero")
    module.tokenizer = classifier.tokenizer
    # The plain tf.Variables: with Keras's own objects tracked, Keras would write its serialization into the export.
    module.weights = [weight.value for weight in classifier.model.weights]
    labels = tf.constant(classifier.label_names)

    def answer(tokens):
        probabilities = tf.nn.softmax(classifier.model(tokens, training=False))  # (B, C)
        best = tf.argmax(probabilities, axis=-1)  # (B,)
        return {"probabilities": probabilities, "label": tf.gather(labels, best),
                "score": tf.reduce_max(probabilities, axis=-1)}

    def from_text(text, pair=None):
        return answer(encode_examples(classifier.tokenizer, text, pair, classifier.sequence_length,
                                      classifier.segment_length))

    def from_token_ids(token_ids):
        longest = classifier.sequence_length
        tf.debugging.assert_less_equal(
            tf.shape(token_ids)[1], longest, f"token_ids may have at most {longest} columns: this model's longest row")
        return answer({"token_ids": token_ids, "segment_ids": segment_ids(token_ids)})

    texts = {name: tf.TensorSpec([None], tf.string, name=name)
             for name in (("text", "pair") if classifier.takes_pairs else ("text",))}
    ids = tf.TensorSpec([None, None], tf.int32, name="token_ids")
    module.from_text, module.from_token_ids = (tf.function(signature, autograph=False)
                                                 for signature in (from_text, from_token_ids))
    return module, {"serving_default": module.from_text.get_concrete_function(**texts),
                    "token_ids": module.from_token_ids.get_concrete_function(ids)}

