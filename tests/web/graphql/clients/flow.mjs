// The main flow, written once for every client: send, follow, answer, and resume with a cursor.
// A client is { execute(query, variables), subscribe(query, variables) -> async iterable, end() }.

const SEND = `mutation Send($input: SendMessageInput!) { sendMessage(input: $input) {
  ... on SendMessagePayload { process { pid sessionId interrupts { interruptId options } } }
  ... on Error { message } } }`;
const ANSWER = `mutation Answer($input: AnswerClarificationInput!) { answerClarification(input: $input) {
  ... on AnswerPayload { process { state reply } } ... on Error { message } } }`;
const EVENTS = `subscription Events($id: ID!, $after: String) {
  sessionEvents(sessionId: $id, after: $after) { type seq cursor } }`;

async function take(stream, done) {
  const events = [];
  for await (const { data, errors } of stream) {
    if (errors) throw new Error(JSON.stringify(errors));
    events.push(data.sessionEvents);
    if (done(data.sessionEvents)) break; // leaves the subscription
  }
  return events;
}

export async function run(client) {
  const sent = await client.execute(SEND, { input: { text: 'which?', capability: 'asks' } });
  const { pid, sessionId, interrupts } = sent.data.sendMessage.process;
  const asked = await take(
    client.subscribe(EVENTS, { id: sessionId, after: '' }),
    (event) => event.type === 'interrupt.raised',
  );
  const answered = await client.execute(ANSWER, {
    input: { interruptId: interrupts[0].interruptId, answer: interrupts[0].options[1] },
  });
  const { state, reply } = answered.data.answerClarification.process;
  const rest = await take(
    client.subscribe(EVENTS, { id: sessionId, after: asked.at(-1).cursor }),
    (event) => event.type === 'process.completed',
  );
  const wrong = await client.execute('{ nothing }', {});
  await client.end();
  const seen = [...asked, ...rest];
  console.log(JSON.stringify({
    pid, state, reply, errors: wrong.errors.length,
    seqs: seen.map((event) => event.seq), types: seen.map((event) => event.type),
  }));
}
