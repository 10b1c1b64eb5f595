"""The figures in benchmarks/results/ in, the results tables of README.md and README.zh.md out.

    python -m benchmarks.report

Writes between the two markers of each file; a question that has not been measured has no line.
"""

import json
import sys
from pathlib import Path

import numpy as np

from benchmarks import (accuracy, decoder_speed, masked_lm, poems, pretraining_speed, recommendation, serving, summaries,
                        tokenizing, translation)
from benchmarks.peers import HERE, RESULTS

START, END = "<!-- results -->", "<!-- /results -->"
HEADINGS = {"README.md": "| | fromzero | others |", "README.zh.md": "| | fromzero | 其他工具 |"}
MACHINE = {"README.md": "Measured on {}, {} cores, {} GiB: {names}.",
           "README.zh.md": "{names} 测于 {}，{} 核，{} GiB。"}
WRITING = {"write_1": "逐词元生成，单条文本", "write_16": "逐词元生成，16 条文本同时", "gpt": "训练 GPT",
           "seq2seq": "训练编码器–解码器"}
LANGUAGE_MODELS = {"tinyshakespeare": ("tiny Shakespeare, the last tenth, nats a character", "tiny Shakespeare 末十分之一，每字符 nat",
                                       "loss", ".2f"),
                   "wikitext2": ("WikiText-2 test, perplexity of a word", "WikiText-2 测试集，词级困惑度", "word_perplexity", ".0f")}
TRANSLATIONS = {"multi30k": ("Multi30k, English to German, test 2016", "Multi30k 英译德，2016 测试集"),
                "tatoeba_en_zh": ("Tatoeba, English to Chinese", "Tatoeba 英译中"),
                "tatoeba_zh_en": ("Tatoeba, Chinese to English", "Tatoeba 中译英")}
ANSWERS = {"squad": "SQuAD 1.1 dev", "cmrc2018": "CMRC 2018 trial"}
SUMMARIES = {"summary": ("summaries of 60 words", "60 词摘要", "lead3", "the first three sentences"),
             "headline": ("headlines", "标题", "lead1", "the first sentence")}


def lines(results):
    """The lines of the table.

    Args:
        results: {name of a file in results/ without .json: what it holds}.

    Yields:
        ({readme: the question}, our figure, the others' figures).
    """
    if speed := results.get("pretraining_speed"):
        for text, english, chinese in (("rows", "pretraining, full rows of 128, tokens/s", "预训练，128 词元满行，词元/秒"),
                                       ("sentences", "pretraining, sentences, tokens/s without padding",
                                        "预训练，句子，词元/秒（不计填充）")):
            of = {side: pretraining_speed.speed(speed[text][side]) for side in pretraining_speed.NAMES}
            faster = max(pretraining_speed.PEERS, key=of.get)
            yield (_question(english, chinese),
                   f"{of['ours']:,.0f} (× {pretraining_speed.ratio(speed[text], faster):.2f}), "
                   f"AdamW {of['adamw']:,.0f} (× {pretraining_speed.ratio(speed[text], faster, 'adamw'):.2f})",
                   _named(pretraining_speed, of, "{:,.0f}"))
    if masked := results.get("masked_lm"):
        bar, minutes = masked_lm.peer_loss(masked)
        if bar is not None:
            for budget, ours in sorted(masked["ours"].items(), key=lambda item: float(item[0])):
                yield (_question(f"held-out masked-LM loss, {budget} minutes of ours", f"留出集掩码损失，本项目训练 {budget} 分钟"),
                       f"{ours['evaluations'][-1]['loss']:.3f}", f"transformers {bar:.3f} ({minutes:g} min)")
    if tokens := results.get("tokenizing"):
        for name, measured in tokens["sets"].items():
            of = {side: tokenizing.speed(measured, side) for side in tokenizing.NAMES}
            faster = max(tokenizing.PEERS, key=of.get)
            yield (_question(f"tokenizing {name}, MB/s", f"分词 {name}，MB/秒"),
                   f"{of['ours']:.1f} (× {tokenizing.ratio(measured, faster):.2f})", _named(tokenizing, of, "{:.1f}"))
    for size in results.get("prepare", {"sizes": []})["sizes"]:
        megabytes, seconds, peak = size["bytes"] / 1e6, size["seconds"], size["peak_bytes"] / 1e9
        yield (_question(f"`prepare`, {megabytes:,.0f} MB of text, MB/s, one run (peak memory)",
                         f"`prepare`，{megabytes:,.0f} MB 文本，MB/秒，单次运行（内存峰值）"),
               f"{megabytes / seconds:.1f} ({peak:.1f} GB)", "")
    accelerator = results.get("accelerator", {"runs": []})
    of = {}
    for run in accelerator["runs"]:
        of.setdefault((run["num_layers"], run["hidden_dim"], run["sequence_length"]), {})[run["side"]] = run
    for (num_layers, width, length), sides in of.items():
        figures = {side: f"{run['tokens_per_second']:,.0f} ({run['share_of_peak']:.0%})" for side, run in sides.items()}
        size, how = f"{num_layers} × {width}", f"{accelerator['precision']}, {accelerator['device']}"
        yield (_question(f"training under JAX ({size}, rows of {length}, {how}), tokens/s (share of the matrix peak)",
                         f"JAX 训练（{size}，每行 {length} 词元，{how}），词元/秒（占矩阵乘法峰值）"),
               figures["keras"], f"transformers (PyTorch) {figures['torch']}" if "torch" in figures else "")
    yield from _of_classifiers(results)
    if recommended := results.get("recommendation"):
        figures = {ranking: "{} ({})".format(*(recommendation.summary(recommended["seeds"], ranking, metric)
                                               for metric in ("hr", "ndcg"))) for ranking in recommendation.RANKINGS}
        yield (_question("the next film, MovieLens 100k, HR@10 (NDCG@10) among all",
                         "下一部电影，MovieLens 100k，全部排序 HR@10 (NDCG@10)"),
               figures["recommender"], f"most popular {figures['popularity']}, item-KNN {figures['item_knn']}")
    yield from _of_decoders(results)
    if "serving" in results:
        yield from _of_serving(results["serving"])


def _of_classifiers(results):
    bags = results.get("baseline", {})
    committees = results.get("accuracy", {"tasks": {}})["tasks"]
    for name in accuracy.ALL_LABELS:
        ours, others = [], []
        if runs := committees.get(name):
            ours.append(f"committee {accuracy.summary(runs)}")
            others += [f"{title} {accuracy.summary(runs, side)}" for side, title in accuracy.LINEAR.items()]
        if sides := bags.get(name):
            bag, fasttext = (f"{100 * np.mean(sides[side]['accuracy']):.1f}" for side in ("ours", "fasttext"))
            ours.append(f"baseline {bag}")
            others.append(f"fastText {fasttext}")
        if ours:
            yield (_question(f"{name} test accuracy, all labels", f"{name} 测试准确率，全部标注"),
                   ", ".join(ours), ", ".join(others))
    for name in accuracy.FEW_LABELS:
        few = {labels: runs for labels in accuracy.LABELS if (runs := committees.get(f"{name}-{labels}"))}
        if few:
            yield (_question(f"{name} test accuracy, {', '.join(few)} labels", f"{name} 测试准确率，{'、'.join(few)} 个标注"),
                   "committee " + ", ".join(map(accuracy.summary, few.values())),
                   "; ".join(f"{title} " + ", ".join(accuracy.summary(runs, side) for runs in few.values())
                             for side, title in accuracy.LINEAR.items()))


def _of_decoders(results):
    for what, answers in results.get("decoder_speed", {"answers": {}})["answers"].items():
        of = decoder_speed.speeds(answers)
        yield (_question(f"{decoder_speed.QUESTIONS[what]}, tokens/s", f"{WRITING[what]}，词元/秒"),
               f"{of['ours']:,.0f} (× {decoder_speed.ratio(answers):.2f})", f"transformers {of['transformers']:,.0f}")
    for name, one in results.get("language_models", {}).items():
        english, chinese, figure, form = LANGUAGE_MODELS[name]
        yield (_question(f"{english}, {one['minutes']:g} minutes", f"{chinese}，训练 {one['minutes']:g} 分钟"),
               format(one[figure], form), "")
    if written := results.get("poems"):
        minutes = f"{written['minutes']:g}"
        yield (_question(f"Tang poems in the form asked for, {minutes} minutes", f"唐诗合乎所求体式，训练 {minutes} 分钟"),
               f"{poems.share_in_form(written):.1%}", "")
    for name, one in results.get("translation", {}).items():
        english, chinese = TRANSLATIONS[name]
        minutes = f"{one['options']['minutes']:g}"
        yield (_question(f"{english}, BLEU (chrF), {minutes} minutes", f"{chinese}，BLEU (chrF)，训练 {minutes} 分钟"),
               f"{translation.mean(one['runs'], 'bleu')} ({translation.mean(one['runs'], 'chrf')})", "")
    for name, one in results.get("questions", {}).items():
        minutes = " + ".join(f"{part:g}" for part in one["minutes"])
        yield (_question(f"{ANSWERS[name]}, exact match (F1), {minutes} minutes",
                         f"{ANSWERS[name]}，精确匹配 (F1)，训练 {minutes} 分钟"),
               f"{one['exact_match']:.1f} ({one['f1']:.1f})", "")
    for name, one in results.get("summaries", {}).items():
        english, chinese, lead, what = SUMMARIES[name]
        yield (_question(f"news_summary, {english}, ROUGE-1, -2, -L", f"news_summary {chinese}，ROUGE-1、-2、-L"),
               f"`extract` {summaries.rouge(one, 'extract')}; `seq2seq` {summaries.rouge(one, 'seq2seq')}",
               f"{what} {summaries.rouge(one, lead)}")


def _of_serving(results):
    lengths, load, long = results["lengths"], results["load"], results["long"]
    for length, answers in lengths.items():
        full = answers["full"]
        of = {side: f"{serving.speed(full[side]):,.0f} (× {serving.ratio(full, side):.2f})" for side in ("ours_32", "ours")}
        yield (_question(f"`serve` over HTTP, {length} tokens a text, 32 texts a request / 1, texts/s",
                         f"`serve` 经 HTTP，每条 {length} 词元，每请求 32 条 / 1 条，条/秒"),
               f"{of['ours_32']} / {of['ours']}",
               ", ".join(f"{serving.NAMES[side]} {serving.speed(full[side]):,.0f}" for side in serving.PEERS))
    together = " / ".join(lengths)
    one = {side: " / ".join(serving.milliseconds(answers["one"][side]) for answers in lengths.values())
           for side in ("ours", *serving.PEERS)}
    yield (_question(f"one text of {together} tokens after another, ms, p50 (p99)", f"逐条，{together} 词元，毫秒，p50（p99）"),
           one.pop("ours"), ", ".join(f"{serving.NAMES[side]} {figures}" for side, figures in one.items()))
    kept = (serving.kept(load[length], answers["full"]["ours"]) for length, answers in lengths.items())
    yield (_question(f"`serve`, {together} tokens: p99 / p50 at half of full load; good answers at twice the load",
                     f"`serve`，{together} 词元：半载时 p99 / p50；两倍负载时的有效应答"),
           f"{' / '.join(f'{serving.spread(one):.1f}' for one in load.values())}; {' / '.join(map('{:.0%}'.format, kept))}", "")
    yield (_question(f"`serve`, {long['minutes']:g} minutes of full load: requests, failed ones, growth of its memory",
                     f"`serve` 满载 {long['minutes']:g} 分钟：请求数、失败数、内存增长"),
           f"{sum(long['answers'].values()):,}, {serving.failed(results)}, {serving.growth(long):.1%}", "")


def _question(english, chinese):
    return {"README.md": english, "README.zh.md": chinese}


def _named(comparison, figures, form):
    return ", ".join(f"{comparison.NAMES[peer]} {form.format(figures[peer])}" for peer in comparison.PEERS)


def table(results, readme):
    """The table of one of the two files, as Markdown."""
    written = [HEADINGS[readme], "|---|---|---|"]
    written += [f"| {question[readme]} | {ours} | {others} |" for question, ours, others in lines(results)]
    names = {}  # of the files of figures, by the machine they come from
    for name, result in results.items():
        for part in [result, *result.values()]:  # some files have one machine for each set
            if isinstance(part, dict) and "machine" in part:
                machine = tuple(part["machine"][figure] for figure in ("cpu", "cores", "memory_gib"))
                names.setdefault(machine, {})[f"`{name}`"] = None
    written += ["", *(MACHINE[readme].format(*machine, names=", ".join(measured)) for machine, measured in names.items())]
    return "\n".join(written)


def put_between_markers(text, replacement):
    """A file's text with something else between the markers.

    Raises:
        ValueError: it has not exactly one pair of them.
    """
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end or START in rest or END in after:
        raise ValueError(f"a file needs one {START} and after it one {END}. "
                         f"Received: {text.count(START)} and {text.count(END)}")
    return f"{before}{START}\n{replacement}\n{END}{after}"


def write(results_folder, readmes):
    """Writes the tables.

    Args:
        results_folder: where the JSON files are.
        readmes: paths of README.md and README.zh.md.
    """
    results = {path.stem: json.loads(path.read_text(encoding="utf-8"))
               for path in sorted(Path(results_folder).glob("*.json"))}
    for readme in map(Path, readmes):
        text = readme.read_text(encoding="utf-8")
        readme.write_text(put_between_markers(text, table(results, readme.name)), encoding="utf-8")


if __name__ == "__main__":
    write(RESULTS, [HERE.parent / name for name in HEADINGS])
    print(f"wrote the tables of {' and '.join(HEADINGS)}", file=sys.stderr)
