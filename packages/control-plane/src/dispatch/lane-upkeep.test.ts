import type { LaneProblem, OfferPublisher } from '@batch-infer/transport';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { JobViews } from '../jobs/job-views.js';
import { silentLogger } from '../telemetry/logger.js';
import { openUseCases, RecordingPublisher, reportOf, type UseCases } from '../use-cases-fixture.js';
import { LaneUpkeep } from './lane-upkeep.js';

const DAY_MS = 86_400_000;

class Lanes extends RecordingPublisher implements OfferPublisher {
  failing: LaneProblem[] = [];
  readonly removed: string[] = [];
  readonly lanes = {
    idleMs: 7 * DAY_MS,
    prepare: async () => {},
    remove: async ({ models }: { models: readonly string[] }) => {
      this.removed.push(...models);
    },
    problems: () => this.failing,
  };
}

let transport: Lanes;
let cases: UseCases;
let upkeep: LaneUpkeep;

beforeEach(async () => {
  transport = new Lanes();
  cases = await openUseCases({ publisher: transport, served: ['kept'] });
  const { ledger, clock, config, dispatcher } = cases;
  upkeep = new LaneUpkeep(ledger, transport, clock, config, dispatcher, silentLogger());
});

afterEach(() => cases.close());

const serve = (model: string) =>
  cases.ledger.saveRunner({ report: reportOf(`runner-of-${model}`, [model]), nowMs: cases.clock.nowMs() });

it('lanes that nobody used for days are removed; those with offers or a runner stay', async () => {
  await upkeep.prepared(['kept', 'gone']);
  await serve('busy');
  await cases.createJob({ items: 1, model: 'busy' });
  await cases.dispatcher.tick();
  await upkeep.tick();
  cases.clock.advance(6 * DAY_MS);
  await serve('busy');
  await cases.createJob({ items: 1, model: 'busy' });
  await cases.dispatcher.tick();
  await upkeep.tick();
  expect(transport.removed).toEqual([]);
  cases.clock.advance(1 * DAY_MS + 1);
  await upkeep.tick();
  expect(transport.removed).toEqual(['gone']);
  cases.clock.advance(DAY_MS);
  await upkeep.tick();
  expect(transport.removed).toEqual(['gone']);
});

it('what is wrong with a lane is told by every control plane, as long as it is', async () => {
  const job = await cases.createJob({ items: 1, model: 'kept' });
  const elsewhere = new JobViews(cases.ledger, cases.clock, new Lanes());
  const codes = async () =>
    (await elsewhere.of(await cases.getJob(job))).queue.waiting_for.map(({ code }) => code);
  const problem = { lane: 'normal/kept', model: 'kept', reason: 'no leader', waits: true };
  transport.failing = [{ ...problem, sinceMs: cases.clock.nowMs() }];
  await upkeep.tick();
  expect(await codes()).toEqual(['transport_down']);
  transport.failing = [];
  cases.clock.advance(5_000);
  await cases.dispatcher.tick();
  await upkeep.tick();
  expect(await codes()).toEqual([]);
});
