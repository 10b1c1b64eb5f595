"""How high a recommender ranks the film that somebody rates next, MovieLens 100k, beside simpler rankings.

    python -m benchmarks.recommendation --data FOLDER [--seeds N] [--folds N]

Every rating is an interaction; of each user the last film tests, the last but one was chosen by, the rest trains. The
film is ranked among all that the user has not rated before; HR@10 and NDCG@10. Then films that training has not met:
the films fall into ten parts at random; all ratings of one part are taken away before training, and the last films of
users that are among the unmet ones are ranked, among all films and among the unmet ones alone. Popularity, to which
those are equal, is chance there: equal scores count as the mean over all their orders. The simpler rankings know what
the recommender's training knew. Figures that are in the file already are not measured again.
"""

import argparse
import csv
import gzip
import json
import tempfile
from pathlib import Path

import numpy as np

from app.evaluate import evaluate
from app.recommend import recommend
from app.terminal import load_tensorflow
from benchmarks import peers

PARTS = 10  # of the films
RANKINGS = {"recommender": "fromzero", "popularity": "most popular", "item_knn": "item-KNN", "title_knn": "title-KNN"}


def write_tables(source, folder, without=()):
    """MovieLens 100k as tables.

    Args:
        source: the folder with u.data.gz, u.item and u.genre.
        folder: where ratings.csv (user, item, time) and films.csv (item, title, genres) go.
        without: items whose ratings are left out.

    Returns:
        (names of the two files, the items in the order of u.item).
    """
    lines = (source / "u.genre").read_text(encoding="latin-1").split()
    genres = [line.rpartition("|")[0] for line in lines]
    films = [line.split("|") for line in (source / "u.item").read_text(encoding="latin-1").splitlines()]
    ratings, titles = folder / "ratings.csv", folder / "films.csv"
    with open(titles, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("item", "title", "genres"), *(
            (film[0], film[1], " ".join(genre for genre, flag in zip(genres, film[5:], strict=True) if flag == "1"))
            for film in films)])
    with gzip.open(source / "u.data.gz", "rt", encoding="utf-8") as rows:
        rows = [line.split("\t") for line in rows.read().splitlines()]
    left_out = set(without)
    with open(ratings, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("user", "item", "time"), *(
            (user, item, time) for user, item, _, time in rows if item not in left_out)])
    return str(ratings), str(titles), [film[0] for film in films]


def measure(source, seed, part=None):
    """Trains and tests once.

    Args:
        seed: of the training.
        part: of the films, whose ratings are taken away before training; None for none.

    Returns:
        What `app.evaluate.evaluate` returns, less the names of temporary files, with "validation" and "minutes".
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "known").mkdir()
        ratings, films, items = write_tables(source, folder)
        order = np.random.default_rng(0).permutation(len(items))
        without = [] if part is None else [items[number] for number in order[part::PARTS]]
        known, _, _ = write_tables(source, folder / "known", without)
        recommend(data=known, items=films, to=folder / "run", seed=seed)
        config = json.loads((folder / "run" / "config.json").read_text(encoding="utf-8"))
        found = evaluate(folder / "run", data=ratings, items=films)
    found = {name: value for name, value in found.items() if name not in ("run", "data", "items", "skipped")}
    return {**found, "validation": {"hr": config["validation_hr"], "ndcg": config["validation_ndcg"]},
            "minutes": config["seconds"] / 60}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the open sets")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=PARTS, help=f"of the {PARTS} parts of the films")
    parser.add_argument("--to", type=Path, default=peers.RESULTS / "recommendation.json", help="where the figures go")
    arguments = parser.parse_args()
    load_tensorflow()
    results = json.loads(arguments.to.read_text(encoding="utf-8")) if arguments.to.exists() else {
        "machine": peers.machine(), "seeds": [], "parts": []}
    source = arguments.data / "movielens_100k"
    for seed in range(len(results["seeds"]), arguments.seeds):
        results["seeds"].append(measure(source, seed))
        peers.save(arguments.to, results, table(results))
    for part in range(len(results["parts"]), arguments.folds):
        results["parts"].append(measure(source, 0, part)["unseen"])
        peers.save(arguments.to, results, table(results))


def summary(runs, ranking, metric):
    """Mean and spread of a figure of several seeds: ".123 ± .004"."""
    values = [run[ranking][metric] for run in runs]
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(set(values)) > 1 else ""
    return f"{np.mean(values):.3f}{spread}".replace("0.", ".")


def over_parts(parts, among, ranking, metric):
    """The mean over the users of all parts."""
    users = [part["n_users"] for part in parts]
    return np.average([part[among][ranking][metric] for part in parts], weights=users)


def table(results):
    """The figures as Markdown."""
    lines = ["| the last film of each user, among all | HR@10 | NDCG@10 |", "|---|---|---|"]
    lines += [f"| {name} | {summary(results['seeds'], ranking, 'hr')} | {summary(results['seeds'], ranking, 'ndcg')} |"
              for ranking, name in RANKINGS.items()]
    if parts := results["parts"]:
        users = sum(part["n_users"] for part in parts)
        lines += ["", f"| films not met in training ({len(parts)} parts, {users} users) | HR@10 among all | NDCG@10 | "
                      "HR@10 among the unmet | NDCG@10 |", "|---|---|---|---|---|"]
        columns = [(among, metric) for among in ("among_all", "among_unseen") for metric in ("hr", "ndcg")]
        for ranking, name in RANKINGS.items():
            figures = [over_parts(parts, among, ranking, metric) for among, metric in columns]
            lines.append(f"| {name} | {' | '.join(f'{figure:.3f}'.removeprefix('0') for figure in figures)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
