import type { OfferPublisher } from '@batch-infer/transport';
import { type DynamicModule, Module } from '@nestjs/common';
import { KeyRing } from './access/key-ring.js';
import type { ControlPlaneConfig } from './config.js';
import type { ApiKeyFile } from './http/auth/key-file.js';
import { Readiness } from './http/health/readiness.js';
import { LoopHealth } from './loops/loop-health.js';
import type { Blobs } from './ports/blobs.js';
import type { Clock } from './ports/clock.js';
import type { Ledger } from './ports/ledger.js';
import type { Signals } from './ports/signals.js';
import { LedgerGauges } from './telemetry/ledger-gauges.js';
import type { Logger } from './telemetry/logger.js';
import { Metrics } from './telemetry/metrics.js';
import { BLOBS, CLOCK, CONFIG, KEY_FILE, LEDGER, LOGGER, OFFER_PUBLISHER, SIGNALS } from './tokens.js';

/** What is opened before the application starts, and closed after it has ended. */
export interface CorePorts {
  readonly config: ControlPlaneConfig;
  readonly ledger: Ledger;
  readonly blobs: Blobs;
  readonly publisher: OfferPublisher;
  readonly clock: Clock;
  readonly signals: Signals;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly keyRing: KeyRing;
  /** `null`: no file of keys is configured. */
  readonly keyFile: ApiKeyFile | null;
}

/** Provides the ports to every module, by their tokens. */
@Module({})
export class CoreModule {
  static forPorts(ports: CorePorts): DynamicModule {
    const providers = [
      { provide: CONFIG, useValue: ports.config },
      { provide: LEDGER, useValue: ports.ledger },
      { provide: BLOBS, useValue: ports.blobs },
      { provide: OFFER_PUBLISHER, useValue: ports.publisher },
      { provide: CLOCK, useValue: ports.clock },
      { provide: SIGNALS, useValue: ports.signals },
      { provide: LOGGER, useValue: ports.logger },
      { provide: KeyRing, useValue: ports.keyRing },
      { provide: KEY_FILE, useValue: ports.keyFile },
      { provide: Metrics, useValue: ports.metrics },
      LedgerGauges,
      LoopHealth,
      Readiness,
    ];
    return { module: CoreModule, global: true, providers, exports: providers };
  }
}
