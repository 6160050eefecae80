import { describe, expect, it } from 'vitest';
import { openapiDocument } from './openapi.js';

/** After a change of routes or schemas: `npx vitest run --project unit packages/control-plane/src/http/openapi-page -u`. */
it('docs/openapi.json is the document that is served', async () => {
  await expect(`${JSON.stringify(openapiDocument(), null, 2)}\n`).toMatchFileSnapshot(
    '../../../../docs/openapi.json',
  );
});

/** A validator of the whole specification runs in `npm run test:fuzz`. */
describe('the OpenAPI document', () => {
  interface Operation {
    operationId: string;
    parameters: { name: string; in: string; required: boolean }[];
    requestBody?: { content: object };
    responses: Record<string, { description: string; content?: object }>;
  }
  const document = structuredClone(openapiDocument()) as {
    openapi: string;
    paths: Record<string, Record<string, Operation>>;
    components: { schemas: Record<string, object> };
  };
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, ...operation })),
  );

  it('is of version 3.1 and JSON through and through', () => {
    expect(document.openapi).toBe('3.1.0');
    expect(JSON.parse(JSON.stringify(document))).toEqual(document);
  });

  it('names each operation once, and every parameter of its path', () => {
    const ids = operations.map(({ operationId }) => operationId);
    expect(ids).toEqual([...new Set(ids)]);
    for (const { path, parameters } of operations) {
      const inPath = parameters.filter((parameter) => parameter.in === 'path' && parameter.required);
      expect(inPath.map(({ name }) => name)).toEqual(
        [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name),
      );
    }
  });

  it('says of every operation how it succeeds and how it fails', () => {
    for (const { responses, requestBody } of operations) {
      expect(Object.keys(responses)).toContain('default');
      expect(Object.keys(responses).some((status) => /^[12]\d\d$/.test(status))).toBe(true);
      expect(Object.values(responses).every(({ description }) => description !== '')).toBe(true);
      if (requestBody !== undefined) expect(Object.keys(requestBody.content)).not.toEqual([]);
    }
  });

  it('says what is answered in both dialects, and as a stream', () => {
    const answered = (operationId: string) => {
      const found = operations.find((operation) => operation.operationId === operationId);
      return Object.fromEntries(
        Object.entries(found?.responses ?? {}).map(([status, { content }]) => [
          status,
          Object.keys(content ?? {}),
        ]),
      );
    };
    const errors = ['application/problem+json', 'application/json'];
    for (const operationId of ['createChatCompletion', 'createCompletion', 'createMessage', 'createResponse'])
      expect(answered(operationId)).toMatchObject({
        200: ['application/json', 'text/event-stream'],
        default: errors,
      });
    expect(answered('createEmbedding')).toMatchObject({ 200: ['application/json'], default: errors });
    for (const operationId of ['listModels', 'getModel']) {
      expect(answered(operationId).default).toEqual(errors);
      const found = operations.find((operation) => operation.operationId === operationId);
      expect(JSON.stringify(found?.responses[200])).toContain('/AnthropicModel');
    }
  });

  it('refers to schemas that are there, and has none that nobody refers to', () => {
    const referred = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)];
    const names = new Set(referred.map(([, name]) => name));
    expect([...names].sort()).toEqual(Object.keys(document.components.schemas).sort());
    expect(JSON.stringify(document)).not.toMatch(/"\$ref":"(?!#\/components\/schemas\/)/);
  });
});
