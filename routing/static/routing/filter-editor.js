// The definition of a filter while one writes it: completed from what is known, checked and tried by the server.

const page = document.getElementById("filter-editor");
const area = document.getElementById("id_definition");
const AFTER_MS = 350; // without a key
const MOST_SHOWN = 12;
const texts = page?.dataset;
const known = { types: [], paths: [], operators: [], of: null };
let timer, asked;

function workspace() {
  return texts.workspace || document.getElementById("id_workspace")?.value.trim() || "";
}

function element(name, properties = {}, children = []) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// --- where the caret is

// What stands open before the caret: the names on the way there, and the text of the string that has been begun.
export function place(text) {
  const open = [];
  let begun = null;
  for (const found of text.matchAll(/"((?:[^"\\]|\\.)*)("|$)|[{}[\]:,]/gs)) {
    const [token, string, end] = found;
    const top = open.at(-1);
    if (string !== undefined) {
      if (end === "") begun = { start: found.index + 1, text: string };
      else if (top && top.kind === "{" && !top.valued) top.name = string;
    } else if (token === "{" || token === "[") open.push({ kind: token, name: null, valued: false });
    else if (token === "}" || token === "]") open.pop();
    else if (top) top.valued = token === ":";
  }
  const top = open.at(-1);
  const inner = top?.kind === "{" && !top.valued ? open.slice(0, -1) : open;
  const names = inner.map((each) => each.name).filter((name) => name !== null && name !== "$or");
  return { begun, isName: top?.kind === "{" && !top.valued, inList: open.at(-2)?.kind === "[", names };
}

function suggestions({ begun, isName, inList, names }) {
  const typed = begun.text.toLowerCase();
  const under = names[0] === "pattern" ? names.slice(1) : names;
  let found = [];
  if (!names.length && isName) found = ["pattern"];
  else if (isName && inList && under.length) found = known.operators;
  else if (isName) found = nextNames(under);
  else if (under[0] === "type") found = known.types;
  return found.filter((each) => each.toLowerCase().includes(typed) && each !== begun.text).slice(0, MOST_SHOWN);
}

function nextNames(under) {
  const start = under.map((name) => `${name}.`).join("");
  const found = known.paths.filter((path) => path.startsWith(start)).map((path) => path.slice(start.length).split(".")[0]);
  return [...new Set(found)].filter(Boolean);
}

// --- completion

const list = element("ul", { id: "completions", hidden: true });
const said = element("p", { className: "visually-hidden" });
const problem = element("p", { className: "problem", id: "definition-problem" });
let current = -1;

function offer() {
  const at = place(area.value.slice(0, area.selectionStart));
  const found = at.begun ? suggestions(at) : [];
  list.replaceChildren(...found.map((text, number) => option(text, number)));
  list.hidden = !found.length;
  said.textContent = found.length ? `${found.length} ${texts.textSuggestions}` : "";
  choose(found.length ? 0 : -1);
  if (found.length) put();
}

function option(text, number) {
  const made = element("li", { id: `completion-${number}`, role: "option", textContent: text });
  made.addEventListener("mousedown", (event) => {
    event.preventDefault();
    take(text);
  });
  return made;
}

function choose(number) {
  list.children[current]?.setAttribute("aria-selected", "false");
  current = number;
  const chosen = list.children[number];
  chosen?.setAttribute("aria-selected", "true");
  chosen?.scrollIntoView({ block: "nearest" });
  if (chosen) area.setAttribute("aria-activedescendant", chosen.id);
  else area.removeAttribute("aria-activedescendant");
}

// Beneath the line of the caret; the policy allows no style in the page, but scripts may set one.
function put() {
  const style = getComputedStyle(area);
  const lines = area.value.slice(0, area.selectionStart).split("\n");
  const height = parseFloat(style.lineHeight);
  const left = (lines.at(-1).length - 1) * parseFloat(style.fontSize) * 0.6;
  list.style.insetBlockStart = `${Math.min(lines.length * height + 14 - area.scrollTop, area.offsetHeight)}px`;
  list.style.insetInlineStart = `${Math.min(Math.max(left, 8), Math.max(area.offsetWidth - 190, 8))}px`;
}

function take(text) {
  const { begun, isName } = place(area.value.slice(0, area.selectionStart));
  const written = JSON.stringify(text).slice(1, -1);
  const rest = area.value.slice(area.selectionStart);
  const end = /^"/.test(rest) ? area.selectionStart + 1 : area.selectionStart;
  const colon = isName && !/^"?\s*:/.test(rest) ? ": " : "";
  area.setRangeText(`${written}"${colon}`, begun.start, end, "end");
  close();
  area.dispatchEvent(new Event("input", { bubbles: true }));
}

function close() {
  list.hidden = true;
  said.textContent = "";
  choose(-1);
}

function onKey(event) {
  if (event.key === " " && event.ctrlKey) {
    event.preventDefault();
    offer();
  } else if (list.hidden) return;
  else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    const count = list.childElementCount;
    choose((current + (event.key === "ArrowDown" ? 1 : count - 1)) % count);
  } else if (event.key === "Enter") {
    event.preventDefault();
    take(list.children[current].textContent);
  } else if (event.key === "Escape") close();
}

// --- what the server says

async function learn() {
  const id = workspace();
  if (!/^[0-9a-f-]{36}$/i.test(id) || id === known.of) return;
  const answer = await fetch(`${texts.known}?${new URLSearchParams({ workspace: id })}`);
  if (answer.ok) Object.assign(known, await answer.json(), { of: id });
}

function later() {
  clearTimeout(timer);
  timer = setTimeout(check, AFTER_MS);
}

async function check() {
  asked?.abort();
  asked = new AbortController();
  const { signal } = asked;
  if (!area.value.trim()) {
    tell("", "");
    return showWhyNone(texts.textWrite);
  }
  const body = new URLSearchParams({ definition: area.value, workspace: workspace() });
  const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
  try {
    await learn();
    const answer = await fetch(texts.check, { method: "POST", headers: { "X-CSRFToken": token }, body, signal });
    if (!answer.ok) throw new Error(`${answer.status}`);
    show(await answer.json());
  } catch (error) {
    if (error.name !== "AbortError") tell(texts.textFailed, "");
  }
}

function show({ problem: wrong, at, tried }) {
  tell(wrong || texts.textRight, wrong ? "bad" : "ok", at);
  area.setAttribute("aria-invalid", wrong ? "true" : "false");
  if (tried?.length) showTried(tried);
  else showWhyNone(wrong ? texts.textCorrect : texts.textNoEvents);
}

function tell(text, kind, at = null) {
  problem.className = `problem ${kind}`;
  problem.replaceChildren(text);
  if (at === null || at === undefined) return;
  const lines = area.value.slice(0, at).split("\n");
  const where = texts.textWhere.replace("%s", lines.length).replace("%s", lines.at(-1).length + 1);
  const button = element("button", { type: "button", textContent: where });
  button.addEventListener("click", () => {
    area.focus();
    area.setSelectionRange(at, at + 1);
  });
  problem.append(button);
}

// Nothing was tried: what there is to do first.
function showWhyNone(text) {
  const count = document.getElementById("live-count");
  if (!count) return;
  document.getElementById("live-tried").hidden = true;
  count.textContent = workspace() ? text : texts.textChoose;
}

function showTried(tried) {
  const table = document.getElementById("live-tried");
  if (!table) return;
  table.hidden = false;
  table.tBodies[0].replaceChildren(...tried.map(row));
  document.dispatchEvent(new Event("console:shown")); // the reader's own time is put beside
  const count = tried.filter((each) => each.matched).length;
  document.getElementById("live-count").textContent = `${count} / ${tried.length} ${texts.textMatches}`;
}

function row(each) {
  const link = element("a", { href: texts.event.replace("00000000-0000-0000-0000-000000000000", each.id) });
  const said = new Date(each.date).toISOString().slice(0, 19).replace("T", " ");
  link.append(element("time", { dateTime: each.date, title: each.date, textContent: `${said} UTC` }));
  const badge = element("span", {
    className: `badge ${each.matched ? "ok" : ""}`,
    textContent: each.matched ? texts.textYes : texts.textNo,
  });
  return element("tr", {}, [
    element("td", {}, [link]),
    element("td", { textContent: each.type }),
    element("td", {}, [badge]),
    element("td", { textContent: each.reason }),
  ]);
}

if (page && area) {
  area.spellcheck = false;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", texts.textSuggestions);
  said.setAttribute("role", "status");
  problem.setAttribute("role", "status");
  area.setAttribute("aria-autocomplete", "list");
  area.setAttribute("aria-controls", list.id);
  area.setAttribute("aria-describedby", `${area.getAttribute("aria-describedby") ?? ""} ${problem.id}`.trim());
  const frame = element("div", { className: "editor" });
  area.before(frame);
  frame.append(area, list, problem, said);
  area.addEventListener("keydown", onKey);
  addEventListener("resize", () => list.hidden || put());
  area.addEventListener("input", () => {
    later();
    offer();
  });
  area.addEventListener("blur", close);
  django.jQuery("#id_workspace").on("change", check); // what is chosen behind the magnifier is told to jQuery alone
  check();
}
