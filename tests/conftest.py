"""What many tests need, made once a session: a tokenizer, a prepared corpus, a pretrained encoder, a classifier."""

import csv
import json
import os

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SUBJECTS = "the film|this hotel|my new phone|that long book|her song|our dinner|the second game|这部电影|这家酒店|这款手机|这本书"
ENDS = "today|in the city|for the whole family|again and again|at night|without any doubt|昨天|一直|真的|在城里|和朋友们"
OPINIONS = {"pos": "was wonderful|made me happy|is great fun|works very well|非常好|质量很好|我很喜欢|值得推荐",
            "neg": "was terrible|made me angry|is a waste of money|broke at once|非常差|质量很差|我不喜欢|太失望了"}


def some_sentences(count, seed=0):
    """(text, "pos" or "neg") pairs, every text different, half of them in Chinese or mixed."""
    random = np.random.default_rng(seed)
    sentences = {}
    while len(sentences) < count:
        label = str(random.choice(["pos", "neg"]))
        parts = [random.choice(words.split("|")) for words in (SUBJECTS, OPINIONS[label], ENDS)]
        sentences[" ".join(parts)] = label
    return list(sentences.items())


BY_HEART = ("the film was wonderful and we laughed", "this hotel is close to the old station", "这部电影非常好看我很喜欢",
            "my new phone broke after two days")


def pytest_collection_modifyitems(items):
    """The longest files first: with several processes the last of them would keep the others waiting."""
    longest = [f"test_{name}" for name in ("notebooks", "readme", "demo", "pretrain", "fuzzed_api", "accelerator")]
    items.sort(key=lambda item: item.path.stem not in longest)


@pytest.fixture
def once(monkeypatch):
    """A few steps teach nothing, which is no reason to start again."""
    monkeypatch.setattr("models.finetuning.RESTARTS", 0)


@pytest.fixture(scope="session")
def sentences():
    """300 (text, "pos" or "neg")."""
    return some_sentences(300)


@pytest.fixture(scope="session")
def tokenizer(sentences):
    """About 300 pieces, English and Chinese."""
    from data.vocabulary import train_tokenizer

    return train_tokenizer([text for text, _ in sentences], 300)


@pytest.fixture(scope="session")
def saved_tokenizer(tokenizer, tmp_path_factory):
    """A tokenizer.json."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(path)
    return path


@pytest.fixture(scope="session")
def corpus_files(sentences, tmp_path_factory):
    """A .txt and a .jsonl with a few hundred short documents."""
    folder = tmp_path_factory.mktemp("text")
    texts = [f"{first} {second}" for (first, _), (second, _) in zip(sentences, reversed(sentences))]
    (folder / "one.txt").write_text("\n".join(texts[:150]) + "\n", encoding="utf-8")
    (folder / "two.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts[150:]),
                                      encoding="utf-8")
    return str(folder / "one.txt"), str(folder / "two.jsonl")


@pytest.fixture(scope="session")
def prepared_corpus(corpus_files, tokenizer, tmp_path_factory):
    """A folder made by `prepare`, rows of 32 tokens."""
    from app.prepare import prepare

    folder = tmp_path_factory.mktemp("corpora")
    tokenizer.save(folder / "tokenizer.json")
    prepare(corpus_files, to=folder / "tiny", tokenizer=folder / "tokenizer.json", sequence_length=32,
            validation_share=0.1, near_duplicates=1.0)
    return folder / "tiny"


@pytest.fixture(scope="session")
def pretrained_run(prepared_corpus, tmp_path_factory):
    """A run folder made by `pretrain`: 2 layers × 16, 6 steps."""
    from app.pretrain import pretrain

    folder = tmp_path_factory.mktemp("runs") / "pretrained"
    pretrain(prepared_corpus, to=folder, steps=6, num_layers=2, hidden_dim=16, num_heads=2, batch_size=8)
    return folder


@pytest.fixture(scope="session")
def labelled_csv(sentences, tmp_path_factory):
    """120 rows with the columns text and label ("pos" or "neg")."""
    path = tmp_path_factory.mktemp("labelled") / "reviews.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(sentences[:120])
    return path


@pytest.fixture(scope="session")
def classifier_run(pretrained_run, labelled_csv, tmp_path_factory):
    """A run folder made by `finetune` from `pretrained_run`, for sentiment."""
    from app.finetune import finetune

    folder = tmp_path_factory.mktemp("runs") / "classifier"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.finetuning.RESTARTS", 0)
        finetune(data=(str(labelled_csv),), to=folder, task="sentiment", backbone=str(pretrained_run), sequence_length=32,
                 num_epochs=1, minimum_steps=12, batch_size=16)
    return folder


@pytest.fixture(scope="session")
def exported(classifier_run, tmp_path_factory):
    """`classifier_run` as export/sentiment/1, and its operations; export/models.config lists another model, "mine"."""
    from app.export import export

    folder = tmp_path_factory.mktemp("export")
    (folder / "models.config").write_text('model_config_list {\n  config { name: "mine" base_path: "/m" }\n}\n')
    operations = export(classifier_run, to=folder / "sentiment" / "1")
    return folder / "sentiment" / "1", operations


@pytest.fixture(scope="session")
def exported_int8(classifier_run, tmp_path_factory):
    """`classifier_run` as a SavedModel with int8 weights, and its operations."""
    from app.export import export

    folder = tmp_path_factory.mktemp("export_int8") / "1"
    return folder, export(classifier_run, to=folder, int8=True)


@pytest.fixture(scope="session")
def gpt_run(tmp_path_factory):
    """A GPT, 2 layers × 32, rows of 64, that knows the texts of BY_HEART."""
    from app.prepare import prepare
    from app.pretrain import pretrain

    folder = tmp_path_factory.mktemp("gpt")
    (folder / "texts.txt").write_text("\n".join(BY_HEART), encoding="utf-8")
    (folder / "validation.txt").write_text("a text to measure by", encoding="utf-8")
    prepare((str(folder / "texts.txt"),), validation=(str(folder / "validation.txt"),), to=folder / "corpus",
            vocabulary_size=200, sequence_length=64)
    pretrain(folder / "corpus", to=folder / "run", objective="clm", steps=150, num_layers=2, hidden_dim=32, num_heads=2,
             batch_size=4, learning_rate=1e-2)
    return folder / "run"
