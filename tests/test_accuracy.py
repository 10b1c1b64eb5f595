"""The accuracy benchmark at a tiny size: its text, its linear models, a task measured once and not again."""

import gzip
import json
import sys

from benchmarks import accuracy

WIKITEXT = """
 = A heading =

 The <unk> 's price ( in 1 @.@ 5 million @-@ dollar notes ) fell , they did n't say why .
"""


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))


def test_wikitext_reads_like_text(tmp_path):
    with gzip.open(tmp_path / "wiki.gz", "wt", encoding="utf-8") as file:
        file.write(WIKITEXT)
    path = accuracy.plain_wikitext(tmp_path / "wiki.gz", tmp_path / "wiki.txt")
    assert path.read_text(encoding="utf-8") == \
        "The's price (in 1.5 million-dollar notes) fell, they didn't say why.\n"


def test_linear_models_learn_which_words_matter():
    train = [{"text": f"the {word} film number{n}", "label": label}
             for n in range(30) for word, label in (("good", 1), ("bad", 0))]
    test = [{"text": "the bad one"}, {"text": "a good one"}]
    predictions = accuracy.linear_models(train, test, chinese=False)
    assert {kind: labels.tolist() for kind, labels in predictions.items()} == {"tfidf": [0, 1], "nbsvm": [0, 1]}


def test_a_task_is_measured_once(sentences, tmp_path, monkeypatch, capsys):
    for name in ("sst2", "imdb", "trec", "agnews", "sms"):
        write_rows(tmp_path / name / "train.jsonl.gz", sentences[:200])
        write_rows(tmp_path / name / "test.jsonl.gz", sentences[200:])
    with gzip.open(tmp_path / "imdb" / "unlabelled.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write('{"text": "a review that nobody has judged"}\n')
    (tmp_path / "wikitext2").mkdir()
    with gzip.open(tmp_path / "wikitext2" / "wiki.train.tokens.gz", "wt", encoding="utf-8") as file:
        file.write(WIKITEXT)
    monkeypatch.setattr(accuracy, "SIZE", {"num_layers": 1, "hidden_dim": 16, "num_heads": 1})
    monkeypatch.setitem(accuracy.ALL_LABELS, "trec", {"sequence_length": 32, "num_epochs": 2})
    measured = []
    measure = accuracy.measure
    monkeypatch.setattr(accuracy, "measure", lambda *arguments: measured.append(arguments[1:4]) or measure(*arguments))
    figures = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["accuracy", "--data", str(tmp_path), "--work", str(tmp_path / "work"),
                                      "--minutes", "0.02", "--runs", "1", "--to", str(figures), "trec"])
    for _ in range(2):
        accuracy.main()
    assert measured == [("trec", None, 0)]
    results = json.loads(figures.read_text(encoding="utf-8"))
    [run] = results["tasks"]["trec"]
    assert run["accuracy"] > 0.7 and len(run["members"]) == 3 and max(run["members"]) > 0.7
    assert run["nbsvm"]["accuracy"] > 0.9 and run["tfidf"]["macro_f1"] > 0.9
    assert run["pretraining"]["validation_loss"] > 0
    assert f"| trec | 1 | {100 * run['accuracy']:.1f} |" in figures.with_suffix(".md").read_text(encoding="utf-8")
    capsys.readouterr()


def test_few_labels_are_the_published_draws(tmp_path):
    (tmp_path / "few_labels.json").write_text('{"imdb": {"100": [[3, 1], [2, 0]]}}', encoding="utf-8")
    assert accuracy.draws(tmp_path, "imdb-100") == [[3, 1], [2, 0]]
    assert accuracy.draws(tmp_path, "imdb") == [None] * 3
