"use strict";
// Everything that is shown goes through textContent: words of servers and strangers are never markup.

const EVERY = 2000, SELDOM = 6000, MANY = 60; // ms; points from which on a chart can wait for the next
const BASE = location.origin + location.pathname; // without a user and password that stand in the address
const $ = (id) => document.getElementById(id);
let span = "near", history = null, lostSince = null;

function el(tag, about, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(about || {})) {
    if (name === "text") node.textContent = plain(value);
    else if (name === "click") node.addEventListener("click", value);
    else node.setAttribute(name, value);
  }
  node.append(...children.map((child) => typeof child === "string" ? plain(child) : child));
  return node;
}
// what has no shape of its own, or turns others round, shows its number: nobody is to read another address
const plain = (text) => String(text).replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

// words for numbers and times

const whole = new Intl.NumberFormat("en");
const count = (n) => whole.format(n);
const brief = (n) => n >= 1e6 ? (n / 1e6).toFixed(1) + " M" : n >= 1e4 ? Number((n / 1e3).toFixed(1)) + " k" : count(Math.round(n));
const recipients = (n) => n === 1 ? "1 recipient" : count(n) + " recipients";
const when = (text) => text === null ? null : Date.parse(text);

function duration(ms) {
  let left = Math.max(0, Math.round(ms / 1000));
  const parts = [];
  for (const [seconds, unit] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
    const n = Math.floor(left / seconds);
    left -= n * seconds;
    if (n || parts.length) parts.push([n, unit]);
  }
  return parts.slice(0, 2).filter(([n]) => n).map(([n, unit]) => n + " " + unit).join(" ") || "0 s";
}
function clock(ms, now) {
  const time = new Date(ms);
  const day = now - ms > 12 * 3600e3 ? time.toLocaleDateString(undefined, { day: "numeric", month: "short" }) + ", " : "";
  return day + time.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
}
const ago = (text, now) => text === null ? "" : duration(now - when(text)) + " ago";
const size = (n) => n ? Math.round(n / 1048576) + " MiB" : "";
const reply = (one) => [one.code || "", one.enhanced, one.text].filter(Boolean).join(" ");

// pieces of the page

function replace(id, ...nodes) { $(id).replaceChildren(...nodes); }

// columns: [name, what a cell shows: text or a node, class]
function table(columns, rows, empty) {
  if (!rows.length) return el("p", { class: "empty", text: empty });
  const head = el("tr", {}, ...columns.map(([name, , kind]) => el("th", { class: kind || "", text: name })));
  const body = rows.map((row) => el("tr", {}, ...columns.map(([name, show, kind]) => {
    const cell = el("td", { class: kind || "", "data-name": name });
    const shown = show(row);
    cell.append(shown === null || shown === undefined ? "" : typeof shown === "string" ? plain(shown) : shown);
    return cell;
  })));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...body));
}
const tag = (text, kind) => el("span", { class: "tag " + kind, text });
const ident = (id) => el("button", { type: "button", class: "id", text: id, title: "Trace this message", click: () => ask(id) });

function tile(name, value, more) {
  return el("div", { class: "tile" }, el("div", { class: "name", text: name }),
    el("div", { class: "value", text: value }), el("div", { class: "more", text: more || "" }));
}

function showProblems(problems, now) {
  replace("problems", ...problems.map((one) => {
    const since = one.since === null ? "" : ` since ${clock(when(one.since), now)} (${duration(now - when(one.since))})`;
    const box = el("div", { class: "problem " + one.level }, el("strong", { text: one.what + since }));
    if (one.why) box.append(el("p", { class: "words", text: one.why }));
    const then = [];
    if (one.waiting) then.push(recipients(one.waiting) + (one.waiting === 1 ? " waits" : " wait") + " for this.");
    if (one.probe_at !== null) {
      const left = when(one.probe_at) - now;
      then.push(left > 0 ? `It is tried again in ${duration(left)}.` : "It is tried again as soon as something is due.");
    }
    if (then.length) box.append(el("p", { text: then.join(" ") }));
    return box;
  }));
  const bad = problems.filter((one) => one.level === "bad").length, all = problems.length;
  const verdict = $("verdict");
  verdict.className = "pill " + (bad ? "bad" : all ? "warn" : "good");
  verdict.textContent = all === 0 ? "All is well" : all === 1 ? "1 problem" : all + " problems";
  document.title = (bad ? "✗ " : all ? "! " : "") + "spooler";
}

function showTiles(status, now) {
  const sum = (name) => status.routes.reduce((n, route) => n + route.states[name], 0);
  const ended = (name) => status.routes.reduce((n, route) => n + route.ended[name], 0);
  const queued = ["waiting", "deferred", "active", "held"].reduce((n, name) => n + sum(name), 0);
  const oldest = status.routes.map((route) => route.oldest).filter(Boolean).sort()[0];
  replace("tiles",
    tile("Queued", brief(queued), queued ? `${brief(sum("active"))} with a worker` : "nothing to do"),
    tile("Delivered a second", brief(status.rate), "over the last 10 s"),
    tile("Done in", status.done_in === null ? "–" : duration(status.done_in * 1000),
      !queued ? "" : !status.moving ? "nothing that is due can go out" : status.moving === queued ? "at this rate" : `at this rate: ${brief(status.moving)} on routes that deliver`),
    tile("Oldest", oldest ? duration(now - when(oldest)) : "–", oldest ? "since it was queued" : ""),
    tile("Deferred", brief(sum("deferred")), sum("held") ? count(sum("held")) + " held" : "tried, and due later"),
    tile("Delivered", brief(ended("delivered")), `${brief(ended("failed"))} failed, ${brief(ended("expired"))} expired`));
}

function showTables(status, now) {
  const state = (route) => route.paused ? tag("paused", "warn") : !route.served ? tag("no worker", "bad")
    : route.outage ? tag("down " + duration(now - when(route.outage.since)), "bad") : tag("up", "good");
  replace("routes", table([
    ["Route", (r) => r.name, "wrap"],
    ["State", state],
    ["Waiting", (r) => brief(r.states.waiting), "number"],
    ["Deferred", (r) => brief(r.states.deferred), "number"],
    ["Active", (r) => brief(r.states.active), "number"],
    ["Held", (r) => brief(r.states.held), "number"],
    ["Delivered", (r) => brief(r.ended.delivered), "number"],
    ["Failed", (r) => brief(r.ended.failed + r.ended.expired), "number"],
    ["Oldest", (r) => r.oldest ? duration(now - when(r.oldest)) : "", "number"],
    ["Sessions", (r) => r.served ? `${r.sessions} of ${r.window}` : "", "number"],
    ["Limited by", (r) => r.outage ? r.outage.why : r.limits, "wrap"],
  ], status.routes, "No mail was ever queued, and no route is configured."));
  replace("destinations", table([
    ["Destination", (d) => d.name, "wrap"],
    ["State", (d) => d.outage ? tag("down " + duration(now - when(d.outage.since)), "bad")
      : d.proven ? tag("up", "good") : tag("not tried yet", "")],
    ["Serves", (d) => d.routes.join(", "), "wrap"],
    ["Waiting for it", (d) => brief(d.waiting), "number"],
    ["Sessions", (d) => d.sessions + (d.idle ? ` + ${d.idle} idle` : ""), "number"],
    ["Mode", (d) => d.takes ? `${d.mode}, ${d.takes}` : d.mode, "wrap"],
    ["Last words", (d) => d.outage ? d.outage.why : d.last_doubt, "wrap"],
  ], status.destinations, "No worker tells of any."));
  replace("errors", table([
    ["Times", (e) => count(e.count), "number"],
    ["What was said", (e) => reply(e), "code"],
    ["At", (e) => e.stage],
    ["Destination", (e) => e.destination || "route " + e.route, "wrap"],
    ["So it was", (e) => e.outcome],
    ["Last", (e) => ago(e.last_at, now), "number"],
    ["For example", (e) => ident(e.message_id)],
  ], status.errors, "None since this command started."));
  replace("workers", table([
    ["Host", (w) => w.host],
    ["Process", (w) => String(w.pid), "number"],
    ["State", (w) => w.lives ? tag("alive", "good") : tag("silent", "bad")],
    ["Last sign of life", (w) => ago(w.beat_at, now), "number"],
    ["Running for", (w) => duration(now - when(w.started)), "number"],
    ["Routes", (w) => String(w.routes), "number"],
    ["Sessions", (w) => String(w.sessions), "number"],
    ["Memory", (w) => size(w.memory), "number"],
    ["Version", (w) => w.version],
  ], status.workers, "No worker is running."));
  const spool = status.answers ? "" : " · the spool does not answer: " + status.trouble;
  $("foot").textContent = `spooler ${status.version} · seen at ${clock(now, now)}, kept since ${clock(when(status.started), now)}${spool}`;
}

function showOldest(found, now) {
  const state = (r) => r.state === "held" ? tag("held", "warn") : r.state === "active" ? tag("with a worker", "good")
    : when(r.due) > now ? "again in " + duration(when(r.due) - now) : "due";
  replace("oldest", table([
    ["Message", (r) => ident(r.message_id)],
    ["Age", (r) => duration(now - when(r.created)), "number"],
    ["From", (r) => r.sender || "<>", "wrap"],
    ["To", (r) => r.address, "wrap"],
    ["Route", (r) => r.route, "wrap"],
    ["Tries", (r) => String(r.attempts), "number"],
    ["Next", state],
    ["Last reply", (r) => r.hold || reply(r), "code"],
  ], found.recipients, "The queue is empty."));
}

// charts

const SVG = "http://www.w3.org/2000/svg", HEIGHT = 176, LEFT = 46, BOTTOM = 20, TOP = 8;

function shape(tag, about, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(about)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}
function nice(most) {
  const power = 10 ** Math.floor(Math.log10(most || 1));
  return [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= most) || 1;
}
// layers: [class, values], drawn on top of one another, from the bottom up
function chart(id, times, layers, edge) {
  if (times.length < 2) { replace(id, el("p", { class: "empty", text: "Drawn as soon as there is something to see." })); return; }
  const sums = times.map((_, i) => layers.reduce((n, [, values]) => n + values[i], 0));
  const top = Math.max(nice(Math.max(...sums)), 2), first = times[0], length = times[times.length - 1] - first || 1;
  const width = Math.max($(id).clientWidth, 240); // so that a unit is a pixel, and no text is stretched
  const x = (t) => LEFT + (width - LEFT - 4) * (t - first) / length;
  const y = (n) => HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * n / top;
  const svg = shape("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": `at most ${brief(Math.max(...sums))}` });
  for (const part of [0, .5, 1]) {
    svg.append(shape("line", { class: "grid", x1: LEFT, x2: width, y1: y(top * part), y2: y(top * part) }));
    svg.append(shape("text", { x: LEFT - 6, y: y(top * part) + 4, "text-anchor": "end" }, brief(top * part)));
  }
  let under = times.map(() => 0);
  for (const [kind, values] of layers) {
    const over = under.map((n, i) => n + values[i]);
    const up = times.map((t, i) => `${x(t).toFixed(1)},${y(over[i]).toFixed(1)}`);
    const down = times.map((t, i) => `${x(t).toFixed(1)},${y(under[i]).toFixed(1)}`).reverse();
    svg.append(shape("polygon", { class: edge ? "speed" : "area " + kind, points: up.concat(down).join(" ") }));
    if (edge) svg.append(shape("polyline", { class: "edge", points: up.join(" ") }));
    under = over;
  }
  const last = times[times.length - 1] / 1000;
  svg.append(shape("text", { x: LEFT, y: HEIGHT - 5 }, clock(first / 1000, last)));
  svg.append(shape("text", { x: width - 2, y: HEIGHT - 5, "text-anchor": "end" }, clock(last, last)));
  replace(id, svg);
}

function showCharts() {
  const points = history && history[span];
  if (!points) return;
  const at = points.at || [], steps = at.slice(1);
  const speed = steps.map((t, i) => Math.max(0, points.delivered[i + 1] - points.delivered[i]) / ((t - at[i]) / 1e6));
  chart("speed", steps, [["speed", speed]], true);
  const kinds = ["active", "waiting", "deferred", "held"];
  chart("depth", at, kinds.map((kind) => [kind, points[kind] || []]), false);
  replace("legend", ...kinds.map((kind) => el("span", { class: "key " + kind }, el("span", { text: kind }))));
}

// a story

function showStory(what, found, now) {
  const story = $("story");
  story.hidden = false;
  const close = el("button", { type: "button", text: "Close", click: () => { location.hash = ""; } });
  story.replaceChildren(el("div", { class: "head" }, el("h2", { text: "What became of " + what }), close));
  if (found.error) { story.append(el("p", { class: "empty", text: found.error + (found.hint ? ": " + found.hint : "") })); return; }
  for (const message of found.messages) {
    const about = message.message;
    story.append(el("h3", {}, ident(message.id), about ? ` from ${about.sender || "<>"}, ${count(about.size)} bytes, to ${recipients(about.recipients)}` : ""));
    const rows = message.events.map((e) => ({
      at: clock(when(e.at), now), what: e.outcome + (e.attempt ? ", try " + e.attempt : "") + (e.uncertain ? ", may be delivered" : "") + (e.late ? ", too late to count" : ""),
      to: e.address, where: e.destination, words: reply(e) || (e.who ? `by ${e.who}` + (e.why ? ": " + e.why : "") : "") }));
    if (about) rows.unshift({ at: clock(when(about.created), now), what: "queued", to: "", where: "", words: about.job ? "job " + about.job : "" });
    for (const r of message.queued) rows.push({
      at: "now", what: r.state, to: r.address, where: "",
      words: r.hold ? "held: " + r.hold : r.state === "active" ? "with worker " + r.lease
        : when(r.due) > now ? "next try in " + duration(when(r.due) - now) : "due" });
    story.append(table([["When", (r) => r.at], ["What", (r) => r.what], ["Recipient", (r) => r.to, "wrap"], ["Where", (r) => r.where], ["Words", (r) => r.words, "code"]], rows, ""));
  }
  if (found.more) story.append(el("p", { class: "soft", text: "There is more: spooler trace shows all." }));
}
function ask(what) {
  const hash = "#trace=" + encodeURIComponent(what);
  if (location.hash === hash) follow(); else location.hash = hash; // the same again: as it is now
}
async function follow() {
  const match = location.hash.match(/^#trace=(.+)$/);
  if (!match) { $("story").hidden = true; return; }
  let what = match[1];
  try { what = decodeURIComponent(what); } catch { /* as it was typed */ }
  $("what").value = what;
  let found;
  try { found = await (await fetch(new URL("api/v1/trace/" + encodeURIComponent(what), BASE))).json(); }
  catch (error) { found = { error: "No answer: " + String(error.message || error) }; }
  showStory(what, found, Date.now());
  $("story").scrollIntoView({ block: "start" });
}

// keeping up

async function get(path) {
  const answer = await fetch(new URL(path, BASE));
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}
async function look() {
  try {
    const status = await get("api/v1/status"), now = when(status.at);
    lostSince = null;
    showProblems(status.problems, now);
    showTiles(status, now);
    showTables(status, now);
    if (status.answers) showOldest(await get("api/v1/queue"), now);
    else replace("oldest", el("p", { class: "empty", text: "Not known: the spool does not answer." }));
  } catch (error) {
    lostSince = lostSince || Date.now();
    showProblems([{ level: "bad", what: "This page gets no answer: what is below is old", why: String(error.message || error), since: new Date(lostSince).toISOString(), waiting: 0, probe_at: null }], Date.now());
  }
}
async function lookBack() {
  try { history = await get("api/v1/history"); showCharts(); } catch { /* told by look */ }
}
async function forever(act, every) {
  for (;;) {
    if (!document.hidden) await act();
    await new Promise((done) => setTimeout(done, every()));
  }
}
for (const name of ["near", "far"]) $(name).addEventListener("click", () => {
  span = name;
  for (const other of ["near", "far"]) $(other).setAttribute("aria-pressed", String(other === name));
  showCharts();
});
$("search").addEventListener("submit", (event) => { event.preventDefault(); const what = $("what").value.trim(); if (what) ask(what); });
window.addEventListener("hashchange", follow);
window.addEventListener("resize", showCharts);
follow();
forever(look, () => EVERY);
forever(lookBack, () => history && (history.near.at || []).length > MANY ? SELDOM : EVERY);
