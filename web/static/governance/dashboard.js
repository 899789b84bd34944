// Keeps the page up to date: at once when the server tells of a change, and now and then anyway.
"use strict";

const SECONDS = Number(document.body.dataset.seconds);
const live = document.getElementById("live");
const LASTED = 60_000; // ms; a connection that lasted so long was well
let waiting = null;
let tries = 0;
let isLive = false;
let isStale = false;
let isLoading = false;

function say(text) {
  if (live.textContent !== text) live.textContent = text;
}

function sayHow() {
  say(isLive ? "Live" : `Looks again every ${SECONDS} seconds`);
  live.classList.toggle("live", isLive);
}

// Takes over what is new and leaves the rest: focus, selection and scrolling stay where they are.
function merge(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  const same = old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName;
  if (!same || old.nodeType !== Node.ELEMENT_NODE) {
    old.replaceWith(fresh.cloneNode(true));
    return;
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) old.setAttribute(name, value);
  const [was, is] = [[...old.childNodes], [...fresh.childNodes]];
  is.forEach((child, n) => (n < was.length ? merge(was[n], child) : old.append(child.cloneNode(true))));
  was.slice(is.length).forEach((child) => child.remove());
}

async function load() {
  try {
    const signal = AbortSignal.timeout(30_000);
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store", signal });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    merge(document.getElementById("dashboard"), page.getElementById("dashboard"));
    sayHow();
  } catch {
    say("The server does not answer; trying again");
  }
}

// One load at a time, so that none overtakes another; whatever happens during one is seen by the next.
async function refresh() {
  isStale = true;
  if (isLoading) return;
  isLoading = true;
  clearTimeout(waiting);
  while (isStale && !document.hidden) {
    isStale = false;
    await load();
  }
  waiting = setTimeout(refresh, SECONDS * 1000);
  isLoading = false;
}

// Only administrators are told of changes: for others there is nothing to connect to again.
function follow() {
  const began = performance.now();
  const url = new URL("/graphql", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url, "graphql-transport-ws");
  const send = (message) => socket.send(JSON.stringify(message));
  const ask = (id, query) => send({ id, type: "subscribe", payload: { query } });
  let role = null;
  socket.onopen = () => send({ type: "connection_init" });
  socket.onmessage = ({ data }) => {
    const { id, type, payload } = JSON.parse(data);
    if (type === "ping") send({ type: "pong" });
    if (type === "connection_ack") ask("role", "{ viewer { role } }");
    if (type === "error" || (type === "next" && payload.errors)) socket.close();
    else if (type === "next" && id === "role") {
      role = payload.data.viewer.role;
      if (role !== "ADMIN") return socket.close();
      ask("changes", "subscription { systemEvents { type } }");
      isLive = true;
      sayHow();
      refresh();
    } else if (type === "next") refresh();
    else if (type === "complete" && id === "changes") socket.close();
  };
  socket.onclose = () => {
    isLive = false;
    sayHow();
    if (role !== null && role !== "ADMIN") return;
    tries = performance.now() - began < LASTED ? tries + 1 : 1;
    setTimeout(follow, Math.min(60, 2 ** tries) * 1000);
  };
}

waiting = setTimeout(refresh, SECONDS * 1000);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
follow();
