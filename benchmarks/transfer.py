"""Does pretraining pay with few labels? The pretrained encoder beside the same encoder from scratch and TF-IDF + LR.

    python -m benchmarks.transfer --data FOLDER --set imdb --minutes 30

Pretrains on the set's training texts without their labels (and imdb's unlabelled ones; texts of the test split taken
out), then trains on the five published draws of labels (few_labels.json) and measures on the whole test split.
Nothing is held out of a draw and nothing is tuned on the test split. TF-IDF + LR is measured on the same draws. Of
imdb every fifth test review is read, as in the published bar.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from app.evaluate import evaluate
from app.finetune import finetune
from app.prepare import prepare
from app.pretrain import pretrain
from app.terminal import load_tensorflow
from benchmarks.baseline import CHINESE
from benchmarks.peers import RESULTS, read

SIZE = {"num_layers": 4, "hidden_dim": 128}


def tfidf(train, test, chinese):
    """Test accuracy of TF-IDF (words and pairs, or 1 to 3 characters) and logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(ngram_range=(1, 3) if chinese else (1, 2), analyzer="char" if chinese else "word",
                                 sublinear_tf=True, max_features=500_000)
    features = vectorizer.fit_transform([row["text"] for row in train])
    model = LogisticRegression(C=10, max_iter=300).fit(features, [row["label"] for row in train])
    return model.score(vectorizer.transform([row["text"] for row in test]), [row["label"] for row in test])


def write(rows, path):
    """Writes rows as PATH.jsonl; returns its name."""
    path = path.with_suffix(".jsonl")
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the open sets")
    parser.add_argument("--set", default="imdb", help="imdb, thucnews, agnews, sst2 or online_shopping")
    parser.add_argument("--labels", default="500", help="100, 500 or 1000")
    parser.add_argument("--minutes", type=float, default=30, help="of pretraining")
    parser.add_argument("--work", type=Path, default=Path("runs"), help="where corpus and backbone go, and are found")
    arguments = parser.parse_args()
    load_tensorflow()
    folder, name = arguments.data / arguments.set, arguments.set
    # Tokens of a segment and of a text; steps of fine-tuning, ten passes or twenty.
    length, longest, steps = (64, 64, 300) if name == "thucnews" else (128, 256, 150)
    corpus, backbone = arguments.work / f"{name}-corpus", arguments.work / f"{name}-{arguments.minutes:g}min"
    unlabelled = [str(path) for path in (folder / "train.jsonl.gz", folder / "unlabelled.jsonl.gz") if path.exists()]
    prepare(tuple(unlabelled), held_out=(str(folder / "test.jsonl.gz"),), to=corpus, sequence_length=length)
    if not (backbone / "config.json").exists():
        pretrain(corpus, to=backbone, minutes=arguments.minutes, **SIZE)

    train, test = read(folder / "train.jsonl.gz"), read(folder / "test.jsonl.gz")
    test_texts = {row["text"] for row in test}
    test = test[::5] if name == "imdb" else test
    draws = json.loads((arguments.data / "few_labels.json").read_text(encoding="utf-8"))[name][arguments.labels]
    results = {"scratch": [], "pretrained": [], "tfidf": []}
    for number, draw in enumerate(draws):
        rows = [train[n] for n in draw if train[n]["text"] not in test_texts]
        results["tfidf"].append(tfidf(rows, test, name in CHINESE))
        with tempfile.TemporaryDirectory() as temporary:
            few, held_out = (write(part, Path(temporary) / name) for part, name in ((rows, "few"), (test, "test")))
            for kind in ("scratch", "pretrained"):
                run = Path(temporary) / kind
                finetune(data=(few,), validation_share=0, to=run, sequence_length=longest, seed=number,
                         minimum_steps=steps, backbone=str(backbone), fresh=kind == "scratch")
                results[kind].append(evaluate(run, data=(held_out,), bootstrap_samples=0)["accuracy"])
        print({kind: [round(value, 4) for value in values] for kind, values in results.items()}, flush=True)
    summary = {kind: {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)), "draws": values}
               for kind, values in results.items()}
    target = RESULTS / f"transfer-{name}-{arguments.labels}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"minutes": arguments.minutes, **summary}, indent=2) + "\n", encoding="utf-8")
    for kind, values in summary.items():
        print(f"{name}, {arguments.labels} labels, {kind}: {values['mean']:.4f} ± {values['sd']:.4f}")


if __name__ == "__main__":
    main()
