// The models of this server in, their answers on the page out. Nothing is asked of any other host.

const WORDS = {
  en: {
    otherLanguage: "中文", model: "Model", version: "version {}", send: "Try it", stop: "Stop", keys: "or Ctrl+Enter",
    heading: "Answer", probability: "with probability {}", noAnswer: "The text does not say.",
    oneALine: "One a line, in order of time.", asJson: "As JSON: numbers, or lists of them.",
    "tensor.text": "Text", "tensor.pair": "Second text", "tensor.prompt": "Beginning", "tensor.question": "Question",
    "tensor.context": "Text that may have the answer", "tensor.history": "Titles so far", "tensor.label": "Label",
    "tensor.probabilities": "Probabilities", "tensor.text_written": "Written text", "tensor.answer": "Answer",
    "tensor.titles": "Titles", "tensor.score": "Score", "tensor.scores": "Scores", "tensor.start": "Place",
    unreachable: "The server does not answer. Does it still run?", unreadable: "The server's answer cannot be read.",
    noJson: "“{}” must be JSON, such as 3 or [1, 2].", failed: "The server could not answer; its log says why.",
    400: "The model cannot take this.", 404: "This version is no longer served: reload the page.",
    408: "What you sent arrived too slowly: try again.", 413: "This is too long.",
    503: "Too much is waiting for the model: try again in {} s.", 504: "The answer took too long: try a shorter text.",
  },
  zh: {
    otherLanguage: "English", model: "模型", version: "版本 {}", send: "试一试", stop: "停止", keys: "或按 Ctrl+Enter",
    heading: "回答", probability: "概率 {}", noAnswer: "文中没有答案。",
    oneALine: "每行一个，按时间先后。", asJson: "用 JSON 写：数字，或数字的列表。",
    "tensor.text": "文本", "tensor.pair": "第二段文本", "tensor.prompt": "开头", "tensor.question": "问题",
    "tensor.context": "可能含有答案的文本", "tensor.history": "已选的标题", "tensor.label": "标签",
    "tensor.probabilities": "概率", "tensor.text_written": "写出的文本", "tensor.answer": "答案", "tensor.titles": "标题",
    "tensor.score": "得分", "tensor.scores": "得分", "tensor.start": "位置",
    unreachable: "服务器没有回应。它还在运行吗？", unreadable: "服务器的回答无法读取。",
    noJson: "“{}”必须是 JSON，例如 3 或 [1, 2]。", failed: "服务器无法回答，原因见其日志。",
    400: "模型无法接受这个输入。", 404: "这个版本已停止服务：请刷新页面。", 408: "发送太慢：请重试。", 413: "输入太长。",
    503: "等待的请求太多：请在 {} 秒后重试。", 504: "回答用时太长：请换一段短一些的文本。",
  },
};
const MAY_BE_EMPTY = ["prompt", "history"];
const [form, modelsBox, inputsBox, send, answerBox, errorBox, languageButton] =
  ["form", "models", "inputs", "send", "answer", "error", "language"].map((id) => document.getElementById(id));
const typed = new Map(); // what stands in the field of an input, whichever model has it
let language = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag in WORDS) ?? "en";
let models = [];
let running = null; // an AbortController

/** A refusal in the page's words (a key of WORDS and what stands for {}), and the server's own reason. */
class Refusal extends Error {
  constructor(key, value = "", reason = "") {
    super(reason);
    Object.assign(this, { key, value });
  }
}

// Words: whoever carries data-words changes with the language.

function word(key, value) {
  return (WORDS[language][key] ?? key.replace("tensor.", "")).replace("{}", () => value);
}

function said(tag, key, value = "") {
  const node = element(tag, { textContent: word(key, value) });
  Object.assign(node.dataset, { words: key, value });
  return node;
}

function say(node, key) {
  node.dataset.words = key;
  node.textContent = word(key);
}

function translate() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const node of document.querySelectorAll("[data-words]"))
    node.textContent = word(node.dataset.words, node.dataset.value);
  languageButton.textContent = word("otherLanguage");
  languageButton.lang = language === "zh" ? "en" : "zh-Hans";
}

function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// The models and what they take.

function signatureOf(model) {
  const name = "serving_default" in model.signatures ? "serving_default" : Object.keys(model.signatures)[0];
  return { name, ...model.signatures[name] };
}

/** Names of tensors in the order in which WORDS has them: a question before its context. */
function ordered(tensors) {
  const places = Object.keys(WORDS.en);
  const place = (name) => places.indexOf(`tensor.${name}`) + 1 || places.length + 1;
  return Object.keys(tensors).sort((one, other) => place(one) - place(other));
}

function listed(tensors) {
  return ordered(tensors).flatMap((name, number) => [number ? ", " : "", said("span", `tensor.${name}`)]);
}

function modelChoice(model, number) {
  const { inputs, outputs } = signatureOf(model);
  const version = said("span", "version", model.version);
  version.className = "quiet";
  const flow = element("span", { className: "quiet flow" }, ...listed(inputs), " → ", ...listed(outputs));
  const radio = element("input", { type: "radio", name: "model", value: number, checked: number === 0 });
  return element("label", { className: "model" }, radio,
    element("span", {}, element("strong", { textContent: model.name }), " ", version, flow));
}

function field(name, { dtype, shape }) {
  const id = `input-${name}`;
  const label = said("label", `tensor.${name}`);
  label.htmlFor = id;
  const area = element("textarea", {
    id, value: typed.get(name) ?? "", required: !MAY_BE_EMPTY.includes(name),
    oninput: () => typed.set(name, area.value),
  });
  const hint = dtype !== "string" ? "asJson" : shape?.length === 2 ? "oneALine" : null;
  if (hint === null) return element("div", { className: "field" }, label, area);
  const hintNode = Object.assign(said("span", hint), { id: `${id}-hint`, className: "hint" });
  area.setAttribute("aria-describedby", hintNode.id);
  return element("div", { className: "field" }, label, hintNode, area);
}

function chosen() {
  return models[modelsBox.querySelector(":checked").value];
}

function choose() {
  running?.abort();
  const { inputs } = signatureOf(chosen());
  inputsBox.replaceChildren(...ordered(inputs).map((name) => field(name, inputs[name])));
  answerBox.replaceChildren();
  errorBox.replaceChildren();
}

function readRow(inputs) {
  return Object.fromEntries(Object.entries(inputs).map(([name, { dtype, shape }]) => {
    const value = document.getElementById(`input-${name}`).value;
    if (dtype === "string")
      return [name, shape?.length === 2 ? value.split("\n").filter((line) => line.trim()) : value];
    try {
      return [name, JSON.parse(value)];
    } catch {
      throw new Refusal("noJson", value);
    }
  }));
}

// Asking.

async function ask(model, signature, row, signal) {
  const path = `v1/models/${encodeURIComponent(model.name)}/versions/${model.version}:predict`;
  const response = await fetched(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, signal,
    body: JSON.stringify({ signature_name: signature, instances: [row] }),
  });
  const [found] = response.predictions;
  const names = Object.keys(model.signatures[signature].outputs);
  return names.length === 1 ? { [names[0]]: found } : found; // of one output the server leaves the name out
}

async function fetched(path, options) {
  const response = await fetch(path, options).catch((error) => {
    throw error.name === "AbortError" ? error : new Refusal("unreachable");
  });
  if (response.ok)
    return response.json().catch((error) => {
      throw error.name === "AbortError" ? error : new Refusal("unreadable");
    });
  const reason = await response.json().then((body) => body.error, () => "");
  const key = response.status in WORDS.en ? response.status : "failed";
  throw new Refusal(String(key), response.headers.get("Retry-After") ?? "1", reason);
}

async function answer(model, signature, row, signal) {
  if (!("continued" in model.signatures)) {
    answerBox.replaceChildren(...shown(model, row, await ask(model, signature, row, signal)));
    return;
  }
  // A GPT's text, a few tokens a call; the seed makes them one text.
  const seed = Math.floor(Math.random() * 2 ** 31);
  const text = element("p", { className: "written" });
  answerBox.replaceChildren(text);
  for (const tokens = []; !tokens.includes(0); ) {
    const found = await ask(model, "continued", { ...row, seed, token_ids: tokens }, signal);
    text.textContent = found.text;
    tokens.push(...found.next_token_ids);
  }
}

async function run() {
  running = new AbortController();
  const { signal } = running;
  say(send, "stop");
  form.noValidate = true; // to stop, no field need be filled
  errorBox.replaceChildren();
  answerBox.replaceChildren();
  answerBox.setAttribute("aria-busy", "true"); // screen readers read a text when it is whole
  try {
    const signature = signatureOf(chosen());
    await answer(chosen(), signature.name, readRow(signature.inputs), signal);
  } catch (error) {
    if (!signal.aborted) show(error);
  } finally {
    running = null;
    say(send, "send");
    form.noValidate = false;
    answerBox.setAttribute("aria-busy", "false");
  }
}

function show(error) {
  if (!(error instanceof Refusal)) throw error;
  errorBox.replaceChildren(said("span", error.key, error.value), " ",
    element("span", { className: "quiet", lang: "en", textContent: error.message }));
}

// Answers, by what a signature gives.

function shown(model, row, found) {
  if (isNumbers(found.probabilities)) {
    const { labels } = model.about;
    const fits = Array.isArray(labels) && labels.length === found.probabilities.length;
    const bars = table("tensor.probabilities", found.probabilities.map((share, n) => [fits ? labels[n] : n, share]));
    return "label" in found ? [best(found.label, Math.max(...found.probabilities)), bars] : [bars];
  }
  if (isNumbers(found.scores) && Array.isArray(found.titles)) {
    const rows = found.titles.map((title, n) => [title, found.scores[n]]);
    return [table("tensor.titles", rows.filter(([title]) => title))];
  }
  if (typeof found.answer === "string" && typeof row.context === "string" && Number.isInteger(found.start))
    return found.answer ? [best(found.answer, found.score), marked(row.context, found)]
      : [said("p", "noAnswer"), said("p", "probability", percent(found.score))];
  return Object.entries(found).flatMap(([name, value]) => [
    ...(Object.keys(found).length > 1 ? [said("h3", `tensor.${name}`)] : []),
    element("p", { className: "written", textContent: typeof value === "string" ? value : JSON.stringify(value) })]);
}

function isNumbers(value) {
  return Array.isArray(value) && value.every((item) => typeof item === "number");
}

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

function best(text, score) {
  return element("p", { className: "best" }, element("strong", { textContent: text }), " ",
    said("span", "probability", percent(score)));
}

/** The context with the answer, which begins after `start` characters, marked in it. */
function marked(context, { answer, start }) {
  const characters = [...context];
  const end = start + [...answer].length;
  return element("p", { className: "written" }, characters.slice(0, start).join(""),
    element("mark", { textContent: answer }), characters.slice(end).join(""));
}

/** Names and shares of 1 as bars, the largest first. */
function table(caption, rows) {
  const bar = (share) => {
    const node = element("div", { className: "bar" });
    node.style.width = `${100 * share}%`;
    return element("div", { className: "rail", ariaHidden: "true" }, node);
  };
  return element("table", {}, said("caption", caption), element("tbody", {},
    ...rows.toSorted((one, other) => other[1] - one[1]).map(([name, share]) => element("tr", {},
      element("th", { scope: "row", textContent: name }), element("td", {}, bar(share)),
      element("td", { textContent: percent(share) })))));
}

// What people do.

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) running.abort();
  else run();
});
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) form.requestSubmit();
});
modelsBox.addEventListener("change", choose);
languageButton.addEventListener("click", () => {
  language = language === "zh" ? "en" : "zh";
  translate();
});

translate();
fetched("models.json").then((found) => {
  ({ models } = found);
  modelsBox.replaceChildren(...models.map(modelChoice));
  choose();
  send.disabled = false;
}).catch(show);
