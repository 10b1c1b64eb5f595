"""What is read of the words of a text, the model's optimum, and extracts against a search written out."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from rouge_score.rouge_scorer import RougeScorer

from app.extractor import Extractor, build_model
from data.documents import MOST_COUNTED, count_in_targets, examples, read_documents
from data.selection import UNIT, extracts
from data.sentences import bare_words, cut_sentences, cut_words
from models.extractor import INVERSE_REGULARISATION, fit_extractor

TEXTS = ["The cat saw 2 cats. A Cat ran, the dog sat.", "", "很好，看NBA。好！"]


def some_texts(count, seed=0, sentences=6, longest=9, num_words=30):
    """Texts of few words, so that words repeat."""
    random = np.random.default_rng(seed)
    words = [f"w{number}" for number in range(num_words)]
    return [" ".join(" ".join(random.choice(words, random.integers(1, longest))).capitalize() + "."
                     for _ in range(random.integers(1, sentences))) for _ in range(count)]


def test_facts_by_hand():
    documents = read_documents(tf.constant(TEXTS))
    bare = bare_words(documents.words.values).numpy().tolist()
    numbers = documents.word_number.numpy()
    facts = {name: values.numpy() for name, values in documents.facts.items()}

    def of(word, text):
        texts = tf.gather(documents.text_of_sentence, documents.sentence_of_word).numpy()
        number = next(n for n, found, t in zip(numbers, bare, texts) if (found.decode(), t) == (word, text))
        return {name: int(facts[name][number]) for name in ("position", "sentence", "count", "form", "length")}

    assert of("the", 0) == {"position": 0, "sentence": 0, "count": 2, "form": 1, "length": 11}
    assert of("cat", 0) == {"position": 1, "sentence": 0, "count": 2, "form": 2, "length": 11}
    assert of("2", 0) == {"position": 3, "sentence": 0, "count": 1, "form": 3, "length": 11}
    assert of("dog", 0) == {"position": 9, "sentence": 1, "count": 1, "form": 0, "length": 11}
    assert of("好", 2) == {"position": 1, "sentence": 0, "count": 2, "form": 0, "length": 5}
    assert of("nba", 2) == {"position": 3, "sentence": 0, "count": 1, "form": 2, "length": 5}
    counted, lengths = count_in_targets(documents, tf.constant(["the, THE cat bird", "cat", "看，看!"]))
    by_word = dict(zip([(int(t), w) for t, w in zip(
        tf.gather(documents.text_of_sentence, documents.sentence_of_word), bare)], counted[numbers]))
    assert lengths.tolist() == [4, 1, 2] and by_word[0, b"the"] == 2 and by_word[0, b"cat"] == 1
    assert by_word[2, "看".encode()] == 2 and counted.sum() == 5
    learned, in_target = examples(documents, counted)
    assert len(in_target) == sum(facts["count"][n] for n in set(numbers[documents.counts.numpy()])) == 16
    assert in_target.sum() == 4  # the, the, cat; 看 stands only once in its text
    assert {*learned} == {*facts, "occurrence"} and learned["occurrence"].max() == 2


def test_the_model_is_at_its_optimum():
    documents = read_documents(tf.constant(some_texts(40)))
    facts, _ = examples(documents, np.zeros(len(documents.keys), int))
    in_target = np.random.default_rng(0).random(len(facts["bucket"])) < np.where(facts["sentence"] == 0, 0.8, 0.2)
    model = build_model()
    np.testing.assert_array_equal(model(facts), np.zeros(len(in_target)))
    fit_extractor(model, facts, in_target)
    chance = tf.sigmoid(model(facts)).numpy()
    assert chance[facts["sentence"] == 0].mean() > 0.7 and chance[facts["sentence"] > 0].mean() < 0.3
    assert chance.mean() == pytest.approx(in_target.mean(), abs=1e-3)
    # Where the gradient of C × the sum of losses + |weights|² / 2 is 0.
    rows = tf.keras.Model(model.input, model.get_layer("rows").output)(facts).numpy()
    weights = model.get_layer("weights").get_weights()[0][:, 0]
    residuals = np.zeros_like(weights)
    np.add.at(residuals, rows, (in_target - chance)[:, None])
    np.testing.assert_allclose(weights, INVERSE_REGULARISATION * residuals, atol=0.02)
    assert np.abs(weights).max() > 0.5
    assert len(np.unique(rows[:, 0])) == 30 and rows.max() < len(weights)
    for wrong in (np.zeros_like(in_target), np.ones_like(in_target)):
        with pytest.raises(ValueError, match="must share some words"):
            fit_extractor(model, facts, wrong)


def words_of(text):
    return [word for word in bare_words(cut_words(tf.constant([text])).values).numpy().tolist() if word]


def test_who_knows_the_target_finds_what_rouge_finds():
    texts, targets = some_texts(30, num_words=12), some_texts(30, seed=1, sentences=4, num_words=12)
    found = Extractor(build_model(), 30, 0.0, False).best(texts, targets)
    scorer = RougeScorer(["rouge1"])
    for text, target, found_extract in zip(texts, targets, found):
        sentences = [sentence.decode() for sentence in cut_sentences(tf.constant([text])).values.numpy()]
        chosen, reached = set(), -1.0
        if len(words_of(text)) <= len(words_of(target)):
            assert found_extract == text
            continue
        while True:
            together = {number: " ".join(sentences[n] for n in sorted({*chosen, number}))
                        for number in range(len(sentences)) if number not in chosen
                        and not {*words_of(sentences[number])} <= {*words_of(" ".join(sentences[n] for n in chosen))}}
            if not together:
                break
            scores = {number: scorer.score(target, extract)["rouge1"].fmeasure for number, extract in together.items()}
            best = max(scores, key=lambda number: (round(scores[number], 9), -number))
            if scores[best] <= reached + 1e-9:
                break
            chosen.add(best)
            reached = scores[best]
        assert found_extract == " ".join(sentences[number] for number in sorted(chosen))


def some_worth(documents, seed=0):
    """Falling chances for every word: int64 (U, MOST_COUNTED)."""
    random = np.random.default_rng(seed)
    chances = np.sort(random.integers(0, UNIT, (len(documents.keys), MOST_COUNTED)), axis=1)[:, ::-1]
    return chances.astype(np.int64)


def test_the_best_part_against_all_parts():
    texts = ["We came, in May, to see w1 w1 w2: the old house - that 20-year-old was red",
             "one two the three four five", "a, b, c. D e f, g h the the i", "他说，今天，天气很好，我们去看"]
    documents = read_documents(tf.constant(texts))
    worth = some_worth(documents)
    words, numbers = documents.words.values.numpy().tolist(), documents.word_number.numpy()
    sentence = documents.sentence_of_word.numpy()
    text = tf.gather(documents.text_of_sentence, sentence).numpy()
    is_word = [bool(bare) for bare in bare_words(words).numpy()]
    often = [word.strip() in (b"in", b"to", b"the", b"that", b"was") for word in words]
    frequent = np.zeros(len(documents.keys), bool)
    frequent[numbers] = often
    found = extracts(documents, tf.constant(worth), tf.constant(frequent), tf.fill([4], tf.constant(3.0, tf.float64)),
                     True).numpy()
    last_of_clause = [n + 1 == len(words) or sentence[n] != sentence[n + 1] or word.strip().decode()[-1] in ",:-，"
                      and word[-3:].decode("utf-8", "ignore")[-1] in " ，" for n, word in enumerate(words)]
    begins = [n for n in range(len(words)) if n == 0 or last_of_clause[n - 1] or words[n - 1][-1:] == b" "
              and often[n - 1] and not often[n]]
    ends = [n for n in range(len(words))
            if last_of_clause[n] or words[n][-1:] == b" " and not often[n] and often[n + 1]]
    for number in range(4):
        scores = {}
        for first in begins:
            for last in range(first, min(first + 6, len(words))):
                if text[first] == number and sentence[first] == sentence[last] and last in ends:
                    part = [n for n in range(first, last + 1) if is_word[n]]
                    shared = sum(worth[numbers[n], sum(numbers[m] == numbers[n] and sentence[m] == sentence[n]
                                                       for m in range(n))] for n in part)
                    scores[first, last] = 2 * shared / UNIT / (len(part) + 3)
        first, last = max(scores, key=scores.get)
        assert found[number].decode() == b"".join(words[first : last + 1]).decode().strip(" ,:-，")


@pytest.mark.parametrize("in_parts", [False, True])
def test_an_extract_depends_on_no_other_text(in_parts):
    texts = [*some_texts(12), "", "!!!", "看这，好。" * 20, "word " * 300, "One. One. One. Two. One."]
    model = build_model()
    weights = model.get_layer("weights")
    weights.set_weights([np.random.default_rng(0).normal(0, 0.5, (weights.input_dim, 1))])
    one = Extractor(model, len(texts), 6.5, in_parts)
    together = one.write(texts)
    assert together == list(itertools.chain.from_iterable(one.write([text]) for text in texts)) == [
        text.decode() for text in one.texts(tf.constant(texts)).numpy()]
    assert together[12:14] == ["", "!!!"] and together[14] == "看这，好。"
    assert together[15] == " ".join(["word"] * (13 if in_parts else 300))
    for text, extract in zip(texts, together):
        assert extract in text if in_parts else all(sentence.decode() in text for sentence in
                                                    cut_sentences(tf.constant([extract])).values.numpy())
    assert one.write([]) == [] and one.texts(tf.constant([], tf.string)).shape == (0,)
