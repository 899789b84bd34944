// Keeps the page up to date: at once when the server tells of a change, and now and then anyway.
"use strict";

const SECONDS = Number(document.body.dataset.seconds);
const live = document.getElementById("live");
let waiting = null;
let tries = 0;

function say(text, isLive) {
  if (live.textContent !== text) live.textContent = text;
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

async function refresh() {
  clearTimeout(waiting);
  waiting = setTimeout(refresh, SECONDS * 1000);
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    merge(document.getElementById("dashboard"), page.getElementById("dashboard"));
  } catch {
    say("The server does not answer; trying again", false);
  }
}

function follow() {
  const url = new URL("/graphql", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url, "graphql-transport-ws");
  const send = (message) => socket.send(JSON.stringify(message));
  socket.onopen = () => send({ type: "connection_init" });
  socket.onmessage = ({ data }) => {
    const { type } = JSON.parse(data);
    if (type === "ping") send({ type: "pong" });
    if (type === "connection_ack") {
      send({ id: "1", type: "subscribe", payload: { query: "subscription { systemEvents { type } }" } });
      tries = 0;
      say("Live", true);
      refresh();
    }
    if (type === "next") refresh();
    if (type === "error") socket.close();
  };
  socket.onclose = () => {
    say(`Looks again every ${SECONDS} seconds`, false);
    tries += 1;
    setTimeout(follow, Math.min(60, 2 ** tries) * 1000);
  };
}

waiting = setTimeout(refresh, SECONDS * 1000);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
follow();
