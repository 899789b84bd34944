// graphql-ws: everything over one WebSocket.
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { run } from './flow.mjs';

const client = createClient({
  url: process.argv[2].replace('http', 'ws'), webSocketImpl: WebSocket, retryAttempts: 0,
});

async function execute(query, variables) {
  try {
    for await (const result of client.iterate({ query, variables })) return result;
  } catch (errors) {
    return { errors }; // graphql-ws throws what the server refuses before executing it
  }
}

await run({
  execute,
  subscribe: (query, variables) => client.iterate({ query, variables }),
  end: () => client.dispose(),
});
