import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { Cluster, RUNNERS } from './cluster.js';
import {
  type Client,
  type Item,
  isFullRun,
  LEASE_MS,
  makeItems,
  type Program,
  SeededRandom,
  scale,
  summary,
  until,
} from './harness.js';

/** R1 on the cluster: `PROOF_CLUSTER_RUNS=50`; R10: `PROOF_OUTAGE_SECONDS=60`; R8 for a minute: `PROOF_FULL=1`. */
const RUNS = scale('PROOF_CLUSTER_RUNS', 5);
const SEED = scale('PROOF_SEED', 1);
const OUTAGE_MS = scale('PROOF_OUTAGE_SECONDS', 10) * 1_000;
const ITEMS = 1_000;
const RECOVERY_MS = 60_000;
const LONG = { timeout: 300_000 };
const VICTIMS = ['control plane', 'runner', 'kafka', 'postgres', 's3'] as const;

type Victim = (typeof VICTIMS)[number];

const recoveries: Record<Victim, number[]> = {
  'control plane': [],
  runner: [],
  kafka: [],
  postgres: [],
  s3: [],
};
const totals = { items: 0, ranAgain: 0 };
let cluster: Cluster | null = null;

try {
  cluster = await Cluster.start({ slots: 16, serviceTimeMs: 60 });
} catch (error) {
  if (process.env.CI !== undefined) throw error;
  console.warn(`NOT PROVED, the cluster cannot be started: ${String(error).slice(0, 1_000)}`);
}

const theCluster = (): Cluster => {
  if (cluster === null) throw new Error('there is no cluster');
  return cluster;
};

afterAll(async () => {
  for (const [victim, times] of Object.entries(recoveries)) {
    console.log(`cluster, kill -9 of ${victim}: next item settled after ${summary(times)}`);
  }
  console.log(`cluster: ${totals.items} items, ${totals.ranAgain} answers more than items`);
  await cluster?.close();
});

describe.runIf(cluster !== null)('the cluster profile', () => {
  let client: Client;
  beforeEach(({ onTestFailed }) => {
    client = theCluster().client();
    onTestFailed(() => console.log(theCluster().lastWords()));
  });

  /** Ends the job and holds it to I1, I2, I11, with every item succeeded. */
  async function finish(id: string, items: readonly Item[], deadlineMs = RECOVERY_MS): Promise<void> {
    expect((await client.ended(id, deadlineMs)).status).toBe('succeeded');
    expect(await client.check(id, items)).toMatchObject({ total: items.length, succeeded: items.length });
    const seen = [...theCluster().requests(items).values()];
    totals.items += items.length;
    totals.ranAgain += seen.reduce((sum, { completed }) => sum + Math.max(0, completed - 1), 0);
  }

  async function settledIds(id: string): Promise<Set<string>> {
    const lines = await client.endedLines(id);
    return new Set(lines.map((line) => (JSON.parse(line) as { custom_id: string }).custom_id));
  }

  const someSucceeded = (id: string, least: number) =>
    until(`${least} items of ${id} succeeded`, RECOVERY_MS, async () =>
      (await client.job(id)).counts.succeeded >= least ? true : null,
    );

  const random = new SeededRandom(SEED);
  const plan = Array.from({ length: RUNS }, (_, run) => ({
    run,
    victim: VICTIMS[run % VICTIMS.length] ?? 'runner',
    killAfterMs: Math.round(random.between(50, 2_000)),
    downMs: Math.round(random.between(300, 1_000)),
    which: Math.floor(random.next() * RUNNERS),
  }));

  test.each(plan)(
    'R1, run $run: kill -9 of $victim after $killAfterMs ms, back $downMs ms later',
    LONG,
    async (at) => {
      const { run, victim, killAfterMs, downMs, which } = at;
      const killed = which % 2;
      client = theCluster().client(victim === 'control plane' ? 1 - killed : 0);
      const items = makeItems(`cluster${run}`, ITEMS);
      const { id } = await client.createJob(`cluster-${run}`, items);
      await delay(killAfterMs);
      const settled = await settledIds(id);
      const before = theCluster().requests(items);
      const killedAt = performance.now();
      const revive = await kill(victim, victim === 'control plane' ? killed : which);
      await delay(downMs);
      const reviving = revive();
      if (settled.size < ITEMS) {
        await until(`an item of ${id} settled after the kill`, RECOVERY_MS, async () =>
          (await settledIds(id)).size > settled.size ? true : null,
        );
        recoveries[victim].push(performance.now() - killedAt);
      }
      await reviving;
      await finish(id, items);
      const after = theCluster().requests(items);
      expect([...settled].filter((one) => after.get(one)?.received !== before.get(one)?.received)).toEqual(
        [],
      );
    },
  );

  test(
    'a zombie runner is fenced: frozen past its lease, its late settles change nothing',
    LONG,
    async () => {
      const items = makeItems('zombie', ITEMS);
      const { id } = await client.createJob('zombie', items);
      await someSucceeded(id, 100);
      const frozen = theCluster().runners.slice(0, 2);
      for (const runner of frozen) runner.signal('SIGSTOP');
      const frozenAt = performance.now();
      await client.ended(id, RECOVERY_MS);
      const tookMs = Math.round(performance.now() - frozenAt);
      await delay(Math.max(0, LEASE_MS + 500 - tookMs));
      const first = await client.text(`/v1/jobs/${id}/results`);
      for (const runner of frozen) runner.signal('SIGCONT');
      await finish(id, items);
      const second = makeItems('after-zombie', 300);
      const next = await client.createJob('after-zombie', second);
      await finish(next.id, second);
      expect(await client.text(`/v1/jobs/${id}/results`)).toBe(first);
      console.log(`two of four runners frozen: the job ended ${tookMs} ms later without them`);
    },
  );

  test('all offers are lost once: they are made again', LONG, async () => {
    await theCluster().stopRunners();
    const items = makeItems('offers-lost', ITEMS);
    const { id } = await client.createJob('offers-lost', items);
    const admin = await theCluster().kafka();
    let lost = 0;
    await until('offers stand in Kafka', RECOVERY_MS, async () => {
      for (const topic of await theCluster().lanes(admin)) {
        const partitions = (await admin.fetchTopicOffsets(topic)).filter(({ high }) => Number(high) > 0);
        const ends = partitions.map(({ partition, high }) => ({ partition, offset: high }));
        if (ends.length === 0) continue;
        await admin.deleteTopicRecords({ topic, partitions: ends });
        lost += ends.length;
      }
      return (await client.job(id)).status === 'queued' && lost > 0 ? true : null;
    });
    await admin.disconnect();
    await theCluster().startRunners();
    await finish(id, items);
    console.log(`the records of ${lost} partitions deleted with nobody there: all ${ITEMS} items succeeded`);
  });

  test('consumers replay every offer from the beginning: all old ones are refused', LONG, async () => {
    const earlier = makeItems('offers-lost', ITEMS);
    const before = theCluster().requests(earlier);
    await theCluster().stopRunners();
    const admin = await theCluster().kafka();
    const { groups } = await admin.listGroups();
    const lanes = await theCluster().lanes(admin);
    await until('every group can be set back', RECOVERY_MS, async () => {
      for (const { groupId } of groups) {
        for (const topic of lanes) await admin.resetOffsets({ groupId, topic, earliest: true });
      }
      return true;
    });
    await admin.disconnect();
    const items = makeItems('replayed', 300);
    const { id } = await client.createJob('replayed', items);
    await theCluster().startRunners();
    await finish(id, items);
    expect(theCluster().requests(earlier)).toEqual(before);
  });

  test('the topics are deleted while a job runs: they are made again, and the job ends', LONG, async () => {
    const items = makeItems('topics-deleted', 2 * ITEMS);
    const { id } = await client.createJob('topics-deleted', items);
    await someSucceeded(id, 50);
    const admin = await theCluster().kafka();
    const topics = await theCluster().lanes(admin);
    await admin.deleteTopics({ topics });
    const from = performance.now();
    await finish(id, items, 2 * RECOVERY_MS);
    console.log(
      `${topics.length} topics deleted: the job ended ${Math.round(performance.now() - from)} ms later`,
    );
    const later = makeItems('topics-again', 300);
    const again = await client.createJob('topics-again', later);
    await finish(again.id, later, 2 * RECOVERY_MS);
    expect((await theCluster().lanes(admin)).length).toBeGreaterThan(0);
    await admin.disconnect();
  });

  test('R8: runners join and leave all the time: no doubled line', LONG, async () => {
    const steadyMs = await timed('steady', async () => {});
    const everyMs = isFullRun() ? 5_000 : 1_000;
    let left = 0;
    const churnMs = await timed('churn', async (ended) => {
      while (!ended()) {
        const runner: Program = await theCluster().addRunner(left);
        await delay(everyMs);
        expect(await runner.stop()).toEqual({ code: 0, signal: null });
        left += 1;
      }
    });
    const share = Math.round((100 * steadyMs) / churnMs);
    console.log(`R8: ${left} runners joined and left; throughput ${share} % of the steady one`);
  });

  /** Time that a job takes while something goes on. */
  async function timed(name: string, during: (ended: () => boolean) => Promise<void>): Promise<number> {
    const items = makeItems(name, (isFullRun() ? 20 : 3) * ITEMS);
    const from = performance.now();
    const { id } = await client.createJob(name, items);
    let ended = false;
    const disturbing = during(() => ended);
    await client.ended(id, 200_000).finally(() => {
      ended = true;
    });
    const tookMs = performance.now() - from;
    await disturbing;
    await finish(id, items);
    return tookMs;
  }

  test.each(['kafka', 'postgres', 's3'] as const)(
    `R10: %s is down for ${OUTAGE_MS / 1_000} s while a job runs: it recovers without a person`,
    LONG,
    async (part) => {
      const items = makeItems(`outage-${part}`, ITEMS);
      const { id } = await client.createJob(`outage-${part}`, items);
      await someSucceeded(id, 50);
      await theCluster().parts.killPart(part);
      await delay(OUTAGE_MS);
      const backAt = performance.now();
      await theCluster().parts.restartPart(part);
      await finish(id, items, 2 * RECOVERY_MS);
      const later = makeItems(`after-${part}`, 100);
      const next = await client.createJob(`after-${part}`, later);
      await finish(next.id, later, 2 * RECOVERY_MS);
      const tookMs = Math.round(performance.now() - backAt);
      console.log(
        `R10: ${part} down for ${OUTAGE_MS} ms; job and a next one done ${tookMs} ms after its start`,
      );
    },
  );
});

/** @returns what brings it back */
async function kill(victim: Victim, index: number): Promise<() => Promise<void>> {
  const { parts, servers, runners } = theCluster();
  switch (victim) {
    case 'control plane':
      await servers[index]?.crash();
      return () => theCluster().startServer(index);
    case 'runner':
      await runners[index]?.crash();
      return () => theCluster().startRunner(index);
    default:
      await parts.killPart(victim);
      return () => parts.restartPart(victim);
  }
}
