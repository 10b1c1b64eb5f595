"""A loaded run in, what becomes a SavedModel out: all that answers strings, as core operations."""

import dataclasses

import numpy as np
import tensorflow as tf

from data.batching import encode_examples
from data.packing import segment_ids

PIECE = 4  # tokens a call of a GPT's signature `continued`: fewer would be smoother, but each call reads all before it
# What both sides of the verification answer: scripts, lengths and characters that tokenizers stumble over.
EXAMPLES = ("this is a good product", "这是一个很好的产品", "", "  A  film, which… DISAPPOINTS!!", "价格100元，不贵。Good!",
            "naïve café ＡＢＣ １２３", "a\x00b\x0bc\x1fd\x85e\ufefff\u200b\ufffd 😀👍🏽",
            "fine<br />acting<BR>yes\r\nno\rmaybe", "word " * 3000, "很" * 3000, "x" * 5000)


@dataclasses.dataclass(frozen=True)
class Servable:
    """What an export writes, and what its signatures must answer.

    Attributes:
        module: `tf.Module` that holds the tokenizer and the weights.
        signatures: {name: concrete function}.
        inputs: {signature: {input: (values, name of the dtype)}} to call each signature with once.
        expected: {signature: {output: np.ndarray}}: what the run itself answers; outputs that are random are left out.
        about: what the export tells people, JSON types.
    """

    module: object
    signatures: dict
    inputs: dict
    expected: dict
    about: dict


def servable_classifier(classifier):
    """A `Servable` of text, or text and pair → probabilities, label, score; and of token_ids → the same.

    Args:
        classifier: `app.classifier.Classifier`.
    """
    module = _module(classifier)
    labels = tf.constant(classifier.label_names)

    def answer(tokens):
        probabilities = tf.nn.softmax(classifier.model(tokens, training=False))  # (B, C)
        best = tf.argmax(probabilities, axis=-1)  # (B,)
        return {"probabilities": probabilities, "label": tf.gather(labels, best),
                "score": tf.reduce_max(probabilities, axis=-1)}

    def encode(text, pair=None):
        return encode_examples(classifier.tokenizer, text, pair, classifier.sequence_length, classifier.segment_length)

    def from_text(text, pair=None):
        return answer(encode(text, pair))

    def from_token_ids(token_ids):
        longest = classifier.sequence_length
        tf.debugging.assert_less_equal(
            tf.shape(token_ids)[1], longest, f"token_ids may have at most {longest} columns: this model's longest row")
        return answer({"token_ids": token_ids, "segment_ids": segment_ids(token_ids)})

    given = {"text": list(EXAMPLES), **({"pair": list(EXAMPLES[::-1])} if classifier.takes_pairs else {})}
    texts = {name: tf.TensorSpec([None], tf.string, name=name) for name in given}
    ids = tf.TensorSpec([None, None], tf.int32, name="token_ids")
    module.from_text, module.from_token_ids = (tf.function(signature, autograph=False)
                                                 for signature in (from_text, from_token_ids))
    expected = {"probabilities": classifier.probabilities(*given.values())}
    return Servable(
        module,
        {"serving_default": module.from_text.get_concrete_function(**texts),
         "token_ids": module.from_token_ids.get_concrete_function(ids)},
        {"serving_default": {name: (values, "string") for name, values in given.items()},
         "token_ids": {"token_ids": (encode(**given)["token_ids"].numpy().tolist(), "int32")}},
        {"serving_default": expected, "token_ids": expected},
        {"task": classifier.task, "labels": classifier.label_names, "takes_pairs": classifier.takes_pairs,
         "sequence_length": classifier.sequence_length, "segment_length": classifier.segment_length,
         "tokenizer": classifier.tokenizer.sha256})


def servable_generator(generator, num_tokens, sampling):
    """A `Servable` of a GPT: prompt → text, another one each time; with a seed always the same one, at once or in pieces.

    Args:
        generator: `app.generator.Generator`.
        num_tokens, sampling: as for its `texts`.
    """
    module = _module(generator)
    piece = min(PIECE, num_tokens)

    def seeded(prompt, seed):
        return {"text": generator.texts(prompt, seed, num_tokens, sampling)}

    def default(prompt):
        # The operation itself: tf.random would put a seed into the graph, and every server would say the same.
        seeds = tf.raw_ops.RandomUniformInt(shape=tf.shape(prompt), minval=0, maxval=np.iinfo(np.int32).max)
        return seeded(prompt, seeds)

    def continued(prompt, seed, token_ids):
        tf.debugging.assert_less_equal(
            tf.shape(token_ids)[1], num_tokens, f"token_ids may have at most {num_tokens} columns: a text ends there")
        text, following = generator.pieces(prompt, seed, token_ids, piece, num_tokens, sampling)
        return {"text": text, "next_token_ids": following}

    prompt, seed = tf.TensorSpec([None], tf.string, name="prompt"), tf.TensorSpec([None], tf.int32, name="seed")
    token_ids = tf.TensorSpec([None, None], tf.int32, name="token_ids")
    module.default, module.seeded, module.continued = (
        tf.function(signature, autograph=False) for signature in (default, seeded, continued))
    signatures = {"serving_default": module.default.get_concrete_function(prompt),
                  "seeded": module.seeded.get_concrete_function(prompt, seed),
                  "continued": module.continued.get_concrete_function(prompt, seed, token_ids)}
    prompts, seeds = list(EXAMPLES), list(range(len(EXAMPLES)))
    given = tf.constant(prompts), tf.constant(seeds)
    with tf.device("CPU"):  # as the verification: a last digit may choose another token
        text = signatures["seeded"](*given)["text"].numpy()
        first = signatures["continued"](*given, tf.zeros([len(prompts), 0], tf.int32))["next_token_ids"]
        second = signatures["continued"](*given, first)
    inputs = {"prompt": (prompts, "string"), "seed": (seeds, "int32"), "token_ids": (first.numpy().tolist(), "int32")}
    return Servable(
        module, signatures,
        {name: {given: inputs[given] for given in names} for name, names in (
            ("serving_default", ["prompt"]), ("seeded", ["prompt", "seed"]), ("continued", [*inputs]))},
        {"serving_default": {}, "seeded": {"text": text},
         "continued": {name: values.numpy() for name, values in second.items()}},
        {"task": "generate", "tokens": num_tokens, **dataclasses.asdict(sampling),
         "sequence_length": generator.sequence_length, "tokenizer": generator.tokenizer.sha256})


def servable_writer(writer, beams):
    """A `Servable` of text → text_written.

    Args:
        writer: `app.writer.Writer`.
        beams: as for its `texts`.
    """
    return _answering(
        writer, lambda text: {"text_written": writer.texts(text, beams)}, {"text": list(EXAMPLES)},
        {"task": "seq2seq", **dataclasses.asdict(beams),
         "source_length": writer.source_length, "target_length": writer.target_length,
         "tokenizer": writer.tokenizer.sha256})


def servable_answerer(answerer):
    """A `Servable` of question and context → answer, score, start.

    Args:
        answerer: `app.answerer.Answerer`.
    """
    return _answering(
        answerer, lambda question, context: dict(zip(("answer", "score", "start"), answerer.answers(question, context))),
        {"question": list(EXAMPLES), "context": list(EXAMPLES[::-1])},
        {"task": "questions", "sequence_length": answerer.sequence_length, "answer_length": answerer.answer_length,
         "always_answers": answerer.always_answers, "tokenizer": answerer.tokenizer.sha256})


def servable_recommender(recommender):
    """A `Servable` of history → titles and scores.

    Args:
        recommender: `app.recommender.Recommender`.
    """
    known = recommender.catalogue.titles[1:]
    histories = [[text, known[number % len(known)], ""] for number, text in enumerate(EXAMPLES)]
    histories += [["", "", ""], ["", *(2 * known)[:2]]]
    servable = _answering(
        recommender, recommender.recommend, {"history": histories},
        {"task": "recommend", "titles": len(known), "title_length": recommender.title_length,
         "sequence_length": recommender.sequence_length, "tokenizer": recommender.tokenizer.sha256})
    servable.module.table = recommender.table
    return servable


def servable_extractor(extractor):
    """A `Servable` of text → text_written.

    Args:
        extractor: `app.extractor.Extractor`.
    """
    return _answering(extractor, lambda text: {"text_written": extractor.texts(text)}, {"text": list(EXAMPLES)},
                      {"task": "extract", "target_length": extractor.target_length, "in_parts": extractor.in_parts})


def _answering(run, answer, given, about):
    """A `Servable` with one signature.

    Args:
        run: as for `_module`.
        answer: function of tf.string tensors, which have the names of `given`, to a dict of tensors.
        given: {input: strings (N,), or lists of as many (N, n)}.
        about: of the servable.
    """
    module = _module(run)
    module.answer = tf.function(answer, autograph=False)
    tensors = {name: tf.constant(values) for name, values in given.items()}
    signature = module.answer.get_concrete_function(
        **{name: tf.TensorSpec([None] * len(tensor.shape), tf.string, name=name) for name, tensor in tensors.items()})
    with tf.device("CPU"):  # as the verification: a last digit may choose another answer
        answers = signature(**tensors)
    return Servable(module, {"serving_default": signature},
                    {"serving_default": {name: (values, "string") for name, values in given.items()}},
                    {"serving_default": {name: values.numpy() for name, values in answers.items()}}, about)


def _module(run):
    """A `tf.Module` with the weights of a run, and with its tokenizer if it has one."""
    module = tf.Module(name="fromzero")
    module.tokenizer = getattr(run, "tokenizer", None)
    module.weights = variables(run)
    return module


def variables(run):
    """The tf.Variables that the answers of a run are computed from."""
    # The plain tf.Variables: with Keras's own objects tracked, Keras would write its serialization into the export.
    found = [weight.value for weight in run.model.weights]
    return [*found, run.vectors] if hasattr(run, "vectors") else found  # a recommender's, of its items
