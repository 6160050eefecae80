import { seededRandom } from '@batch-infer/testkit/chaos-transport/random';
import { describe, expect, test, vi } from 'vitest';
import type { Mood, Poison } from '../test/moody-engine.js';
import { type MoodyRun, runMoody } from '../test/moody-runner.js';

// Some seconds of computing for each part, many times that on a machine with other work.
vi.setConfig({ testTimeout: 240_000 });

const SEEDS = Array.from({ length: 200 }, (_, index) => index + 1);
const PARTS = 8;

/** Statuses that mean something, those that mean little, and some that nobody has heard of. */
const STATUSES = [
  ...[200, 301, 302, 303, 304, 307, 308],
  ...Array.from({ length: 32 }, (_, index) => 400 + index),
  ...Array.from({ length: 12 }, (_, index) => 500 + index),
  529,
];
const BODIES = [
  '404 page not found\n',
  '<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>',
  '{"detail":"Not Found"}',
  '{"detail":[{"loc":["body","messages"],"msg":"Field required","type":"missing"}]}',
  '{"error":"Unauthorized"}',
  '{"error":{"message":"The model `sim-model` does not exist.","type":"NotFoundError","param":"model","code":404}}',
  '{"error":{"message":"no healthy upstream","type":"server_error","param":null,"code":"x"}}',
  '{"message":"no Route matched with those values"}',
  '{"errors":[{"message":"try later"}]}',
  'upstream connect error or disconnect/reset before headers',
  '',
];
const HINTS = [null, null, 1_000, 3_600_000];
const POISONS: readonly Omit<Poison, 'text'>[] = [
  { status: 400, body: '{"error":{"message":"temperature must be non-negative"}}', retryAfterMs: null },
  { status: 422, body: '{"detail":[{"loc":["body","n"],"msg":"too many"}]}', retryAfterMs: null },
  { status: 500, body: '{"error":{"message":"index out of range"}}', retryAfterMs: null },
  { status: 503, body: 'not this one', retryAfterMs: 3_600_000 },
  { status: 403, body: '<html>blocked by a rule</html>', retryAfterMs: null },
  { status: 200, body: '<html>not a completion</html>', retryAfterMs: null },
];
const BAD = 'is bad';
/** Sends of an item that is bad: its attempts, and those that others' doubt, or the engine's word, made free. */
const MOST_SENDS = 16;
const LIMIT_MS = 400_000;

interface Dice {
  readonly random: () => number;
  readonly pick: <T>(values: readonly T[]) => T;
  readonly between: (low: number, high: number) => number;
}

function diceOf(seed: number): Dice {
  const random = seededRandom(seed);
  const between = (low: number, high: number) => low + random() * (high - low);
  const pick = <T>(values: readonly T[]): T => {
    const value = values[Math.floor(random() * values.length)];
    if (value === undefined) throw new Error('nothing to pick from');
    return value;
  };
  return { random, pick, between };
}

/** Moods of 1 to 30 s, with good moments between them. */
function moodsOf({ pick, between, random }: Dice, untilMs: number): Mood[] {
  const moods: Mood[] = [];
  let fromMs = random() < 0.2 ? 0 : between(50, 4_000);
  while (fromMs < untilMs) {
    const lengthMs = random() < 0.7 ? between(1_000, 6_000) : between(6_000, 30_000);
    const said = { status: pick(STATUSES), body: pick(BODIES), retryAfterMs: pick(HINTS) };
    moods.push({ ...said, fromMs, untilMs: fromMs + lengthMs, afterMs: random() < 0.8 ? 2 : 400 });
    fromMs += lengthMs + between(5_000, 10_000);
  }
  return moods;
}

function scenarioOf(seed: number): MoodyRun & { readonly poison: Poison | null } {
  const dice = diceOf(seed);
  const { random, pick, between } = dice;
  const count = pick([1, 3, 40, 120]);
  const share = pick([0, 0, 0.02, 0.3]);
  const poison = share === 0 ? null : { text: BAD, ...pick(POISONS) };
  const items = Array.from(
    { length: count },
    (_, index) => `item ${index} ${random() < share ? BAD : 'is good'}`,
  );
  const replicas = pick([1, 1, 3]);
  const spreadMs = pick([0, 5_000, 20_000]);
  const engines = Array.from({ length: replicas }, (_, index) => {
    const moody = replicas === 1 || index === 0;
    const lasting: Mood = {
      fromMs: 0,
      untilMs: 1e9,
      status: 404,
      body: pick(BODIES),
      retryAfterMs: null,
      afterMs: 2,
    };
    const moods = moody ? (replicas === 3 && random() < 0.5 ? [lasting] : moodsOf(dice, 30_000)) : [];
    // After the moods: two troubles in a row are one that is longer.
    const fromMs = (moods.at(-1)?.untilMs ?? 0) + between(5_000, 10_000);
    const gap = { fromMs, untilMs: fromMs + between(1_000, 12_000), other: pick([null, 'another-model']) };
    return {
      ...{ serviceMs: pick([20, 200, 2_000]), slots: pick([4, 8, 64]), moods },
      poisons: poison === null ? [] : [poison],
      without:
        moody && moods.length === 0 && random() < 0.5 ? [gap] : random() < 0.2 && replicas === 1 ? [gap] : [],
      health: pick([200, 200, 404, 503, 'silent'] as const),
    };
  });
  return {
    random,
    items,
    engines,
    poison,
    limitMs: LIMIT_MS,
    arriveAtMs: (index) => (index / count) * spreadMs,
  };
}

describe.each(Array.from({ length: PARTS }, (_, part) => part))(
  'engines whose mood changes, part %i',
  (part) => {
    const seeds = SEEDS.filter((seed) => seed % PARTS === part);
    test.each(seeds)(
      'seed %i: no good item is lost, no bad one stays, and no pause lacks its reason',
      async (seed) => {
        const scenario = scenarioOf(seed);
        const { outcomes, sends, silentPauses } = await runMoody(scenario);
        for (const [index, text] of scenario.items.entries()) {
          const outcome = outcomes[index];
          const isBad = text.includes(BAD);
          expect({ text, ...outcome?.header, body: undefined }, `item ${index}`).toMatchObject({
            ok: !isBad,
          });
          if (isBad) expect(sends[index], `sends of item ${index}`).toBeLessThanOrEqual(MOST_SENDS);
        }
        expect(silentPauses).toEqual([]);
      },
    );
  },
);
