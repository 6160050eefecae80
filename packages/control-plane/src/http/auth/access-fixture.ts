import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CreateApiKeyRequest } from '@batch-infer/contracts/access';
import { DirectHub } from '@batch-infer/transport/direct';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance, LightMyRequestResponse } from 'fastify';
import { KeyAdministration, type MadeApiKey } from '../../access/key-administration.js';
import { KeyRing } from '../../access/key-ring.js';
import { ProjectAdministration } from '../../access/project-administration.js';
import { AppModule } from '../../app.module.js';
import { openBlobs } from '../../blobs/open-blobs.js';
import { fastifyOptions, prepareFastify } from '../../boot/http-server.js';
import { parseControlPlaneConfig } from '../../config.js';
import { openLedger } from '../../ledger/sql-ledger.js';
import type { Ledger } from '../../ports/ledger.js';
import { Signals } from '../../ports/signals.js';
import { RequestLimits } from '../../rate-limits/request-limits.js';
import { silentLogger } from '../../telemetry/logger.js';
import { Metrics } from '../../telemetry/metrics.js';
import { routeKeyOf } from './route-scopes.js';

export interface Ask {
  readonly method: string;
  readonly url: string;
  /** The whole key; absent: none is sent. */
  readonly key?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly payload?: string | object;
}

/** The whole application on a real ledger, asked without a socket. */
export interface AccessWorld {
  readonly fastify: FastifyInstance;
  readonly ledger: Ledger;
  /** Registered routes, as `routeKeyOf` names them. */
  readonly routes: ReadonlySet<string>;
  /** Moves the ledger's clock. */
  advance(byMs: number): void;
  makeKey(request: CreateApiKeyRequest): Promise<MadeApiKey>;
  revoke(id: string): Promise<unknown>;
  ask(ask: Ask): Promise<LightMyRequestResponse>;
  close(): Promise<void>;
}

export async function openAccessWorld(
  projects: readonly string[],
  settings: Readonly<Record<string, string>> = {},
): Promise<AccessWorld> {
  const folder = mkdtempSync(join(tmpdir(), 'batch-infer-access-'));
  const config = parseControlPlaneConfig({ BATCH_INFER_DATA: folder, ...settings });
  let offsetMs = 0;
  const clock = { nowMs: () => Date.now() + offsetMs };
  const ledger = await openLedger({ sqliteFile: join(folder, 'ledger.db'), clock });
  await ledger.migrate();
  const blobs = await openBlobs(config);
  const keyRing = new KeyRing({ ledger, clock });
  const logger = silentLogger();
  const publisher = new DirectHub();
  const adapter = new FastifyAdapter(fastifyOptions);
  const fastify: FastifyInstance = adapter.getInstance();
  const routes = new Set<string>();
  fastify.addHook('onRoute', ({ method, url }) => {
    for (const name of [method].flat()) routes.add(routeKeyOf(name, url));
  });
  const ports = { config, ledger, blobs, publisher, clock, keyRing, logger };
  const app = await NestFactory.create<NestFastifyApplication>(
    AppModule.forPorts({ ...ports, signals: new Signals(), metrics: new Metrics(), keyFile: null }),
    adapter,
    { logger: false, abortOnError: false, bodyParser: false },
  );
  await prepareFastify(fastify, {
    config,
    logger,
    keys: { ring: keyRing, file: null },
    limits: new RequestLimits({ ledger, clock, shared: false }),
  });
  await app.init();
  await fastify.ready();
  const keys = new KeyAdministration({ ledger, clock, onChange: (id) => keyRing.changed(id) });
  const administration = new ProjectAdministration({ ledger, clock });
  for (const id of projects) await administration.create(null, { id });
  return {
    fastify,
    ledger,
    routes,
    advance: (byMs) => {
      offsetMs += byMs;
    },
    makeKey: (request) => keys.create({ projectId: null, defaultProjectId: 'default', request }),
    revoke: (id) => keys.revoke(null, id),
    ask: ({ method, url, key, headers = {}, payload }) =>
      fastify.inject({
        method: method.toUpperCase() as 'GET',
        url,
        headers: { ...headers, ...(key === undefined ? {} : { authorization: `Bearer ${key}` }) },
        ...(payload === undefined ? {} : { payload }),
      }),
    close: async () => {
      await app.close();
      await publisher.close();
      await blobs.close();
      await ledger.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
