// Prints what the sample gives, line by line: url, session and `after` are the arguments.
import { follow } from './follow.mjs';

const [url, sessionId, after] = process.argv.slice(2);
const print = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const end = new AbortController();
try {
  await follow({
    url,
    sessionId,
    after,
    signal: end.signal,
    onGap: (cursor) => print({ gap: cursor }),
    onEvent(event) {
      print(event);
      if (event.type === 'chat.session.updated') end.abort(); // how the test says that it is over
    },
  });
  print({ ended: true });
} catch (error) {
  print({ refused: error[0]?.extensions.code ?? String(error) });
}
