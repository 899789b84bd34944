// Follows a session: each event once and in order, whatever becomes of connection and server.
import { createClient } from 'graphql-ws';

const EVENTS = `subscription Events($sessionId: ID!, $after: String) {
  sessionEvents(sessionId: $sessionId, after: $after) { cursor seq type pid payload createdAt }
}`;
const LASTING =
  ['NOT_FOUND', 'FORBIDDEN', 'INVALID_INPUT', 'INVALID_REQUEST', 'TOO_LARGE', 4400, 4403];

// Calls `onEvent` with one event after the other until `signal` aborts; throws what will not pass.
// `after`: cursor of the last event that was dealt with; '' begins with the first event,
// null with what happens from now on. `onGap(cursor)`: something before it cannot be shown, since it
// is no longer kept, or too large, or took too long.
export async function follow({ url, sessionId, after = '', onEvent, onGap, signal, ...options }) {
  // Its own retries would ask for the same `after` again: events would come twice.
  const client = createClient({ url, retryAttempts: 0, keepAlive: 10_000, ...options });
  signal?.addEventListener('abort', () => client.dispose());
  try {
    for (let pause = 100; !signal?.aborted; pause = Math.min(2 * pause, 10_000)) {
      const results = client.iterate({ query: EVENTS, variables: { sessionId, after } });
      let broken;
      const next = () => results.next().catch((error) => ((broken = error), { done: true }));
      for (let result = await next(); !result.done; result = await next()) {
        const { data, errors } = result.value;
        const cursor = data?.sessionEvents.cursor ?? errors[0].extensions.cursor;
        if (!cursor) {
          broken = errors; // of no event: nothing follows
          break;
        }
        await (data ? onEvent(data.sessionEvents) : onGap?.(cursor));
        after = cursor; // what was not dealt with comes again
        pause = 100;
      }
      await results.return(); // one that was left would go on, and count against the user's limit
      const { code, oldest } = Array.isArray(broken) ? broken[0].extensions : (broken ?? {});
      if (LASTING.includes(code)) throw broken;
      if (code === 'CURSOR_EXPIRED') {
        await onGap?.((after = oldest));
      } else if (!signal?.aborted) {
        await new Promise((resume) => setTimeout(resume, pause * (0.5 + Math.random() / 2)));
      }
    }
  } finally {
    client.dispose();
  }
}
