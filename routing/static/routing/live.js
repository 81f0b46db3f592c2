import { EventSocket } from "./event-socket.js";

const MOST_ROWS = 500; // older ones leave the page
const KINDS = { DELIVERED: "ok", EXHAUSTED: "bad", PENDING: "warn", SENDING: "warn" };
const [page, endpoint, pause, status, rows, hint, byType, byState, byText, types, hiddenHint] = [
  ...["live", "endpoint", "pause", "status", "rows", "hint"],
  ...["by-type", "by-state", "by-text", "types", "hidden-count"],
].map((id) => document.getElementById(id));
const csrfToken = document.querySelector("[name=csrfmiddlewaretoken]").value;
let events = null; // the EventSocket of the chosen endpoint
const texts = page.dataset;
let count = 0; // of what came since it was chosen

async function ticket() {
  const answer = await fetch(page.dataset.ticketUrl, {
    method: "POST",
    headers: { "X-CSRFToken": csrfToken },
    body: new URLSearchParams({ endpoint: endpoint.value }),
    signal: AbortSignal.timeout(10_000),
  });
  if (answer.ok) return (await answer.json()).ticket;
  const problems = { 403: texts.textForbidden, 404: texts.textDeleted };
  const problem = new Error(problems[answer.status] ?? filled(texts.textAnswered, answer.status));
  throw Object.assign(problem, { final: answer.status in problems });
}

function choose() {
  events?.stop();
  events = null;
  count = 0;
  rows.replaceChildren();
  types.replaceChildren();
  hint.hidden = false;
  pause.textContent = texts.textPause;
  pause.disabled = !endpoint.value;
  history.replaceState(null, "", endpoint.value ? `?endpoint=${endpoint.value}` : location.pathname);
  if (!endpoint.value) {
    tell("idle");
    return;
  }
  const url = new URL(`/event-service/ws?endpoint_id=${endpoint.value}`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  events = new EventSocket({ url, ticket, watch: true, take: show, reset: showReset, state: showState, tell, broke: texts.textBroke });
  events.start();
}

function pauseOrGoOn() {
  const paused = pause.textContent === texts.textPause;
  pause.textContent = paused ? texts.textResume : texts.textPause;
  if (paused) events.stop();
  else events.start();
}

function tell(state, reason = "") {
  const said = {
    idle: texts.textIdle,
    connecting: texts.textConnecting,
    open: texts.textOpen,
    waiting: filled(texts.textWaiting, reason),
    stopped: texts.textStopped,
    ended: filled(texts.textEnded, reason),
  };
  status.dataset.state = state;
  status.textContent = said[state] + (count ? ` (${filled(texts.textCame, count)})` : "");
  if (state === "ended") pause.disabled = true;
}

function show(event, text) {
  const row = element("details", {});
  const summary = element("summary", {}, [
    told(event.date),
    element("span", { className: "type", title: event.type, textContent: event.type }),
    element("span", { className: "badge", textContent: "…" }),
    element("span", { className: "subject", title: event.subject ?? "", textContent: event.subject ?? "" }),
    element("code", { className: "id", title: event.id, textContent: event.id }),
  ]);
  const data = element("pre", { tabIndex: 0 });
  row.append(summary, data);
  // Laid out when it is looked at: most never are.
  row.addEventListener("toggle", () => (data.textContent ||= indented(dataText(text)) || texts.textNoData), { once: true });
  Object.assign(add(row, event.cursor), { event, text: text.toLowerCase() });
  learnType(event.type);
  siftSoon();
  count += 1;
  tell("open");
}

function showReset({ reason, missing, cursor }) {
  const after = missing.after ?? texts.textStart;
  const which = missing.until ? filled(texts.textSpan, after, missing.until) : after;
  const text = filled(texts.textBehind, which, reason);
  add(element("p", { className: "reset", textContent: text }), cursor);
}

function add(child, cursor) {
  const row = element("li", {}, [child]);
  row.dataset.cursor = cursor;
  hint.hidden = true;
  rows.prepend(row);
  while (rows.childElementCount > MOST_ROWS) rows.lastElementChild.remove();
  return row;
}

// --- what of it is shown

function learnType(type) {
  const isNew = ![...types.options].some((option) => option.value === type);
  if (isNew && types.options.length < MOST_ROWS) types.append(element("option", { value: type }));
}

function isWanted({ event, text, dataset }) {
  if (!event) return true;
  const wanted = byText.value.trim().toLowerCase();
  return (
    event.type.startsWith(byType.value.trim()) &&
    (!byState.value || dataset.state === byState.value) &&
    (!wanted || text.includes(wanted))
  );
}

function sift() {
  for (const row of rows.children) row.hidden = !isWanted(row);
  hiddenHint.hidden = !rows.childElementCount || [...rows.children].some((row) => !row.hidden);
}

let sifting = null;

// Many may come between two frames of the screen.
function siftSoon() {
  sifting ??= requestAnimationFrame(() => {
    sifting = null;
    sift();
  });
}

// --- what becomes of the deliveries

function showState({ cursor, state, reason, attempts }) {
  const row = rows.querySelector(`:scope > [data-cursor="${cursor}"]`);
  if (!row) return; // it is told again when its event has come
  const badge = row.querySelector(".badge");
  row.dataset.state = state;
  badge.className = `badge ${KINDS[state] ?? ""}`;
  badge.textContent = (nameOf(state) ?? state).toLowerCase() + (attempts > 1 ? ` ×${attempts}` : "");
  badge.title = [nameOf(state) ?? state, reason, filled(texts.textAttempts, attempts)].filter(Boolean).join(", ");
  siftSoon();
}

function nameOf(state) {
  return document.querySelector(`#state-names [value="${state}"]`)?.textContent;
}

// Texts come with the page, in its language; each %s is one of the values, in order.
function filled(text, ...values) {
  return text.replace(/%s/g, () => values.shift());
}

function element(name, properties, children = []) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// In UTC, and in the reader's own zone where that is another. The day is said where it is not today's.
function told(date) {
  const at = new Date(date);
  const [day, time] = at.toISOString().slice(0, 19).split("T");
  const said = day === new Date().toISOString().slice(0, 10) ? time : `${day} ${time}`;
  const made = element("time", { dateTime: date, title: date, textContent: `${said} UTC` });
  const zoned = { timeStyle: "medium", hourCycle: "h23" };
  if (at.getTimezoneOffset()) made.append(" ", element("small", { className: "local", textContent: at.toLocaleTimeString([], zoned) }));
  return made;
}

// The bytes that were published: parsed and written again, 1.00 would be 1.
function dataText(frame) {
  const before = /^\{(?:"\w+":(?:"[^"\\]*(?:\\.[^"\\]*)*"|\{(?:[^"{}]|"[^"\\]*(?:\\.[^"\\]*)*")*\}),)*"data":/.exec(frame);
  return before ? frame.slice(before[0].length, frame.lastIndexOf(',"cursor":')) : "";
}

function indented(json) {
  let line = "\n";
  return json.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|\{\s*\}|\[\s*\]|[{}[\],:]|\s+/g, (token) => {
    if (/^\s/.test(token)) return "";
    if (token === "{" || token === "[") return token + (line += "  ");
    if (token === "}" || token === "]") return (line = line.slice(0, -2)) + token;
    if (token === ",") return token + line;
    return token === ":" ? ": " : token;
  });
}

for (const field of [byType, byState, byText]) field.addEventListener("input", sift);
endpoint.addEventListener("change", choose);
pause.addEventListener("click", pauseOrGoOn);
choose();
