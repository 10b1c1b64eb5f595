"""Labels, few or many, and texts without any in, one classifier of several kinds of members out.

Encoders know words they have seen in pretraining, the bag of n-grams and the linear classifier what the labels say,
document vectors what stands together in the task's own texts: they err on different texts, and which of them errs least
depends on the task, so their votes are weighed. What the committee is surest of in the unlabelled texts then teaches
its members (Lee 2013, "Pseudo-label"; Blum & Mitchell 1998, co-training).
"""

import keras
import numpy as np
import tensorflow as tf
from scipy.special import log_softmax, softmax

from app.classifier import BATCH_SIZE, build_classifier, one_graph, outputs
from app.members import train
from app.terminal import console, progress_bar
from data.batching import EncodedExamples
from data.document_vectors import ngram_vectors
from models.calibration import stacked_weights
from models.config import from_dict
from models.document_vectors import DocumentVectorsConfig, classes_of_vectors, distinct_ngrams
from models.linear import LinearConfig, fit_linear

SHARES = (0.5, 0.9)  # of the unlabelled texts of each class that join in each round, the surest first
FOLDS = 3
LARGEST_CLASS = 1.2  # times an even share of the unlabelled texts: errors would pile up in one class


def train_committee(description, plans, encoded, held_out, unlabelled, rounds, seeds, stopped):
    """Trains the members, several times with more and more pseudo-labels, and weighs their votes.

    Args:
        description: what `build_classifier` takes, of family "committee".
        plans: `app.members.Plan` of each member but the last, document vectors or a linear classifier.
        encoded: labelled `EncodedExamples`.
        held_out: `EncodedExamples` to stop and to weigh the votes by; None: every label is trained on, and the votes
            are weighed by what members trained on two thirds of them say of the last third.
        unlabelled: `EncodedExamples` whose labels are ignored; may be empty.
        rounds: how often pseudo-labels are given.
        seeds: of each member's training.
        stopped: True when the user asked to stop.

    Returns:
        (the classifier, the history of its first member, dict for the run's config: accuracy, seconds of all trainings,
        the members of the last round).
    """
    seconds = []
    fit_last = _ngram_fitter({**description, **description["model"]["members"][-1]}, [*encoded.rows, *unlabelled.rows])

    def members(training):
        classifier, runs = _train_members(description, plans, training, held_out or training, fit_last, seeds, stopped)
        seconds.extend(run.seconds for run in runs)
        if held_out is not None:
            classifier.get_layer("votes").set_weights([_vote_weights([(classifier, held_out)])])
        return classifier, runs

    if held_out is None:
        folds = _folds(encoded.labels, seeds[0])
        parts = [(members(encoded.take(folds != fold))[0], encoded.take(folds == fold)) for fold in np.unique(folds)]
    classifier, runs = members(encoded)
    if held_out is None:
        weights = _vote_weights(parts)
        classifier.get_layer("votes").set_weights([weights])
    for share in SHARES[: rounds if len(unlabelled) else 0]:
        if stopped():
            break
        with progress_bar("label the unlabelled texts", len(unlabelled), "texts") as advance:
            labels, chosen = surest(outputs(one_graph(classifier), unlabelled, advance), share)
        console.print(f"{len(chosen):,} of {len(unlabelled):,} unlabelled texts join the training")
        classifier, runs = members(EncodedExamples([*encoded.rows, *(unlabelled.rows[n] for n in chosen)],
                                                   np.concatenate([encoded.labels, labels[chosen]])))
        if held_out is None:  # having learned the same labels, the members have come closer to one another
            classifier.get_layer("votes").set_weights([(weights + weights.mean()) / 2])
    judged = encoded if held_out is None else held_out
    right = outputs(one_graph(classifier), judged).argmax(axis=1) == judged.labels
    return classifier, runs[0].history, {
        "validation_accuracy": float(right.mean()), "validation_accuracy_sd": 0.0, "seconds": float(sum(seconds)),
        "seeds": [{"seed": run.seed, **run.validation, "notes": run.notes} for run in runs]}


def _folds(labels, seed):
    """Deals each class out to `FOLDS` folds, or as many as the smallest class has examples: int (N,)."""
    sizes = np.bincount(labels)
    smallest = sizes[sizes > 0].min()
    if smallest < 2:
        raise ValueError("to weigh the members of a committee takes two labelled texts of each class, or --validation. "
                         f"Received: a class of {smallest}")
    order = np.random.default_rng(seed).permutation(len(labels))
    folds = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        folds[members] = np.arange(len(members)) % min(FOLDS, smallest)
    return folds


def _train_members(description, plans, training, held_out, fit_last, seeds, stopped):
    """Returns a committee whose votes count the same, and the members' `Finetuned`."""
    trained = [{**description, **member} for member in description["model"]["members"][:-1]]
    runs = [train(member, plan, training, held_out, seed, stopped)
            for member, plan, seed in zip(trained, plans, seeds)]
    weights = plans[0].class_weights
    last = fit_last(training, None if weights is None else weights[training.labels])
    classifier = build_classifier(description)
    for place, values in enumerate([*(run.weights for run in runs), last.get_weights()]):
        classifier.get_layer(f"member_{place}").set_weights(values)
    return classifier, runs


def _vote_weights(judged):
    """judged: pairs of a committee and the examples that say how much its members' votes should count."""
    members = [layer.name for layer in judged[0][0].layers if layer.name.startswith("member_")]
    logits = [np.concatenate([outputs(one_graph(committee.get_layer(name)), examples)
                              for committee, examples in judged]) for name in members]
    weights = stacked_weights(log_softmax(logits, axis=2), np.concatenate([examples.labels for _, examples in judged]))
    console.print("votes: " + ", ".join(f"{weight:.2f}" for weight in weights))
    return weights


def surest(logits, share):
    """Which texts are given which labels: of each class the surest.

    Args:
        logits: float (N, C), log-probabilities up to a constant.
        share: of the texts given to a class that are chosen.

    Returns:
        int32 (N,) the best classes, int64 (M,) the numbers of the chosen texts in ascending order.
    """
    confidence = softmax(logits, axis=1).max(axis=1)
    labels = logits.argmax(axis=1).astype(np.int32)
    most = LARGEST_CLASS * len(logits) / logits.shape[1]
    chosen = []
    for label in range(logits.shape[1]):
        given = np.flatnonzero(labels == label)
        chosen.append(given[np.argsort(-confidence[given], kind="stable")][: int(min(share * len(given), most))])
    return labels, np.sort(np.concatenate(chosen))


def _ngram_fitter(member, rows):
    """What fits the committee's last member, the one without gradient descent.

    Args:
        member: what `build_classifier` takes.
        rows: token ids of all texts, labelled or not.

    Returns:
        `fit(examples, sample weights or None)` → the fitted model.
    """
    if member["family"] == "linear":
        config = from_dict(LinearConfig, member["model"])

        def fit(examples, sample_weight):
            model = build_classifier(member)
            fit_linear(model, _distinct_ngrams(config, examples.rows), examples.labels, sample_weight)
            return model

        return fit
    config = from_dict(DocumentVectorsConfig, member["model"])
    texts = _distinct_ngrams(config, rows)
    dim = min(config.dim, len(texts))
    vectors, information = ngram_vectors(texts, config.vocabulary_size + config.num_buckets, dim)
    vectors = np.pad(vectors, ((0, 0), (0, config.dim - dim)))

    def fit(examples, sample_weight):
        model = build_classifier(member)
        model.get_layer("ngram_vectors").set_weights([vectors])
        model.get_layer("ngram_information").set_weights([information[:, None]])
        features = outputs(one_graph(keras.Model(model.input, model.get_layer("document_vector").output)), examples)
        model.get_layer("classes").set_weights(
            classes_of_vectors(features, examples.labels, config.num_classes, sample_weight))
        return model

    return fit


def _distinct_ngrams(config, rows):
    """The numbers of the distinct n-grams of each text: a list of int (n,)."""
    encoded, texts = EncodedExamples(rows, np.zeros(len(rows), np.int32)), []
    with progress_bar("n-grams", len(rows), "texts") as advance:
        for start in range(0, len(rows), BATCH_SIZE):
            batch = encoded.batch(range(start, min(start + BATCH_SIZE, len(rows))))
            ids, segments = (tf.constant(batch[name]) for name in ("token_ids", "segment_ids"))
            numbers = distinct_ngrams(ids, segments, config).numpy()
            texts += [row[row >= 0] for row in numbers]
            advance(len(numbers))
    return texts
