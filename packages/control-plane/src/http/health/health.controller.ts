import { Controller, Get, Inject, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { LoopHealth } from '../../loops/loop-health.js';
import { LedgerGauges } from '../../telemetry/ledger-gauges.js';
import { Metrics } from '../../telemetry/metrics.js';
import { Readiness, type ReadinessReport } from './readiness.js';

export type HealthReport =
  | { readonly status: 'ok' }
  | {
      readonly status: 'hung';
      /** Each loop that hangs, and for how long nothing was heard of it. */
      readonly loops: readonly { readonly loop: string; readonly silent_seconds: number }[];
    };

/** What supervisors, load balancers and Prometheus ask. */
@Controller()
export class HealthController {
  readonly #readiness: Readiness;
  readonly #metrics: Metrics;
  readonly #gauges: LedgerGauges;
  readonly #loops: LoopHealth;

  constructor(
    @Inject(Readiness) readiness: Readiness,
    @Inject(Metrics) metrics: Metrics,
    @Inject(LedgerGauges) gauges: LedgerGauges,
    @Inject(LoopHealth) loops: LoopHealth,
  ) {
    this.#loops = loops;
    this.#readiness = readiness;
    this.#metrics = metrics;
    this.#gauges = gauges;
  }

  /** The process runs (`/health` is where clients of engines ask); 503 when one of its loops hangs, so that a supervisor starts it again. */
  @Get(['healthz', 'health'])
  healthz(@Res({ passthrough: true }) reply: FastifyReply): HealthReport {
    const hung = this.#loops.hung();
    if (hung.length === 0) return { status: 'ok' };
    reply.status(503);
    return {
      status: 'hung',
      loops: hung.map(({ loop, silentSeconds }) => ({ loop, silent_seconds: silentSeconds })),
    };
  }

  /** 503 while no work can be taken; `checks` says what is away. */
  @Get('readyz')
  async readyz(@Res({ passthrough: true }) reply: FastifyReply): Promise<ReadinessReport> {
    const report = await this.#readiness.report();
    reply.status(report.status === 'ready' || report.status === 'degraded' ? 200 : 503);
    return report;
  }

  @Get('metrics')
  async metrics(@Res({ passthrough: true }) reply: FastifyReply): Promise<string> {
    await this.#gauges.refresh();
    reply.header('content-type', this.#metrics.registry.contentType);
    return this.#metrics.text();
  }
}
