// graphql-sse: queries, mutations and subscriptions as server-sent events.
import { createClient } from 'graphql-sse';
import { run } from './flow.mjs';

const client = createClient({ url: process.argv[2], retryAttempts: 0 });

async function execute(query, variables) {
  for await (const result of client.iterate({ query, variables })) return result;
}

await run({
  execute,
  subscribe: (query, variables) => client.iterate({ query, variables }),
  end: () => client.dispose(),
});
