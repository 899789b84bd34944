// Apollo Client: queries and mutations over HTTP; subscriptions over a WebSocket, or over HTTP as
// well, in parts, when the second argument is "multipart".
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { OperationTypeNode } from 'graphql';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { run } from './flow.mjs';

const [, , uri, way] = process.argv;
const socket = createClient({ url: uri.replace('http', 'ws'), webSocketImpl: WebSocket });
const client = new ApolloClient({
  cache: new InMemoryCache(),
  defaultOptions: { query: { errorPolicy: 'all' }, mutate: { errorPolicy: 'all' } },
  link: ApolloLink.split(
    ({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION && way !== 'multipart',
    new GraphQLWsLink(socket),
    new HttpLink({ uri }),
  ),
});

async function execute(text, variables) {
  const document = gql(text);
  const mutates = document.definitions[0].operation === 'mutation';
  const { data, error } = mutates
    ? await client.mutate({ mutation: document, variables })
    : await client.query({ query: document, variables });
  return { data, errors: error?.errors };
}

async function* subscribe(text, variables) {
  const results = [];
  let wake;
  const subscription = client.subscribe({ query: gql(text), variables }).subscribe((result) => {
    results.push(result);
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

await run({
  execute,
  subscribe,
  end: async () => { client.stop(); await socket.dispose(); },
});
