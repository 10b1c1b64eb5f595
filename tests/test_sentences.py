"""Texts → sentences and words, English and Chinese, in Python and in a graph alike."""

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from data.sentences import bare_words, cut_sentences, cut_words, join_sentences

TEXTS = {
    "He left. She stayed! Did he? Yes… Nobody knows.": ["He left.", "She stayed!", "Did he?", "Yes…", "Nobody knows."],
    "Mr. Smith paid Rs. 3.5 million to J. K. Rowling in the U.S. on Jan. 5. He left.":
        ["Mr. Smith paid Rs. 3.5 million to J. K. Rowling in the U.S. on Jan. 5.", "He left."],
    "It has 5.2 parts, e.g. Tom has No. 5 of them. No. 6 more. No. He has none.":
        ["It has 5.2 parts, e.g. Tom has No. 5 of them.", "No. 6 more.", "No.", "He has none."],
    "He said so.The woman (32).She left on 3.A day later U.S.A. won at www.a.com or v2.x": [
        "He said so.", "The woman (32).", "She left on 3.", "A day later U.S.A. won at www.a.com or v2.x"],
    '"Go." "Stay," he said. (He stayed.) “Why?” Because. ‘No.’': [
        '"Go."', '"Stay," he said.', "(He stayed.)", "“Why?”", "Because.", "‘No.’"],
    "He said.?I did. ?People know Salman?s fist.? Then it ended": [
        "He said.?", "I did.", "?People know Salman?s fist.?", "Then it ended"],
    "What? no. and then... nothing": ["What? no. and then... nothing"],
    "这部电影很好！我喜欢。“真的吗？”他说。我们走；好……你呢?是的!看NBA，3.5分": [
        "这部电影很好！", "我喜欢。", "“真的吗？”", "他说。", "我们走；", "好……", "你呢?", "是的!", "看NBA，3.5分"],
    "Größe. Été. Öde Orte.\nÜber 5 Meter": ["Größe.", "Été.", "Öde Orte.", "Über 5 Meter"],
    "A title\n \nThe first line\nand the second\u3000one<br /><br>End": [
        "A title", "The first line and the second one", "End"],
    "!!!": ["!!!"], "": [], " \n\n ": [], "one": ["one"],
}


def test_sentences():
    for row, (text, sentences) in zip(cut_sentences(tf.constant(list(TEXTS))).to_list(), TEXTS.items()):
        assert [sentence.decode() for sentence in row] == sentences, text


def test_a_graph_cuts_alike_and_takes_no_texts():
    graph = tf.function(cut_sentences, [tf.TensorSpec([None], tf.string)], autograph=False)
    assert graph(tf.constant(list(TEXTS))).to_list() == cut_sentences(tf.constant(list(TEXTS))).to_list()
    assert graph(tf.constant([], tf.string)).to_list() == []


def test_words_are_the_sentence_again():
    (words,) = cut_words(tf.constant(['"The 20-year-old\'s" 3.5%, naïve café; 看NBA，好。'])).to_list()
    assert [word.decode() for word in words] == [
        '"The ', "20-", "year-", "old'", 's" ', "3.", "5%, ", "naïve ", "café; ", "看", "NBA，", "好", "。"]
    assert [word.decode() for word in bare_words(tf.constant(words)).numpy()] == [
        "the", "20", "year", "old", "s", "3", "5", "naïve", "café", "看", "nba", "好", ""]


@given(st.text(st.sampled_from("abAB1。，.!?… '\"“”\n看é\u0301😀(-"), max_size=60))
@settings(max_examples=50, deadline=None)
def test_nothing_is_lost(text):
    sentences = cut_sentences(tf.constant([text]))
    joined = "".join(sentence.decode() for sentence in sentences.values.numpy())
    assert "".join(joined.split()) == "".join(text.split())
    words = cut_words(sentences.values)
    assert [b"".join(row) for row in words.to_list()] == sentences.values.numpy().tolist()


@pytest.mark.parametrize("text", ["He left. She stayed.", "我喜欢。“真的！”他说。", "One… Two? Three"])
def test_sentences_are_the_text_again(text):
    sentences = cut_sentences(tf.constant([text, ""]))
    joined = join_sentences(sentences.values, sentences.value_rowids(), 2)
    assert [part.decode() for part in joined.numpy()] == [text, ""]
