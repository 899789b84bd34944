// urql: queries by GET, mutations by POST, subscriptions as server-sent events, and whatever it asks
// for it asks for in every form that it can read.
import { createClient, fetchExchange } from '@urql/core';
import { run } from './flow.mjs';

// Who leaves a subscription aborts its fetch, and urql leaves what the read then rejects unhandled.
process.on('unhandledRejection', (reason) => {
  if (reason?.name !== 'AbortError') throw reason;
});

const client = createClient({
  url: process.argv[2],
  exchanges: [fetchExchange],
  fetchSubscriptions: true,
  fetchOptions: { headers: { 'GraphQL-Require-Preflight': '1' } },
});

async function execute(text, variables) {
  const way = text.startsWith('mutation') ? 'mutation' : 'query';
  const { data, error } = await client[way](text, variables).toPromise();
  if (error?.networkError) throw error;
  return { data, errors: error?.graphQLErrors };
}

async function* subscribe(text, variables) {
  const results = [];
  let wake;
  const subscription = client.subscription(text, variables).subscribe((result) => {
    results.push({ data: result.data, errors: result.error });
    wake?.();
  });
  try {
    for (;;) {
      while (results.length) yield results.shift();
      await new Promise((resolve) => { wake = resolve; });
    }
  } finally {
    subscription.unsubscribe();
  }
}

await run({ execute, subscribe, end: () => {} });
