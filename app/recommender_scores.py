"""A recommender and what people chose in, how high it ranks each user's last item out, beside simpler rankings."""

import dataclasses

import numpy as np
import tensorflow as tf
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer

from app.recommender import load_recommender
from app.terminal import console, show_report, warn
from data.histories import encode_titles
from data.interactions import long_enough, read_interactions
from data.sources import SkippedRows, fingerprint
from models.ranking import choices, item_neighbours, places, popularity, ranking_metrics
from models.run_folder import write_json

# Of 5 to all the best on MovieLens 100k, the last item but one of each user: NDCG@10 .073, .024.
NEIGHBOURS = {"item_knn": 10, "title_knn": 20}
NAMES = {"recommender": "this recommender", "popularity": "the most popular", "item_knn": "item-KNN",
         "title_knn": "title-KNN"}
BATCH_USERS = 256  # ranked at a time


def evaluate_recommender(run, identity, json_path, max_skipped):
    """What `app.evaluate.evaluate` does with a recommender: ranks, measures, writes the JSON, shows it.

    Leave-one-out: the last item of each user of at least 3 is ranked among all items, those the user already has left
    out, from all that come before it. What `simple_scorers` know are the choices before the last two, of items that the
    recommender's training met. Where users' last items are others, those are measured once more, among all items and
    among such items alone: there popularity, for which they are equal, is chance.

    Args:
        run: its folder.
        identity: dict with "data" and "items", as `evaluate` takes them.
        json_path: the file to write.
        max_skipped: as `evaluate` takes it.

    Returns:
        What the JSON file holds: the run, `identity`, counts, {"hr", "ndcg"} at 10 of each ranking, and "unseen": the
        same for the items that training did not meet, or None.
    """
    recommender, options = load_recommender(run)
    skipped, columns = SkippedRows(max_skipped), options["columns"]
    if not identity["items"]:
        columns = {**columns, "title": None, "genres": None}  # may have stood in the items' table
    if [*map(fingerprint, identity["data"])] != options["data"]:
        warn("this is not the data that the run was trained on: the figures are too high if last items were trained on")
    interactions, short = long_enough(read_interactions(
        identity["data"], skipped, items=identity["items"], columns=columns))
    catalogue = recommender.catalogue.extended(interactions)
    recommender = dataclasses.replace(recommender, catalogue=catalogue)
    histories, size, num_known = catalogue.rows(interactions.histories), len(catalogue.items), catalogue.num_known
    scorers = {"recommender": recommender.scores, **simple_scorers(
        [history[:-2][history[:-2] < num_known] for history in histories], size, title_features(recommender))}
    rows = np.arange(size)
    evaluation = {"run": str(run), **identity, "n_users": len(histories), "n_items": size - 1, "too_short": short,
                  "repeated": interactions.repeated, "skipped": dict(skipped.counts),
                  **rankings(scorers, histories, rows > 0), "unseen": None}
    if unseen := [history for history in histories if history[-1] >= num_known]:
        evaluation["unseen"] = {"n_users": len(unseen), "n_items": size - num_known,
                                "among_all": rankings(scorers, unseen, rows > 0),
                                "among_unseen": rankings(scorers, unseen, rows >= num_known)}
    write_json(json_path, evaluation)
    _show(evaluation, skipped, json_path)
    return evaluation


def rankings(scorers, histories, candidates):
    """HR@10 and NDCG@10 of each history's last item, ranked from those before it.

    Args:
        scorers: {name: function of U int arrays of rows to scores (U, R)}.
        histories: int arrays of rows, at least one.
        candidates: bool (R,), the rows that are ranked; a user's earlier items are not.

    Returns:
        {name: what `models.ranking.ranking_metrics` returns}.
    """
    found = {name: [] for name in scorers}
    for start in range(0, len(histories), BATCH_USERS):
        part = histories[start : start + BATCH_USERS]
        before, targets = [history[:-1] for history in part], np.array([history[-1] for history in part])
        excluded = ~candidates | (choices(before, len(candidates)).toarray() > 0)  # (U, R)
        for name, scorer in scorers.items():
            found[name].append(places(scorer(before), targets, excluded))
    return {name: ranking_metrics(*map(np.concatenate, zip(*parts))) for name, parts in found.items()}


def simple_scorers(training, num_items, features):
    """What a recommender must beat: the most popular items, and two kinds of neighbours of those in the history.

    Args:
        training: int arrays of rows, what each user chose.
        num_items: R.
        features: sparse (F, R), what the items' titles say.

    Returns:
        {"popularity", "item_knn", "title_knn": scorer as for `rankings`}.
    """
    chosen = choices(training, num_items)
    counts = popularity(chosen)

    def neighbours(name, columns):
        similar = item_neighbours(columns, NEIGHBOURS[name])
        return lambda before: (choices(before, num_items) @ similar).toarray()

    return {"popularity": lambda before: np.tile(counts, (len(before), 1)),
            "item_knn": neighbours("item_knn", chosen), "title_knn": neighbours("title_knn", features)}


def title_features(recommender):
    """TF-IDF of the pieces of each title, sparse (V, R)."""
    title_ids = encode_titles(recommender.tokenizer, tf.constant(recommender.catalogue.texts),
                              recommender.title_length).numpy()
    rows, columns = np.nonzero(title_ids)
    counts = sparse.csr_matrix((np.ones(len(rows)), (rows, title_ids[rows, columns])),
                               (len(title_ids), recommender.tokenizer.vocabulary_size))
    return TfidfTransformer().fit_transform(counts).T


def _show(evaluation, skipped, json_path):
    parts = [(f"The last item of {evaluation['n_users']:,} users among {evaluation['n_items']:,} items", evaluation)]
    if unseen := evaluation["unseen"]:
        parts += [(f"Of these, {unseen['n_users']:,} that training did not meet, among all items", unseen["among_all"]),
                  (f"The same, among the {unseen['n_items']:,} items that it did not meet", unseen["among_unseen"])]
    for title, ranked in parts:
        console.print(f"{title}:", markup=False)
        for name, shown in NAMES.items():
            console.print(f"    {shown:18} HR@10 {ranked[name]['hr']:.4f}   NDCG@10 {ranked[name]['ndcg']:.4f}")
    if evaluation["too_short"] or evaluation["repeated"]:
        console.print(f"Left out: {evaluation['too_short']:,} users of fewer than 3 items, {evaluation['repeated']:,} "
                      "choices of an item chosen before.")
    show_report(skipped, json_path)
