import { expect, test } from 'vitest';
import { normalizeEngineUrl } from './url.js';

test.each([
  ['http://127.0.0.1:8000', 'http://127.0.0.1:8000'],
  ['http://127.0.0.1:8000/', 'http://127.0.0.1:8000'],
  ['http://127.0.0.1:8000/v1', 'http://127.0.0.1:8000'],
  ['http://127.0.0.1:8000/v1/', 'http://127.0.0.1:8000'],
  ['https://host/proxy/v1', 'https://host/proxy'],
  ['https://host/v1beta', 'https://host/v1beta'],
])('%s is %s', (given, normal) => {
  expect(normalizeEngineUrl(given)).toBe(normal);
});
