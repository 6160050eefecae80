import { LIMITS, toJobId } from '@batch-infer/contracts';
import {
  WEBHOOK_DELIVERY_STATES,
  WEBHOOK_EVENT_TYPES,
  type WebhookDeliveryView,
  type WebhookSecretView,
} from '@batch-infer/contracts/webhooks';
import { Controller, Get, Header, HttpCode, Inject, Param, Post, Query } from '@nestjs/common';
import { z } from 'zod';
import { WebhookEndpoints } from '../../webhooks/webhook-endpoints.js';
import { ProjectId } from '../auth/project.js';
import { type ListView, type PageQuery, pageOf, toListView } from '../openai/list-query.js';
import { parseWith } from '../validation.js';
import { toDeliveryView } from './webhook-views.js';

const deliveryFilter = z.object({
  webhook_endpoint_id: z.string().max(LIMITS.idChars).optional(),
  job_id: z.string().max(LIMITS.idChars).optional(),
  status: z.enum(WEBHOOK_DELIVERY_STATES).optional(),
});

/** The delivery log, the project's own secret, and the types of events. */
@Controller('v1')
export class DeliveriesController {
  readonly #endpoints: WebhookEndpoints;

  constructor(@Inject(WebhookEndpoints) endpoints: WebhookEndpoints) {
    this.#endpoints = endpoints;
  }

  @Get('webhook_deliveries')
  async list(
    @ProjectId() projectId: string,
    @Query() query: PageQuery & Readonly<Record<string, unknown>>,
  ): Promise<ListView<WebhookDeliveryView>> {
    const { webhook_endpoint_id: endpointId, job_id: jobId, status } = parseWith(deliveryFilter, query);
    const { deliveries, hasMore } = await this.#endpoints.deliveries({
      projectId,
      ...pageOf(query, 'webhookDelivery'),
      ...(endpointId === undefined ? {} : { endpointId }),
      ...(jobId === undefined ? {} : { jobId: toJobId(jobId) }),
      ...(status === undefined ? {} : { state: status }),
    });
    return toListView(deliveries.map(toDeliveryView), hasMore);
  }

  @Post('webhook_deliveries/:id/redeliver')
  @HttpCode(200)
  async redeliver(@ProjectId() projectId: string, @Param('id') id: string): Promise<WebhookDeliveryView> {
    return toDeliveryView(await this.#endpoints.redeliver(projectId, id));
  }

  @Get('webhook_secret')
  @Header('cache-control', 'no-store')
  async secret(@ProjectId() projectId: string): Promise<WebhookSecretView> {
    return { object: 'webhook_secret', signing_secret: await this.#endpoints.projectSecret(projectId) };
  }

  @Get('webhook_event_types')
  eventTypes(): { object: 'list'; data: readonly string[] } {
    return { object: 'list', data: WEBHOOK_EVENT_TYPES };
  }
}
