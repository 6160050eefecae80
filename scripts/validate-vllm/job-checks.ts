import type { EngineAccess } from './engine-access.ts';
import type { Level } from './load-checks.ts';
import type { JobRun, Product, Sample } from './product.ts';
import type { Recording } from './recording.ts';
import { type Check, rate, seconds, share } from './table.ts';

const WINDOW_ITEMS = 256;
const WINDOW_TOKENS = 64;

const median = (values: readonly number[]): number =>
  values.toSorted((left, right) => left - right)[Math.floor(values.length / 2)] ?? Number.NaN;

const done = (run: JobRun): string => `${run.succeeded} of ${run.items} in ${seconds(run.ms)}`;

/** One job of equal items: how many the runner keeps at the engine, and whether that is where it is fastest. */
export async function checkWindow(
  engine: EngineAccess,
  product: Product,
  recording: Recording,
  levels: readonly Level[],
): Promise<Check[]> {
  const bodies = Array.from({ length: WINDOW_ITEMS }, (_, index) =>
    engine.chatBody(`Tell story number ${index}.`, WINDOW_TOKENS),
  );
  const run = await product.run('window', bodies);
  // The middle of the job: neither its start, when the window is looked for, nor its tail.
  const middle = run.samples.slice(Math.floor(run.samples.length * 0.2), Math.ceil(run.samples.length * 0.8));
  const of = (name: keyof Sample): number => median(middle.map((sample) => sample[name]));
  const all = run.samples.map(({ window, inFlight, running, waiting }) => [
    window,
    inFlight,
    running,
    waiting,
  ]);
  recording.figure('window/in flight/running/waiting, each 0.5 s', all.map((row) => row.join('/')).join(' '));
  recording.figure('window job', { items: WINDOW_ITEMS, outputTokens: WINDOW_TOKENS, ms: run.ms });
  const windows = middle.map(({ window }) => window);
  const best = levels.reduce((top, level) => (level.tokensPerSecond > top.tokensPerSecond ? level : top));
  // More in flight than it takes to be fastest only wait.
  const enough = levels.find(({ tokensPerSecond }) => tokensPerSecond >= 0.95 * best.tokensPerSecond) ?? best;
  const ratio = run.outputTokensPerSecond / best.tokensPerSecond;
  return [
    {
      name: `\`batch-infer up\`: job of ${WINDOW_ITEMS} items, ${WINDOW_TOKENS} tokens each`,
      seen: `${done(run)}, ${rate(run.outputTokensPerSecond)} tokens/s over the whole job, ${share(ratio)} of the best bare client (${rate(best.tokensPerSecond)} at ${best.concurrency})`,
      holds: run.succeeded === run.items && ratio >= 0.8,
    },
    {
      name: 'window that the runner holds (median of the middle of that job)',
      seen: `window ${of('window')} (${Math.min(...windows)} to ${Math.max(...windows)}), in flight ${of('inFlight')}; engine: ${of('running')} running, ${of('waiting')} waiting; a bare client needs ${enough.concurrency}`,
      holds: of('running') >= 0.75 * enough.concurrency && of('waiting') <= of('running'),
    },
  ];
}

export interface PrefixJob {
  readonly groups: number;
  readonly itemsPerGroup: number;
  /** Of each beginning; about a token a word. */
  readonly words: number;
}

/** About a token a word: the beginning is over 1 KiB (from where the planner looks) and over 128 tokens (one block). */
const WORDS = [
  ...['international', 'organization', 'environmental', 'administration', 'responsibility', 'communication'],
  ...[
    'understanding',
    'representation',
    'recommendation',
    'infrastructure',
    'transformation',
    'investigation',
  ],
];

function beginning(salt: string, group: number, count: number): string {
  const words = Array.from({ length: count }, (_, index) => {
    // A different walk through the words for each group.
    return WORDS[(group * 7 + index * (1 + (group % 11))) % WORDS.length];
  });
  return `Handbook ${salt}${group}: ${words.join(' ')}.`;
}

/** Prompts whose groups take turns, as rows of a table joined with long instructions do. */
export function prefixBodies(
  engine: EngineAccess,
  salt: string,
  { groups, itemsPerGroup, words }: PrefixJob,
) {
  return Array.from({ length: groups * itemsPerGroup }, (_, index) => ({
    ...engine.chatBody(`Question ${index}?`, 1),
    messages: [
      { role: 'system', content: beginning(salt, index % groups, words) },
      { role: 'user', content: `Question ${index}?` },
    ],
  }));
}

/** The same job in input order and in the order of our planner. */
export async function checkPlanOrder(
  engine: EngineAccess,
  product: Product,
  recording: Recording,
  job: PrefixJob,
): Promise<Check[]> {
  const stamp = Date.now().toString(36);
  // Another salt for each run: the second finds nothing of the first in the cache.
  const run = (salt: string, order: string) =>
    product.run(`plan-${order}`, prefixBodies(engine, `${stamp}${salt}`, job), { plan_order: order });
  const input = await run('a', 'input');
  const planned = await run('b', 'auto');
  const figures = ({ promptTokens, prefixHitRate, ms }: JobRun) => ({ promptTokens, prefixHitRate, ms });
  recording.figure('plan order', { ...job, input: figures(input), auto: figures(planned) });
  const text = (run: JobRun): string => `${done(run)}, ${share(run.prefixHitRate)} of prompt tokens hit`;
  const gains = planned.prefixHitRate > input.prefixHitRate && planned.ms < input.ms;
  // Nothing to gain: this cache keeps every beginning from its first item to its last.
  const allFit = input.prefixHitRate > 0.9 * planned.prefixHitRate;
  const remark = allFit ? ' (the cache holds all beginnings at once: take more groups or words)' : '';
  return [
    {
      name: `prefix-heavy job, ${job.groups} beginnings × ${job.itemsPerGroup} items, input order`,
      seen: text(input),
      holds: input.succeeded === input.items,
    },
    {
      name: 'the same job, `plan_order: "auto"`',
      seen: `${text(planned)}; time × ${(planned.ms / input.ms).toFixed(2)}${remark}`,
      holds: planned.succeeded === planned.items && (allFit || gains),
    },
  ];
}
