"""A run in, a SavedModel that takes raw strings out: served without this project, Keras or Python."""

from pathlib import Path

import tyro

from app.terminal import check_at_least, console, load_tensorflow
from app.verification import list_operations, verify
from app.writing import SAMPLING, beams


def export(
    run: tyro.conf.Positional[Path],
    *,
    to: Path,
    tokens: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    repetition_penalty: float | None = None,
    num_beams: int | None = None,
    length_penalty: float | None = None,
) -> dict[str, int]:
    """Write a SavedModel that takes raw strings.

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

    Args:
        run: folder of a run of finetune, seq2seq, questions, recommend, extract or pretrain --objective clm.
        to: folder to write, by TensorFlow Serving's custom NAME/VERSION, such as export/sentiment/1.
        tokens: of a GPT, how many follow the prompt at most; this and the next four as for generate, whose values count
            when left out.
        temperature: of a GPT.
        top_k: of a GPT.
        top_p: of a GPT.
        repetition_penalty: of a GPT.
        num_beams: of a run of seq2seq; this and the next one as for predict, whose values count when left out.
        length_penalty: of a run of seq2seq.

    Returns:
        The operations of the graph and how often each occurs.
    """
    to = Path(to)
    if to.exists():
        raise ValueError(f"{to} exists: choose another name or version, such as {to.parent / '2'}, or remove it first")
    drawing = {"tokens": tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p,
               "repetition_penalty": repetition_penalty}
    search = {"num_beams": num_beams, "length_penalty": length_penalty}
    from app.kinds import kind_of

    kind = kind_of(Path(run), "classifier", "causal_lm", "seq2seq", "span", "recommender", "extractor",
                   **{name: (value, "causal_lm") for name, value in drawing.items()},
                   **{name: (value, "seq2seq") for name, value in search.items()})
    search = beams(**search)
    drawing = {**SAMPLING, **{name: value for name, value in drawing.items() if value is not None}}
    check_at_least(1, tokens=drawing["tokens"])

    load_tensorflow()
    import tensorflow as tf

    from app.model_server import WARMUP, write_warmup
    from models.run_folder import whole, write_json

    _listing(to)  # a models.config that cannot be read is an error before the work
    servable = _servable(Path(run), kind, drawing, search)
    with whole(to) as temporary:
        try:
            tf.saved_model.save(servable.module, str(temporary), signatures=servable.signatures)
        except tf.errors.OpError as error:  # TensorFlow's own form of "No space left on device" and "Permission denied"
            raise OSError(f"{to} cannot be written: {error.message}") from error
        operations = list_operations(temporary)
        difference = verify(temporary, operations, servable)
        extra = temporary / "assets.extra"
        extra.mkdir()
        if "labels" in servable.about:
            labels = "".join(f"{name}\n" for name in servable.about["labels"])
            (extra / "labels.txt").write_text(labels, encoding="utf-8")
        write_json(extra / "fromzero.json", {**servable.about, "tensorflow": tf.__version__})
        # One text of each language: as many as EXAMPLES would keep a server from starting.
        write_warmup(extra / WARMUP, to.absolute().parent.name, {
            signature: {name: (values[:2], dtype) for name, (values, dtype) in inputs.items()}
            for signature, inputs in servable.inputs.items()})
    console.print(", ".join(f"{name} {count}" for name, count in operations.items()), markup=False)
    console.print(f"{len(operations)} operations, core TensorFlow only. A process with TensorFlow alone gives the same "
                  f"answers (largest difference of a number {difference:.1e}).")
    inputs = ", ".join(f"{name}=tf.constant({shown})" for name, shown in (
        (name, '[["…"]]' if isinstance(values[0], list) else '["…"]')
        for name, (values, _) in servable.inputs["serving_default"].items()))
    console.print(f"SavedModel: {to}\n"
                  f'  tf.saved_model.load("{to}").signatures["serving_default"]({inputs})', markup=False)
    if listing := _listing(to):
        path, text = listing
        with whole(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        console.print(f"listed for Model Server in {path}", markup=False)
    return operations


def _listing(to):
    """The models.config to list the model in and its text then; None where it is listed or has no version number."""
    from app.model_server import with_model

    to = to.absolute()
    path, name = to.parent.parent / "models.config", to.parent.name
    if not to.name.isdecimal() or not name:
        return None
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    try:
        text = with_model(before, name)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; mend it or choose another --to") from error
    return None if text == before else (path, text)


def _servable(run, kind, drawing, search):
    """The `app.servables.Servable` of a run, with the settings of a GPT's and an encoder–decoder's texts."""
    import tensorflow as tf

    from app.answerer import load_answerer
    from app.classifier import load_classifier
    from app.extractor import load_extractor
    from app.generator import load_generator
    from app.recommender import load_recommender
    from app.servables import (servable_answerer, servable_classifier, servable_extractor, servable_generator,
                               servable_recommender, servable_writer)
    from app.writer import load_writer
    from models.generation import Sampling

    # TensorFloat-32, the default on recent GPUs, rounds to 10 bits: answers would differ by 1e-3.
    with_tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        if kind == "classifier":
            return servable_classifier(load_classifier(run))
        if kind == "seq2seq":
            return servable_writer(load_writer(run), **search)
        if kind == "span":
            return servable_answerer(load_answerer(run))
        if kind == "recommender":
            return servable_recommender(load_recommender(run)[0])
        if kind == "extractor":
            return servable_extractor(load_extractor(run))
        sampling = Sampling(**{name: value for name, value in drawing.items() if name != "tokens"})
        return servable_generator(load_generator(run), drawing["tokens"], sampling)
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(with_tf32)
