import { afterAll, beforeAll, expect, test } from 'vitest';
import { scale } from '../settings.js';
import { deliverable, ENDPOINTS, type Endpoint, isSameJson, oddAnswer, soundAnswer } from './answers.js';
import {
  backgroundResponses,
  type End,
  messageBatch,
  nativeJob,
  type OddRequest,
  openaiBatch,
  plainRequests,
  type Road,
} from './roads.js';
import { CHAT_MODEL, largeMarker, MODEL, OddStack, oddMarker, soundMarker } from './stack.js';

/** Each seed is one odd answer on one road. */
const SEEDS = scale('PROOF_ODD_SEEDS', 1_000);
const FIRST_SEED = scale('PROOF_SEED', 1);
const MAX_ATTEMPTS = 3;
/** Odd items of one job, or of one round of single requests, and the sound ones that stand around each. */
const ODD_AT_ONCE = 6;
const NEIGHBOURS = 3;
const GROUPS_AT_ONCE = 4;

type Answer = Readonly<Record<string, unknown>>;

interface Way {
  readonly name: string;
  readonly road: Road;
  readonly endpoints: readonly Endpoint[];
  readonly model: string;
  /** Answers are rewritten on the way, so that only their end is checked. */
  readonly rewritten?: boolean;
}

const MESSAGES = ['/v1/messages'] as const;
const WAYS: readonly Way[] = [
  {
    name: 'an OpenAI batch',
    road: openaiBatch,
    endpoints: ENDPOINTS.filter((one) => one !== '/v1/messages'),
    model: MODEL,
  },
  { name: 'a native job', road: nativeJob, endpoints: ENDPOINTS, model: MODEL },
  { name: 'a message batch', road: messageBatch, endpoints: MESSAGES, model: MODEL },
  {
    name: 'a translated message batch',
    road: messageBatch,
    endpoints: MESSAGES,
    model: CHAT_MODEL,
    rewritten: true,
  },
  ...ENDPOINTS.map(
    (endpoint): Way => ({
      ...{ name: `plain requests to ${endpoint}`, road: plainRequests, endpoints: [endpoint], model: MODEL },
    }),
  ),
  { name: 'background responses', road: backgroundResponses, endpoints: ['/v1/responses'], model: MODEL },
];

const stack = new OddStack();

beforeAll(() => stack.start());
afterAll(() => stack.close());

const endpointOf = (way: Way, seed: number): Endpoint =>
  way.endpoints[seed % way.endpoints.length] ?? '/v1/chat/completions';

/** The requests of some seeds, with their neighbours between them. */
function requestsOf(way: Way, seeds: readonly number[]): OddRequest[] {
  return seeds.flatMap((seed) => {
    const common = { endpoint: endpointOf(way, seed), model: way.model };
    const neighbours = Array.from({ length: NEIGHBOURS }, (_, index) => ({
      ...common,
      ...{ id: `sound-${seed}-${index}`, text: soundMarker(`${seed}-${index}`) },
    }));
    return neighbours.toSpliced(seed % NEIGHBOURS, 0, {
      ...common,
      id: `odd-${seed}`,
      text: oddMarker(seed),
    });
  });
}

/** What a response leaves out is filled in for strict clients, and a background response has our own id and times. */
function isSame(way: Way, endpoint: Endpoint, delivered: unknown, expected: Answer): boolean {
  if (endpoint !== '/v1/responses') return isSameJson(delivered, expected);
  const { id: _id, object: _object, created_at: _createdAt, background: _background, ...said } = expected;
  const { status: _status, completed_at: _completedAt, error: _error, ...others } = said;
  return isSameJson(delivered, way.road === backgroundResponses ? others : said, true);
}

/** What is wrong with the end of an odd request; `null` when nothing is. */
function faultOf(way: Way, seed: number, end: End | undefined): string | null {
  if (end === undefined) return 'it has no end';
  if (stack.sent(oddMarker(seed)) > MAX_ATTEMPTS) return `it was sent ${stack.sent(oddMarker(seed))} times`;
  const hasWords = end.ok || (typeof end.words === 'string' && end.words.trim() !== '');
  if (!hasWords) return `it failed without words: ${end.raw.slice(0, 300)}`;
  if (way.rewritten === true) return null;
  const answer = oddAnswer(endpointOf(way, seed), seed, oddMarker(seed));
  const expected = deliverable(endpointOf(way, seed), answer);
  if (expected === null) return end.ok ? `what is no answer was delivered: ${end.raw.slice(0, 300)}` : null;
  if (!end.ok) return `an answer failed: ${end.raw.slice(0, 300)}`;
  return isSame(way, endpointOf(way, seed), end.answer, expected)
    ? null
    : `it came out changed: ${end.raw.slice(0, 300)}`;
}

function neighbourFaults(
  way: Way,
  requests: readonly OddRequest[],
  ends: ReadonlyMap<string, End>,
): string[] {
  return requests.flatMap(({ id, endpoint, text }) => {
    if (!id.startsWith('sound')) return [];
    const end = ends.get(id);
    const expected = soundAnswer(endpoint, text);
    const isRight =
      end?.ok === true &&
      (way.rewritten === true ? end.raw.includes(text) : isSame(way, endpoint, end.answer, expected));
    if (!isRight) return [`${way.name}, ${id}: ${end?.raw.slice(0, 300) ?? 'no end'}`];
    return stack.sent(text) > MAX_ATTEMPTS ? [`${way.name}, ${id} was sent ${stack.sent(text)} times`] : [];
  });
}

test.each(WAYS)(
  'an odd answer on the road of $name stays with its item',
  { timeout: 600_000 },
  async (way) => {
    const place = WAYS.indexOf(way);
    const seeds = Array.from({ length: SEEDS }, (_, index) => FIRST_SEED + index).filter(
      (seed) => seed % WAYS.length === place,
    );
    const groups = Array.from({ length: Math.ceil(seeds.length / ODD_AT_ONCE) }, (_, index) =>
      seeds.slice(index * ODD_AT_ONCE, (index + 1) * ODD_AT_ONCE),
    );
    const faults: string[] = [];
    let next = 0;
    const work = async (): Promise<void> => {
      for (let group = groups[next]; group !== undefined; group = groups[next]) {
        next += 1;
        const requests = requestsOf(way, group);
        const ends = await way.road(stack.url, requests);
        for (const seed of group) {
          const fault = faultOf(way, seed, ends.get(`odd-${seed}`));
          if (fault !== null) faults.push(`${way.name}, seed ${seed}: ${fault}`);
        }
        faults.push(...neighbourFaults(way, requests, ends));
      }
    };
    await Promise.all(Array.from({ length: GROUPS_AT_ONCE }, work));
    expect(faults).toEqual([]);
    expect(stack.runner?.report().models).toEqual(expect.arrayContaining([MODEL, CHAT_MODEL]));
  },
);

test('a large answer is delivered, and one that is too large fails at once, with words, beside its neighbours', {
  timeout: 300_000,
}, async () => {
  const common = { endpoint: '/v1/embeddings', model: MODEL } as const;
  const ends = await nativeJob(stack.url, [
    { ...common, id: 'large', text: largeMarker(40) },
    { ...common, id: 'sound', text: soundMarker('beside-large') },
    { ...common, id: 'too-large', text: largeMarker(200) },
  ]);
  expect(ends.get('large')).toMatchObject({ ok: true });
  expect(ends.get('large')?.raw.length).toBeGreaterThan(39 * 1024 * 1024);
  expect(ends.get('sound')).toMatchObject({ ok: true });
  expect(ends.get('too-large')).toMatchObject({ ok: false, words: expect.stringContaining('answerBytes') });
  for (const mebibytes of [40, 200]) expect(stack.sent(largeMarker(mebibytes))).toBe(1);
});
