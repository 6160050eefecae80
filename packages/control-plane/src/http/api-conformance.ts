import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  encodeSegmentLine,
  type ItemError,
  itemError,
  newId,
  parseExactJson,
  type SegmentHeader,
} from '@batch-infer/contracts';
import { isBlank } from '@batch-infer/contracts/jsonl';
import type { RunnerReport } from '@batch-infer/contracts/runner-protocol';
import type { TransportHealth } from '@batch-infer/transport';
import { Global, Module } from '@nestjs/common';
import { APP_FILTER, NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { openFolderBlobs } from '../blobs/fs.js';
import { parseControlPlaneConfig } from '../config.js';
import { Retention } from '../files/retention.js';
import { Finalizer } from '../finalize/finalizer.js';
import { readBytes } from '../jobs/blob-bytes.js';
import { Planner } from '../jobs/planner.js';
import { openLedger } from '../ledger/sql-ledger.js';
import { indexAt } from '../plan/positions.js';
import { linesBlobKey } from '../plan/work-file.js';
import type { Blobs } from '../ports/blobs.js';
import type { Clock } from '../ports/clock.js';
import type { Ledger } from '../ports/ledger.js';
import type { ItemOutcome, ShardRecord } from '../ports/records.js';
import { Signals } from '../ports/signals.js';
import { BLOBS, CLOCK, CONFIG, LEDGER, LOGGER, OFFER_PUBLISHER, SIGNALS } from '../tokens.js';
import { AnthropicModule } from './anthropic/anthropic.module.js';
import { registerContentParsers } from './content-parsers.js';
import { ProblemFilter } from './error-filter.js';
import { EventsHttpModule } from './events/events-http.module.js';
import { answerClientError, answerFrameworkError } from './framework-errors.js';
import { LimitsModule } from './limits/limits.module.js';
import { NativeModule } from './native/native.module.js';
import { OpenAiModule } from './openai/openai.module.js';
import { registerRequestContext } from './request-context.js';
import { registerRouteRules } from './route-rules.js';
import { SyncModule } from './sync/sync.module.js';
import { WebhooksHttpModule } from './webhooks/webhooks-http.module.js';

/** What a pretended engine says to one line. */
export interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly error?: ItemError;
}

export const answered = (content: string): Answer => ({
  status: 200,
  body: {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    choices: [{ index: 0, message: { role: 'assistant', content } }],
  },
});
export const refused = (status = 400): Answer => ({
  status,
  body: {
    error: { message: 'refused by the engine', type: 'invalid_request_error', param: null, code: 'bad' },
  },
  error: itemError('invalid_request', 'refused by the engine'),
});
export const broken = (): Answer => ({ status: 0, body: null, error: itemError('engine_unreachable') });

/** The API on a real SQLite ledger and a real folder, without runners: tests play their part through the ledger. */
export interface TestApi {
  readonly app: NestFastifyApplication;
  readonly fastify: FastifyInstance;
  /** Registered routes, as `get /v1/jobs/:id`. */
  readonly routes: readonly string[];
  readonly ledger: Ledger;
  readonly blobs: Blobs;
  readonly signals: Signals;
  readonly finalizer: Finalizer;
  readonly planner: Planner;
  readonly retention: Retention;
  /** Moves the clock. */
  advance(byMs: number): void;
  nowMs(): number;
  /** Listens on a free port; the origin. */
  listen(): Promise<string>;
  /** Claims a ready shard and settles the items for which `answer` has something; `null` when none is ready. */
  runShard(
    answer: (index: number, line: { custom_id?: string }) => Answer | null,
  ): Promise<ShardRecord | null>;
  /** Runs every ready shard to its end, then the finalizer. */
  runAll(answer?: (index: number, line: { custom_id?: string }) => Answer): Promise<void>;
  saveRunner(models: readonly string[], more?: Partial<RunnerReport>): Promise<void>;
  /** Keys of all stored objects. */
  blobKeys(): Promise<string[]>;
  close(): Promise<void>;
}

export async function openTestApi(
  settings: Readonly<Record<string, string>> = {},
  /** Adds hooks behind the one that says whose request it is. */
  prepare: (fastify: FastifyInstance, ports: { ledger: Ledger; clock: Clock }) => void = () => undefined,
  /** A PostgreSQL database instead of a SQLite file. */
  databaseUrl: string | null = null,
): Promise<TestApi> {
  const folder = await mkdtemp(join(tmpdir(), 'batch-infer-api-'));
  let offsetMs = 0;
  const clock = { nowMs: () => Date.now() + offsetMs };
  const ledger = await openLedger({ databaseUrl, sqliteFile: join(folder, 'ledger.sqlite'), clock });
  await ledger.migrate();
  const blobs = await openFolderBlobs(join(folder, 'blobs'));
  const signals = new Signals();
  const health: TransportHealth = { state: 'up', reason: null };
  const ports = [
    { provide: LEDGER, useValue: ledger },
    { provide: BLOBS, useValue: blobs },
    { provide: CLOCK, useValue: clock },
    { provide: CONFIG, useValue: parseControlPlaneConfig({ BATCH_INFER_PORT: '0', ...settings }) },
    { provide: SIGNALS, useValue: signals },
    { provide: LOGGER, useValue: pino({ level: 'silent' }) },
    {
      provide: OFFER_PUBLISHER,
      useValue: { publish: async () => undefined, health: () => health, close: async () => undefined },
    },
  ];
  @Global()
  @Module({ providers: ports, exports: ports.map(({ provide }) => provide) })
  class TestCoreModule {}
  @Module({
    imports: [
      TestCoreModule,
      NativeModule,
      OpenAiModule,
      AnthropicModule,
      SyncModule,
      EventsHttpModule,
      WebhooksHttpModule,
      LimitsModule,
    ],
    providers: [{ provide: APP_FILTER, useClass: ProblemFilter }],
  })
  class TestAppModule {}

  const adapter = new FastifyAdapter({
    forceCloseConnections: true,
    frameworkErrors: answerFrameworkError,
    clientErrorHandler: answerClientError,
  });
  const fastify: FastifyInstance = adapter.getInstance();
  const routes: string[] = [];
  fastify.addHook('onRoute', ({ method, url }) => {
    routes.push(...[method].flat().map((name) => `${name.toLowerCase()} ${url}`));
  });
  registerRequestContext(fastify);
  fastify.addHook('onRequest', async (request) => {
    const project = request.headers['x-test-project'];
    Object.assign(request, {
      caller: { projectId: typeof project === 'string' ? project : 'default', keyId: null, scopes: [] },
    });
  });
  prepare(fastify, { ledger, clock });
  registerRouteRules(fastify);
  await registerContentParsers(fastify);
  const app = await NestFactory.create<NestFastifyApplication>(TestAppModule, adapter, {
    bodyParser: false,
    logger: false,
  });
  await app.init();
  await fastify.ready();

  const api: TestApi = {
    app,
    fastify,
    routes,
    ledger,
    blobs,
    signals,
    finalizer: app.get(Finalizer, { strict: false }),
    planner: app.get(Planner, { strict: false }),
    retention: app.get(Retention, { strict: false }),
    advance: (byMs) => {
      offsetMs += byMs;
    },
    nowMs: () => clock.nowMs(),
    listen: async () => {
      await app.listen(0, '127.0.0.1');
      return (await app.getUrl()).replace('[::1]', '127.0.0.1');
    },
    runShard: (answer) => runShard({ ledger, blobs, nowMs: clock.nowMs() }, answer),
    runAll: async (answer = (index) => answered(`answer ${index}`)) => {
      await api.planner.tick();
      while ((await api.runShard(answer)) !== null);
      await api.finalizer.tick();
    },
    saveRunner: async (models, more = {}) => {
      const report: RunnerReport = {
        runner_id: 'runner-1',
        version: '0.1.0',
        models: [...models],
        engines: [
          { id: 'engine-0', models: [...models], healthy: true, window: 8, in_flight: 0, problem: null },
        ],
        free_slots: 8,
        in_flight: 0,
        items_per_second: 0,
        ...more,
      };
      await ledger.saveRunner({ report, nowMs: clock.nowMs() });
    },
    blobKeys: async () => (await blobs.list({ prefix: '', limit: 1_000 })).map(({ key }) => key),
    close: async () => {
      await app.close();
      await ledger.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return api;
}

async function runShard(
  { ledger, blobs, nowMs }: { ledger: Ledger; blobs: Blobs; nowMs: number },
  answer: (index: number, line: { custom_id?: string }) => Answer | null,
): Promise<ShardRecord | null> {
  const [offered] = await ledger.takeOffers({ staleBeforeMs: nowMs + 1, limit: 1, nowMs });
  if (offered === undefined) return null;
  const claim = { shardId: offered.id, epoch: offered.epoch, runnerId: 'runner-1', leaseMs: 30_000, nowMs };
  const claimed = await ledger.claimShard(claim);
  // A test that plays another runner was faster.
  if (claimed.outcome !== 'claimed') return null;
  const { shard, job } = claimed;
  const lines: Uint8Array[] = [];
  const outcomes: ItemOutcome[] = [];
  const bytes = await readBytes(blobs, { key: linesBlobKey(job), offset: shard.offset, length: shard.bytes });
  const texts = bytes
    .toString('utf8')
    .split('\n')
    .filter((text) => !isBlank(Buffer.from(text)));
  texts.slice(shard.skip, shard.skip + shard.count).forEach((text, position) => {
    const index = indexAt(shard, position);
    const line = parseExactJson(text) as { custom_id?: string };
    const isDone = ((shard.doneMask[position >> 3] ?? 0) & (1 << (position & 7))) !== 0;
    const said = isDone ? null : answer(index, line);
    if (said === null) return;
    const customId = line.custom_id ?? String(index);
    const header: SegmentHeader = {
      i: index,
      c: customId,
      ok: said.error === undefined,
      st: said.status,
      a: 1,
      ms: 12,
      r: `run-${index}`,
      ...(said.error === undefined ? { u: [10, 2, 5, 1] as const } : { e: said.error }),
    };
    lines.push(encodeSegmentLine(header, Buffer.from(said.body === null ? '' : JSON.stringify(said.body))));
    const usage = { inputTokens: 10, cachedInputTokens: 2, outputTokens: 5, reasoningTokens: 1 };
    outcomes.push({
      index,
      customId,
      ok: header.ok,
      error: said.error ?? null,
      usage: header.ok ? usage : null,
    });
  });
  const segment = Buffer.concat(lines);
  const blobKey = `${job.projectId}/segments/${job.id}/${newId('seg')}`;
  await blobs.put({ key: blobKey, body: segment });
  await ledger.settle({
    shardId: shard.id,
    epoch: shard.epoch,
    segment: { blobKey, bytes: segment.length },
    outcomes,
    nowMs,
  });
  if (outcomes.length < shard.count)
    await ledger.releaseShard({ shardId: shard.id, epoch: shard.epoch, nowMs });
  return shard;
}
