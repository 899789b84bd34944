// The public audit of GraphQL over HTTP: one line of JSON for each of its checks.
import { serverAudits } from 'graphql-http';

// What is read by GET must come with a header that no page elsewhere can send unasked.
const asking = (url, init) =>
  (init?.method ?? 'GET') === 'GET'
    ? fetch(url, { ...init, headers: { ...init?.headers, 'GraphQL-Require-Preflight': '1' } })
    : fetch(url, init);

for (const audit of serverAudits({ url: process.argv[2], fetchFn: asking })) {
  const { status, reason } = await audit.fn();
  console.log(JSON.stringify({ id: audit.id, name: audit.name, status, reason }));
}
