import { Controller, Get, Inject, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { LedgerGauges } from '../../telemetry/ledger-gauges.js';
import { Metrics } from '../../telemetry/metrics.js';
import { Readiness, type ReadinessReport } from './readiness.js';

/** What supervisors, load balancers and Prometheus ask. */
@Controller()
export class HealthController {
  readonly #readiness: Readiness;
  readonly #metrics: Metrics;
  readonly #gauges: LedgerGauges;

  constructor(
    @Inject(Readiness) readiness: Readiness,
    @Inject(Metrics) metrics: Metrics,
    @Inject(LedgerGauges) gauges: LedgerGauges,
  ) {
    this.#readiness = readiness;
    this.#metrics = metrics;
    this.#gauges = gauges;
  }

  /** The process runs. */
  @Get('healthz')
  healthz(): { status: 'ok' } {
    return { status: 'ok' };
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
