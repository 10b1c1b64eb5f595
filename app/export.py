"""A run in, a SavedModel that takes raw strings or a TensorFlow Lite file out: served without this project or Keras."""

import dataclasses
from pathlib import Path

import tyro

from app.terminal import as_tuple, check_at_least, console, load_tensorflow
from app.writing import SAMPLING, beams

MAX_SKIPPED = 1000  # unreadable rows of --data


def export(
    run: tyro.conf.Positional[Path],
    *,
    to: Path,
    int8: bool = False,
    data: tuple[str, ...] = (),
    text_column: str | None = None,
    pair_column: str | None = None,
    label_column: str | None = None,
    tokens: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float | None = None,
    num_beams: int | None = None,
    length_penalty: float | None = None,
    no_repeat_ngram_size: int | None = None,
) -> dict[str, int]:
    """Write a SavedModel that takes raw strings, or a TensorFlow Lite file.

    Of a classifier, the signature serving_default takes text, tf.string (batch,), and pair where the classifier takes
    pairs; token_ids takes int32 (batch, length) with [CLS] and [SEP], 0 = padding. Both give probabilities float32
    (batch, classes), label string (batch,) and score float32 (batch,), that label's probability.

    Of a GPT, serving_default takes prompt, tf.string (batch,), and gives text, string (batch,), another one each time;
    seeded takes prompt and seed, int32 (batch,), and gives what `generate --seed` writes. continued writes the same a
    few tokens a call: it also takes token_ids, int32 (batch, n), what it gave so far as next_token_ids, 0 after the end.

    Of a run of seq2seq or extract, serving_default takes text, tf.string (batch,), and gives text_written, string
    (batch,). Of a run of questions it takes question and context, tf.string (batch,), and gives answer, string (batch,),
    a piece of the context or "", score float32 (batch,), its probability, and start int32 (batch,), how many characters
    of the context stand before it.

    Of a recommender, serving_default takes history, tf.string (batch, n), titles in order of time, padded with "", and
    gives titles, string (batch, 10), and scores float32 (batch, 10), the probability that each comes next.

    Tokenizer and labels are inside; assets.extra/ has fromzero.json and labels.txt for people, and a request for each
    signature that servers warm up with. Before the folder gets its name, a process with TensorFlow alone must load it
    and answer as the run does. models.config, in the folder above NAME, lists the model for TensorFlow's Model Server.

    A TensorFlow Lite file is made of a classifier and needs TensorFlow Lite's own operations alone, no select (Flex) ones.
    These have no strings: serving_default takes text, int32 (length,), the Unicode code points of one text, and pair
    likewise; token_ids takes one row of the longest length, int32 (1, length). Both give what a SavedModel gives. Control
    characters and <br> are not taken out. It is verified in the same way before it gets its name.

    Args:
        run: folder of a run of finetune, seq2seq, questions, recommend, extract or pretrain --objective clm.
        to: folder to write, by TensorFlow Serving's custom NAME/VERSION, such as export/sentiment/1; or a file that ends
            in .tflite.
        int8: store matrices as int8, with a float32 step for each row: weights take a quarter to two fifths of the
            bytes. A SavedModel gets smaller on the disk alone: loading it makes float32 of them. A TensorFlow Lite file
            gets faster too: there it is dynamic range quantization, which rounds activations as well.
        data: labelled sources, as for evaluate: measures the classifier before and after, by accuracy and by time.
        text_column: of --data, as for evaluate; so are the next two.
        pair_column: of --data.
        label_column: of --data.
        tokens: of a GPT, how many follow the prompt at most; this and the next four as for generate, whose values count
            when left out.
        temperature: of a GPT.
        top_k: of a GPT.
        top_p: of a GPT.
        repetition_penalty: of a GPT.
        num_beams: of a run of seq2seq; this and the next two as for predict, whose values count when left out.
        length_penalty: of a run of seq2seq.
        no_repeat_ngram_size: of a run of seq2seq.

    Returns:
        The operations of the graph and how often each occurs.
    """
    run, to, data = Path(run), Path(to), as_tuple(data)
    if to.exists():
        raise ValueError(f"--to must be new. Received: {to}, which exists: choose another name or version, or remove it")
    drawing = {"tokens": tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p,
               "repetition_penalty": repetition_penalty}
    search = {"num_beams": num_beams, "length_penalty": length_penalty, "no_repeat_ngram_size": no_repeat_ngram_size}
    columns = {"text_column": text_column, "pair_column": pair_column, "label_column": label_column}
    from app.kinds import NAMES, kind_of

    kind = kind_of(run, "classifier", "causal_lm", "seq2seq", "span", "recommender", "extractor",
                   int8=(int8, "classifier", "causal_lm", "seq2seq", "span", "recommender"),  # an extractor has no matrix
                   **{name: (value, "classifier") for name, value in {"data": data or None, **columns}.items()},
                   **{name: (value, "causal_lm") for name, value in drawing.items()},
                   **{name: (value, "seq2seq") for name, value in search.items()})
    is_lite = to.suffix.lower() == ".tflite"
    if is_lite and kind != "classifier":
        raise ValueError("a .tflite file is made of a classifier: for others TensorFlow Lite lacks operations. "
                         f"Received: {run}, {NAMES[kind][0]}; name a folder after --to")
    if not data and any(columns.values()):
        raise ValueError("--text-column, --pair-column and --label-column are of --data: name it, or leave them out")
    search = beams(**search)
    drawing = {**SAMPLING, **{name: value for name, value in drawing.items() if value is not None}}
    check_at_least(1, tokens=drawing["tokens"])

    load_tensorflow()
    from app.saved_model import listing, write_saved_model

    if not is_lite:
        listing(to)  # a models.config that cannot be read is an error before the work
    if data:
        from app.classifier import load_classifier
        from app.classifier_scores import read_labelled
        from app.export_scores import compare
        from data.sources import SkippedRows

        classifier = load_classifier(run)
        examples = read_labelled(classifier, {"data": data, **columns}, SkippedRows(MAX_SKIPPED))
    servable = _servable(run, kind, drawing, search, int8 and not is_lite)
    if is_lite:
        from app.lite import write_lite

        operations = write_lite(to, servable, int8)
    else:
        operations = write_saved_model(to, servable)
    size = sum(path.stat().st_size for path in [to, *to.rglob("*")] if path.is_file())
    parameters = servable.about["parameters"]
    console.print(f"{size / 1e6:.1f} MB; {parameters:,} parameters, which are {4 * parameters / 1e6:.1f} MB as float32")
    if data:
        compare(classifier, examples, to)
    return operations


def _servable(run, kind, drawing, search, int8):
    """The `app.servables.Servable` of a run.

    Args:
        drawing, search: the settings of a GPT's and an encoder–decoder's texts.
        int8: round the run's weights, and store them so.
    """
    import tensorflow as tf

    from app.answerer import load_answerer
    from app.classifier import load_classifier
    from app.extractor import load_extractor
    from app.generator import load_generator
    from app.int8 import int8_variables
    from app.recommender import load_recommender
    from app.servables import (servable_answerer, servable_classifier, servable_extractor, servable_generator,
                               servable_recommender, servable_writer, variables)
    from app.writer import load_writer
    from models.generation import Beams, Sampling

    sampling = dict(drawing)
    tokens = sampling.pop("tokens")
    load, make = {
        "classifier": (load_classifier, servable_classifier), "span": (load_answerer, servable_answerer),
        "seq2seq": (load_writer, lambda writer: servable_writer(writer, Beams(**search))),
        "recommender": (lambda run: load_recommender(run)[0], servable_recommender),
        "extractor": (load_extractor, servable_extractor),
        "causal_lm": (load_generator, lambda generator: servable_generator(generator, tokens, Sampling(**sampling))),
    }[kind]
    # TensorFloat-32, the default on recent GPUs, rounds to 10 bits: answers would differ by 1e-3.
    with_tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        loaded = load(run)
        weights = variables(loaded)
        parameters = sum(variable.shape.num_elements() for variable in weights)
        stored = int8_variables(weights) if int8 else weights
        servable = make(loaded)
        servable.module.weights = stored
        return dataclasses.replace(servable, about={**servable.about, "parameters": parameters, "int8": int8})
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(with_tf32)
