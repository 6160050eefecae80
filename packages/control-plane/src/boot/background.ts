import type { INestApplicationContext } from '@nestjs/common';
import type { CorePorts } from '../core.module.js';
import { Dispatcher } from '../dispatch/dispatcher.js';
import { LaneUpkeep } from '../dispatch/lane-upkeep.js';
import { OrphanSweep } from '../dispatch/orphan-sweep.js';
import { OutageWatch } from '../dispatch/outage-watch.js';
import { PoisonedItems } from '../dispatch/poisoned-items.js';
import { StallWatch } from '../dispatch/stall-watch.js';
import { Sweeper } from '../dispatch/sweeper.js';
import { Upkeep } from '../dispatch/upkeep.js';
import { Retention } from '../files/retention.js';
import { Finalizer } from '../finalize/finalizer.js';
import { Planner } from '../jobs/planner.js';
import { Loop } from '../loops/loop.js';
import { LoopHealth } from '../loops/loop-health.js';
import type { LedgerClock } from '../ports/clock.js';
import { WebhookDeliverer } from '../webhooks/webhook-deliverer.js';
import type { Heartbeat } from './heartbeat.js';

/** While somebody waits for offers, the ledger is looked at this often for work that no signal told of. */
const DISPATCH_INTERVAL_MS = 500;
/** Where claims are seen by other processes only, lanes are looked at more often: they hold little. */
const BLIND_DISPATCH_INTERVAL_MS = 100;
/** Claims make room in a lane; it is filled again at most this often. */
const REFILL_MS = 50;
const LANES_INTERVAL_MS = 5_000;
/** Models of a new runner whose lanes are made before there is work for them. */
const PREPARED_MODELS = 8;
/** Jobs to plan or to finalize that no signal told of. */
const JOBS_INTERVAL_MS = 1_000;
const ORPHAN_INTERVAL_MS = 10_000;
const STALL_INTERVAL_MS = 10_000;
/** Events whose time to be sent again has come. */
const WEBHOOK_INTERVAL_MS = 1_000;
const UPKEEP_INTERVAL_MS = 60_000;
/** Shorter troubles of the ledger are no outage. */
const OUTAGE_MS = 5_000;
/** Nor is it when nobody looked for so long, where no look failed: a process may have been slow. */
const SILENCE_MS = 20_000;
/** A file of keys that is broken is noticed, and told of, also while nobody sends a request. */
const API_KEYS_INTERVAL_MS = 1_000;
const HEARTBEAT_INTERVAL_MS = 5_000;

export interface Background {
  /** Resolves when everything that was running has ended. */
  stop(): Promise<void>;
}

/** Starts what runs by itself in this process's roles, and lets signals wake it. */
export function startBackground(params: {
  app: INestApplicationContext;
  ports: CorePorts;
  /** Of an embedded data folder. */
  heartbeat: Heartbeat | null;
  /** The clock of `ports`, which follows the ledger's server. */
  clock: LedgerClock;
}): Background {
  const { app, ports, heartbeat, clock } = params;
  const { config, signals, logger } = ports;
  const tasks = new Set<Promise<unknown>>();
  const loops: Loop[] = [];

  const health = app.get(LoopHealth);
  const loop = (name: string, intervalMs: number, tick: () => Promise<unknown>): Loop => {
    const onTick = ports.metrics.watchLoop(name);
    const started = new Loop({ name, intervalMs, tick, logger, onTick });
    loops.push(started);
    health.watch(started);
    return started;
  };
  /** Something a signal asks for; its loop does it later when it fails. */
  const run = (name: string, task: Promise<unknown>): void => {
    const settled = task
      .catch((error: unknown) => logger.warn({ task: name, error }, 'failed; its loop tries again'))
      .finally(() => tasks.delete(settled));
    tasks.add(settled);
  };

  signals.on('job-accepted', (dialect) => ports.metrics.jobsAccepted.inc({ dialect }));
  signals.on('items-reused', (count) => ports.metrics.itemsReused.inc(count));
  signals.on('job-ended', (state) => ports.metrics.jobsEnded.inc({ state }));

  const thresholdMs = Math.max(OUTAGE_MS, 5 * config.sweepIntervalMs);
  const outages = new OutageWatch({
    lastAlive: heartbeat ?? {
      read: () => ports.ledger.lastAliveMs(),
      write: (nowMs) => ports.ledger.markAlive({ nowMs }),
    },
    thresholdMs,
    // Nobody else can have kept an embedded ledger alive while its process did not look.
    silenceMs: heartbeat === null ? Math.max(SILENCE_MS, thresholdMs) : thresholdMs,
  });
  const sweeper = app.get(Sweeper);
  if (heartbeat === null) {
    // Also without the role of the sweeper: where some process reaches the ledger, no time is lost.
    loop('heartbeat', HEARTBEAT_INTERVAL_MS, async () => {
      await clock.measure(() => ports.ledger.serverTimeMs());
      if (!config.roles.includes('sweeper')) await sweeper.forgiveOutage(outages);
    });
  }

  const { keyFile } = ports;
  if (keyFile !== null) loop('api-keys', API_KEYS_INTERVAL_MS, () => keyFile.check());

  // Direct offers travel in the api's answers, so that whoever serves runners also dispatches.
  const dispatches = config.roles.includes(ports.publisher.demand ? 'api' : 'dispatcher');
  if (dispatches) {
    const dispatcher = app.get(Dispatcher);
    const intervalMs = config.roles.includes('api') ? DISPATCH_INTERVAL_MS : BLIND_DISPATCH_INTERVAL_MS;
    const dispatch = loop('dispatcher', intervalMs, () => dispatcher.tick());
    const { demand } = ports.publisher;
    const refill = atMostEvery(REFILL_MS, () => dispatch.wake());
    const withdraw = (offers: Parameters<Dispatcher['withdraw']>[0]) =>
      run(
        'withdraw',
        dispatcher.withdraw(offers).then(() => dispatch.wake()),
      );
    signals.on('work-ready', () => dispatch.wake());
    signals.on('shard-claimed', (shardId) => {
      dispatcher.claimed(shardId);
      // Who waits for direct offers says so by itself.
      if (!ports.publisher.demand) refill();
    });
    signals.on('runner-gone', (runnerId) => withdraw(demand?.handedTo(runnerId) ?? []));
    signals.on('runner-connected', (models) => {
      dispatch.wake();
      const { lanes } = ports.publisher;
      if (lanes === undefined) return;
      const prepared = models.slice(0, PREPARED_MODELS);
      run(
        'prepare lanes',
        laneUpkeep.prepared(prepared).then(() => lanes.prepare({ models: prepared })),
      );
    });
    const laneUpkeep = app.get(LaneUpkeep);
    if (ports.publisher.lanes) loop('lanes', LANES_INTERVAL_MS, () => laneUpkeep.tick());
    demand?.onWaiting(() => dispatch.wake());
    demand?.onReturned(withdraw);
  }

  if (config.roles.includes('sweeper')) {
    const poisonedItems = app.get(PoisonedItems);
    const sweep = loop('sweeper', config.sweepIntervalMs, async () => {
      const { poisoned, again } = await sweeper.tick(outages);
      for (const shard of poisoned) await poisonedItems.fail(shard);
      return again;
    });
    signals.on('leases-over', () => sweep.wake());

    const finalizer = app.get(Finalizer);
    const finalize = loop('finalizer', JOBS_INTERVAL_MS, async () => {
      for (const task of await finalizer.begin()) run('finalizer', task.then(lookAgain(() => finalize)));
    });
    signals.on('stopped-released', () => finalize.wake());
    signals.on('job-finalizing', (jobId) => run('finalizer', finalizer.tick(jobId)));

    const planner = app.get(Planner);
    const plan = loop('planner', JOBS_INTERVAL_MS, async () => {
      for (const task of await planner.begin()) run('planner', task.then(lookAgain(() => plan)));
    });
    signals.on('job-unplanned', (jobId) => run('planner', planner.tick(jobId)));

    const stalls = app.get(StallWatch);
    loop('stalls', STALL_INTERVAL_MS, () => stalls.tick());
    const deliverer = app.get(WebhookDeliverer);
    const webhooks = loop('webhooks', WEBHOOK_INTERVAL_MS, () => deliverer.tick());
    signals.once('draining', () => deliverer.stop());
    signals.on('webhook-due', () => webhooks.wake());
    signals.on('job-ended', () => webhooks.wake());

    const upkeep = app.get(Upkeep);
    loop('upkeep', UPKEEP_INTERVAL_MS, () => upkeep.tick());
    const orphans = app.get(OrphanSweep);
    loop('orphans', ORPHAN_INTERVAL_MS, () => orphans.tick());
    const retention = app.get(Retention);
    loop('retention', UPKEEP_INTERVAL_MS, async () => (await retention.tick()) > 0);
  }

  for (const each of loops) each.start();
  return {
    stop: async () => {
      await Promise.all(loops.map((each) => each.stop()));
      await Promise.all(tasks);
    },
  };
}

/** There is room for one more when one has ended. */
const lookAgain =
  (loopOf: () => Loop) =>
  (ended: boolean): void => {
    if (ended) loopOf().wake();
  };

/** Calls `work` soon after it is asked for, once for all that ask meanwhile. */
function atMostEvery(intervalMs: number, work: () => void): () => void {
  let isAsked = false;
  return () => {
    if (isAsked) return;
    isAsked = true;
    setTimeout(() => {
      isAsked = false;
      work();
    }, intervalMs).unref();
  };
}
