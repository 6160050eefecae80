import { ERROR_RULES } from '@batch-infer/contracts';
import * as access from '@batch-infer/contracts/access';
import * as anthropic from '@batch-infer/contracts/anthropic';
import {
  createJobRequest,
  job,
  jobList,
  jobPlan,
  problem,
  resultLine,
  retryJobRequest,
} from '@batch-infer/contracts/native';
import {
  batch,
  completeUploadRequest,
  createBatchRequest,
  createUploadRequest,
  deletedResponse,
  fileObject,
  responseObject,
  uploadObject,
  uploadPartObject,
} from '@batch-infer/contracts/openai';
import * as runnerProtocol from '@batch-infer/contracts/runner-protocol';
import * as webhooks from '@batch-infer/contracts/webhooks';
import { z } from 'zod';
import type { ApiRoute } from './api-route.js';
import { API_ROUTES } from './openapi-routes.js';

/** Schemas by the name under which the document has them. Requests are described as sent, answers as received. */
export const REQUEST_SCHEMAS: Readonly<Record<string, z.ZodType>> = {
  CreateJobRequest: createJobRequest,
  RetryJobRequest: retryJobRequest,
  CreateBatchRequest: createBatchRequest,
  CreateUploadRequest: createUploadRequest,
  CompleteUploadRequest: completeUploadRequest,
  CreateMessageBatchRequest: anthropic.createMessageBatchRequest,
  CreateApiKeyRequest: access.createApiKeyRequest,
  RotateApiKeyRequest: access.rotateApiKeyRequest,
  CreateProjectRequest: access.createProjectRequest,
  UpdateProjectRequest: access.updateProjectRequest,
  CreateWebhookEndpointRequest: webhooks.createWebhookEndpointRequest,
  UpdateWebhookEndpointRequest: webhooks.updateWebhookEndpointRequest,
  RotateWebhookSecretRequest: webhooks.rotateWebhookSecretRequest,
  TestWebhookEndpointRequest: webhooks.testWebhookEndpointRequest,
  SetProjectLimitsRequest: access.setProjectLimitsRequest,
  RunnerReport: runnerProtocol.runnerReport,
  PollOffersRequest: runnerProtocol.pollOffersRequest,
  ClaimRequest: runnerProtocol.claimRequest,
  RenewRequest: runnerProtocol.renewRequest,
  ReleaseRequest: runnerProtocol.releaseRequest,
};
const ANSWERS: Readonly<Record<string, z.ZodType>> = {
  Job: job,
  JobList: jobList,
  JobPlan: jobPlan,
  ResultLine: resultLine,
  Problem: problem,
  File: fileObject,
  Upload: uploadObject,
  UploadPart: uploadPartObject,
  Batch: batch,
  Response: responseObject,
  DeletedResponse: deletedResponse,
  MessageBatch: anthropic.messageBatch,
  MessageBatchList: anthropic.messageBatchList,
  MessageBatchResultLine: anthropic.messageBatchResultLine,
  DeletedMessageBatch: anthropic.deletedMessageBatch,
  AnthropicError: anthropic.anthropicError,
  AnthropicModel: anthropic.anthropicModel,
  ApiKey: access.apiKeyView,
  CreatedApiKey: access.createdApiKey,
  Caller: access.callerView,
  Project: access.projectView,
  ProjectLimits: access.projectLimitsView,
  ProjectUse: access.projectUseView,
  WebhookEndpoint: webhooks.webhookEndpointView,
  WebhookEndpointWithSecret: webhooks.webhookEndpointWithSecret,
  WebhookTestResult: webhooks.webhookTestResult,
  WebhookDelivery: webhooks.webhookDeliveryView,
  WebhookSecret: webhooks.webhookSecretView,
  WebhookEvent: webhooks.webhookEvent,
  Runner: runnerProtocol.runnerView,
  SessionEvent: runnerProtocol.sessionEvent,
  PollOffersResponse: runnerProtocol.pollOffersResponse,
  ClaimResponse: runnerProtocol.claimResponse,
  RenewResponse: runnerProtocol.renewResponse,
  SettleResponse: runnerProtocol.settleResponse,
  ReleaseResponse: runnerProtocol.releaseResponse,
};

let document: object | null = null;

/** The OpenAPI 3.1 document of the whole API, made from the same schemas that check the wire. */
export function openapiDocument(): object {
  document ??= {
    openapi: '3.1.0',
    info: {
      title: 'batch-infer',
      version: '0.1.0',
      description:
        'Batch inference on engines of your own. Every error answers with a Problem, which also holds OpenAI’s error object.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{}, { bearer: [] }, { apiKey: [] }],
    paths: pathsOf(API_ROUTES),
    webhooks: {
      event: {
        post: {
          summary: 'What we send to webhook endpoints, signed by Standard Webhooks.',
          requestBody: { required: true, content: contentOf({ 'application/json': 'WebhookEvent' }) },
          responses: { '2XX': { description: 'Taken. Anything else is tried again later.' } },
        },
      },
    },
    components: {
      schemas: { ...schemasOf(REQUEST_SCHEMAS, 'input'), ...schemasOf(ANSWERS, 'output') },
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key' },
      },
    },
  };
  return document;
}

function schemasOf(
  schemas: Readonly<Record<string, z.ZodType>>,
  io: 'input' | 'output',
): Record<string, object> {
  return Object.fromEntries(
    Object.entries(schemas).map(([name, schema]) => {
      const { $schema, ...json } = z.toJSONSchema(schema, {
        io,
        target: 'draft-2020-12',
        unrepresentable: 'any',
        ...(io === 'input' ? { override: ({ jsonSchema }) => allowNull(jsonSchema) } : {}),
      });
      return [name, json];
    }),
  );
}

/** What may be left out may be `null` as well: see `shapeRequest`. */
function allowNull(schema: z.core.JSONSchema.BaseSchema): void {
  for (const [key, member] of Object.entries(schema.properties ?? {})) {
    if (schema.required?.includes(key) === true || typeof member === 'boolean') continue;
    const isNullable = member.anyOf?.some((one) => typeof one === 'object' && one.type === 'null') ?? false;
    if (schema.properties && !isNullable) schema.properties[key] = { anyOf: [member, { type: 'null' }] };
  }
}

function pathsOf(routes: readonly ApiRoute[]): Record<string, Record<string, object>> {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    paths[route.path] ??= {};
    const methods = paths[route.path];
    if (methods !== undefined) methods[route.method] = operationOf(route);
  }
  return paths;
}

function operationOf(route: ApiRoute): object {
  const inPath = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
  const inQuery = Object.entries(route.query ?? {}).map(([name, description]) => ({
    name,
    in: 'query',
    required: false,
    description,
    schema: { type: 'string' },
  }));
  return {
    operationId: route.operationId,
    summary: route.summary,
    tags: [route.tag],
    parameters: [...inPath, ...inQuery],
    ...(route.request === undefined
      ? {}
      : {
          requestBody: {
            required: route.request.required ?? true,
            content: contentOf(route.request.content),
          },
        }),
    responses: {
      [String(route.status)]: {
        description: route.summary,
        ...(route.answer === undefined ? {} : { content: contentOf(route.answer) }),
      },
      ...Object.fromEntries(
        Object.entries(route.otherwise ?? {}).map(([status, { description, content }]) => [
          status,
          { description, content: contentOf(content) },
        ]),
      ),
      default: {
        description: `An error: ${Object.keys(ERROR_RULES).length} codes, see Problem.`,
        content: contentOf(
          route.errors ??
            (route.tag === 'message batches'
              ? { 'application/json': 'AnthropicError' }
              : { 'application/problem+json': 'Problem' }),
        ),
      },
    },
  };
}

/** Content types with the name of a schema, or a schema itself. */
function contentOf(content: ApiRoute['answer'] & {}): Record<string, object> {
  return Object.fromEntries(
    Object.entries(content).map(([type, schema]) => [
      type,
      { schema: typeof schema === 'string' ? { $ref: `#/components/schemas/${schema}` } : schema },
    ]),
  );
}
