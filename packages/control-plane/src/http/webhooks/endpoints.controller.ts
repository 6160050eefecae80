import { IDEMPOTENT_REPLAYED_HEADER } from '@batch-infer/contracts/native';
import {
  createWebhookEndpointRequest,
  rotateWebhookSecretRequest,
  testWebhookEndpointRequest,
  updateWebhookEndpointRequest,
  type WebhookEndpointView,
  type WebhookEndpointWithSecret,
  type WebhookTestResult,
} from '@batch-infer/contracts/webhooks';
import {
  Body,
  Controller,
  Delete,
  Get,
  Header,
  HttpCode,
  Inject,
  Param,
  Post,
  Query,
  Req,
  Res,
} from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { WebhookEndpoints } from '../../webhooks/webhook-endpoints.js';
import { ProjectId } from '../auth/project.js';
import { idempotencyOf } from '../idempotency.js';
import { type ListView, type PageQuery, pageOf, toListView } from '../openai/list-query.js';
import { parseWith } from '../validation.js';
import { toEndpointView, toEndpointWithSecret } from './webhook-views.js';

/** `/v1/webhook_endpoints`, as OpenAI's SDKs administer them. */
@Controller('v1/webhook_endpoints')
export class EndpointsController {
  readonly #endpoints: WebhookEndpoints;

  constructor(@Inject(WebhookEndpoints) endpoints: WebhookEndpoints) {
    this.#endpoints = endpoints;
  }

  @Post()
  @HttpCode(200)
  @Header('cache-control', 'no-store')
  async create(
    @ProjectId() projectId: string,
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<WebhookEndpointWithSecret> {
    const { url, name, event_types: eventTypes } = parseWith(createWebhookEndpointRequest, body);
    const attempt = idempotencyOf(request, projectId, 'POST /v1/webhook_endpoints');
    const { endpoint, replayed } = await this.#endpoints.create({ attempt, url, name, eventTypes });
    if (replayed) reply.header(IDEMPOTENT_REPLAYED_HEADER, 'true');
    return toEndpointWithSecret(endpoint);
  }

  @Get()
  async list(
    @ProjectId() projectId: string,
    @Query() query: PageQuery,
  ): Promise<ListView<WebhookEndpointView>> {
    const { endpoints, hasMore } = await this.#endpoints.list({
      projectId,
      ...pageOf(query, 'webhookEndpoint'),
    });
    return toListView(endpoints.map(toEndpointView), hasMore);
  }

  @Get(':id')
  async get(@ProjectId() projectId: string, @Param('id') id: string): Promise<WebhookEndpointView> {
    return toEndpointView(await this.#endpoints.get(projectId, id));
  }

  @Post(':id')
  @HttpCode(200)
  async update(
    @ProjectId() projectId: string,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<WebhookEndpointView> {
    const { url, name, event_types: eventTypes } = parseWith(updateWebhookEndpointRequest, body);
    const change = {
      ...(url === undefined ? {} : { url }),
      ...(name === undefined ? {} : { name }),
      ...(eventTypes === undefined ? {} : { eventTypes }),
    };
    return toEndpointView(await this.#endpoints.update(projectId, id, change));
  }

  @Delete(':id')
  async delete(
    @ProjectId() projectId: string,
    @Param('id') id: string,
  ): Promise<{ id: string; object: 'webhook_endpoint.deleted'; deleted: true }> {
    await this.#endpoints.delete(projectId, id);
    return { id, object: 'webhook_endpoint.deleted', deleted: true };
  }

  @Post(':id/rotate_secret')
  @HttpCode(200)
  @Header('cache-control', 'no-store')
  async rotate(
    @ProjectId() projectId: string,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<WebhookEndpointWithSecret> {
    const { keep_old_secret_active_for_24_hours: keep = false } = parseWith(rotateWebhookSecretRequest, body);
    return toEndpointWithSecret(await this.#endpoints.rotateSecret(projectId, id, keep));
  }

  @Post(':id/test')
  @HttpCode(200)
  async test(
    @ProjectId() projectId: string,
    @Param('id') id: string,
    @Body() body: unknown,
  ): Promise<WebhookTestResult> {
    const { event_type: type = 'batch.completed' } = parseWith(testWebhookEndpointRequest, body);
    const outcome = await this.#endpoints.test(projectId, id, type);
    const status = outcome.kind === 'answered' ? outcome.status : 0;
    const success = status >= 200 && status < 300;
    const error =
      outcome.kind === 'answered' ? (success ? null : `The receiver answered ${status}.`) : outcome.error;
    return {
      object: 'webhook_endpoint.test',
      event_type: type,
      webhook_endpoint_id: id,
      success,
      status_code: status,
      x_batch_infer: { error },
    };
  }
}
