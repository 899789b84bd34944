// Starts GraphiQL on the endpoint that served this page. A file of its own, so that the page can
// forbid inline scripts. Headers typed into the page also go along when a subscription connects.
"use strict";

const OPERATIONS = "static/graphiql/operations/";
const TABS = [
  "send-message",
  "sessions",
  "session-events",
  "reply-stream",
  "create-session",
  "process",
  "questions",
  "answer-clarification",
  "cancel-process",
  "search",
  "server",
];

async function operation(name) {
  const response = await fetch(`${OPERATIONS}${name}.graphql`);
  if (!response.ok) throw new Error(`${response.url}: ${response.status}`);
  return response.text();
}

async function start(element) {
  const endpoint = new URL(location.pathname, location.href);
  const sockets = new URL(endpoint);
  sockets.protocol = endpoint.protocol === "https:" ? "wss:" : "ws:";
  const page = React.createElement(GraphiQL, {
    fetcher: GraphiQL.createFetcher({ url: endpoint.href, subscriptionUrl: sockets.href }),
    // Of a first visit: later ones show what the browser kept.
    defaultTabs: (await Promise.all(TABS.map(operation))).map((query) => ({ query })),
    // Apart from other GraphiQL pages that were ever open on this host and port.
    storage: GraphiQL.createLocalStorage({ namespace: "mission-system" }),
  });
  ReactDOM.createRoot(element).render(page);
}

const element = document.getElementById("graphiql");
start(element).catch((error) => {
  element.textContent = `GraphiQL could not start. ${error.message}`;
});
