"""Texts (tf.string) whose marks are half-width in, Chinese with the marks that it is printed with out."""

import tensorflow as tf

MARKS = dict(zip(",!?:;", "，！？：；"))


def full_width(texts):
    """Makes the marks behind Chinese characters full-width again, which the tokenizer's NFKC has made half-width.

    Args:
        texts: tf.string (…).

    Returns:
        tf.string (…). Marks behind anything else stay as they are. What is made of a text's beginning does not change
        when the text goes on, so brackets stay too: the opening one would wait for what follows it.
    """
    for half, full in MARKS.items():
        texts = tf.strings.regex_replace(texts, rf"([\x{{3400}}-\x{{9fff}}])\{half}", rf"\1{full}")
    return texts
