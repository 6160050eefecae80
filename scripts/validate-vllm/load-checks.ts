import { setTimeout as delay } from 'node:timers/promises';
import { type Answer, type EngineAccess, judged, wordFor } from './engine-access.ts';
import type { Recording } from './recording.ts';
import { type Check, rate, seconds } from './table.ts';

const OUTPUT_TOKENS = 64;
/** The levels take turns, and the best of each counts: what else runs on the machine disturbs some rounds only. */
const ROUNDS = 3;

export interface Level {
  readonly concurrency: number;
  readonly tokensPerSecond: number;
}

/** Output tokens a second of a client that keeps so many requests in flight, two rounds of them. */
async function measure(engine: EngineAccess, concurrency: number): Promise<Level> {
  let left = Math.max(2, 2 * concurrency);
  let tokens = 0;
  const worker = async () => {
    while (left > 0) {
      left -= 1;
      const { verdict } = await engine.ask(
        engine.chatBody(`Tell story ${concurrency}-${left}.`, OUTPUT_TOKENS),
      );
      if (verdict?.ok === true) tokens += verdict.usage?.[2] ?? 0;
    }
  };
  const fromMs = performance.now();
  await Promise.all(Array.from({ length: concurrency }, worker));
  return { concurrency, tokensPerSecond: (1_000 * tokens) / (performance.now() - fromMs) };
}

export async function measureLevels(engine: EngineAccess, levels: readonly number[]): Promise<Level[]> {
  await engine.ask(engine.chatBody('Wake up.', 8));
  const best = new Map<number, Level>();
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const concurrency of levels) {
      const level = await measure(engine, concurrency);
      const before = best.get(concurrency);
      if (before === undefined || level.tokensPerSecond > before.tokensPerSecond)
        best.set(concurrency, level);
    }
  }
  return [...best.values()];
}

export function levelChecks(levels: readonly Level[]): Check[] {
  const [first] = levels;
  const text = levels.map(({ concurrency, tokensPerSecond }) => `${concurrency}: ${rate(tokensPerSecond)}`);
  const eight = levels.find(({ concurrency }) => concurrency === 8);
  const ratio = (eight?.tokensPerSecond ?? Number.NaN) / (first?.tokensPerSecond ?? Number.NaN);
  return [
    {
      name: 'output tokens/s by requests in flight (bare client, best of 3)',
      seen: `${text.join(', ')}; 8 is ${ratio.toFixed(1)} × 1`,
      holds: ratio >= 2,
    },
  ];
}

const atEngine = async (engine: EngineAccess): Promise<number> =>
  (await engine.metric('vllm:num_requests_running')) + (await engine.metric('vllm:num_requests_waiting'));

async function untilAtEngine(engine: EngineAccess, wanted: (count: number) => boolean): Promise<number> {
  const fromMs = performance.now();
  while (performance.now() - fromMs < 60_000) {
    if (wanted(await atEngine(engine))) return performance.now() - fromMs;
    await delay(20);
  }
  return Number.POSITIVE_INFINITY;
}

/** Connections closed by us must take their requests with them: that is how items are cancelled. */
export async function checkDisconnect(engine: EngineAccess): Promise<Check[]> {
  const calls = Array.from({ length: 40 }, (_, index) =>
    engine.call(engine.chatBody(`Tell a very long story ${index}.`, 1_500)),
  );
  await untilAtEngine(engine, (count) => count >= calls.length);
  for (const call of calls) call.abort();
  const ms = await untilAtEngine(engine, (count) => count === 0);
  const words = new Set(
    (await Promise.all(calls.map((call) => call.reply))).map((reply) => wordFor(judged(reply))),
  );
  return [
    {
      name: '40 requests, connections closed: all gone from the engine within 1 s',
      seen: `${Math.round(ms)} ms; ${[...words].join(', ')}`,
      holds: ms <= 1_000,
    },
  ];
}

/** More requests than run and may wait: the rest must be refused in words that mean "later". */
export async function checkQueueCap(
  engine: EngineAccess,
  recording: Recording,
  { running, queued }: { running: number; queued: number },
): Promise<Check[]> {
  const surplus = 20;
  const answers: Answer[] = [];
  const calls = Array.from({ length: running + queued + surplus }, (_, index) => {
    const call = engine.call(engine.chatBody(`Tell a very long story ${index}.`, 400));
    void call.reply.then((reply) => answers.push(judged(reply)));
    return call;
  });
  const fromMs = performance.now();
  while (answers.length < surplus && performance.now() - fromMs < 30_000) await delay(50);
  const refused = answers.filter(({ status }) => status === 503);
  for (const call of calls) call.abort();
  await untilAtEngine(engine, (count) => count === 0);
  const [one] = refused;
  if (one !== undefined) recording.answer('queue cap', one);
  return [
    {
      name: `\`--max-num-queued-reqs ${queued}\`, ${calls.length} requests at once, ${running} run`,
      seen: `${refused.length} × 503 → \`${one === undefined ? 'none' : wordFor(one)}\``,
      holds: refused.length >= 1 && refused.every((answer) => wordFor(answer) === 'engine_overloaded'),
    },
  ];
}

export interface Shutdown {
  readonly timeoutSeconds: number;
  readonly outputTokens: number;
  readonly terminate: () => void;
  readonly ended: () => Promise<number>;
}

/** SIGTERM with requests in flight, and a few that come after it. */
export async function checkShutdown(
  engine: EngineAccess,
  recording: Recording,
  { timeoutSeconds, outputTokens, terminate, ended }: Shutdown,
): Promise<Check[]> {
  const inFlight = Array.from({ length: 8 }, (_, index) =>
    engine.ask(engine.chatBody(`Tell a long story ${index}.`, outputTokens)),
  );
  await untilAtEngine(engine, (count) => count >= inFlight.length);
  terminate();
  const exited = ended();
  await delay(300);
  const late: Answer[] = [];
  for (let index = 0; index < 3; index += 1)
    late.push(await engine.ask(engine.chatBody(`Late ${index}.`, 4)));
  const early = await Promise.all(inFlight);
  const exitMs = await exited;
  for (const answer of early) recording.answer(`shutdown with timeout ${timeoutSeconds}, in flight`, answer);
  for (const answer of late) recording.answer(`shutdown with timeout ${timeoutSeconds}, late`, answer);
  const goneWords = new Set(['engine_aborted', 'engine_unreachable', 'connection_lost']);
  const fine = (answer: Answer) =>
    timeoutSeconds > 0 ? answer.verdict?.ok === true : goneWords.has(wordFor(answer));
  return [
    {
      name: `SIGTERM, \`--shutdown-timeout ${timeoutSeconds}\`: 8 in flight`,
      seen: `${tally(early)}; process gone after ${seconds(exitMs)}`,
      holds: early.every(fine),
    },
    {
      name: `SIGTERM, \`--shutdown-timeout ${timeoutSeconds}\`: 3 that come later`,
      seen: tally(late),
      holds: late.every((answer) => goneWords.has(wordFor(answer))),
    },
  ];
}

function tally(answers: readonly Answer[]): string {
  const counts = new Map<string, number>();
  for (const answer of answers) {
    const broken = answer.reply.kind === 'broken' ? answer.reply.broken : answer.reply.kind;
    const key = `${answer.status === 0 ? broken : answer.status} → \`${wordFor(answer)}\``;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].map(([key, count]) => `${count} × ${key}`).join(', ');
}
