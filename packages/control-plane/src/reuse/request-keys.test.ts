import type { JobOptions } from '@batch-infer/contracts/native';
import { describe, expect, it } from 'vitest';
import { KEY_BYTES, RequestKeys } from './request-keys.js';

const OPTIONS: JobOptions = { endpoint: '/v1/chat/completions', model: 'm' };
const keyOf = (line: string, options: JobOptions = OPTIONS, project = 'p'): string | null =>
  new RequestKeys(project, options).of(Buffer.from(line))?.toString('hex') ?? null;
const body = (text: string) => `{"custom_id":"a","body":${text}}`;
const ASKED = '{"messages":[{"role":"user","content":"é"}],"temperature":0}';

describe('the key of a request', () => {
  const key = keyOf(body(ASKED));

  it('is a hash of fixed length', () => {
    expect(key).toMatch(new RegExp(`^[0-9a-f]{${2 * KEY_BYTES}}$`));
    expect(keyOf(body(ASKED))).toBe(key);
  });

  it.each([
    ['another custom id', `{"custom_id":"b","method":"POST","body":${ASKED}}`, OPTIONS],
    ['the endpoint in the line', `{"url":"/v1/chat/completions","body":${ASKED}}`, { model: 'm' }],
    ['an escaped endpoint', `{"url":"/v1/chat\\/completions","body":${ASKED}}`, { model: 'm' }],
    [
      'the model in the body',
      body(`{"model":"m",${ASKED.slice(1)}`),
      { endpoint: OPTIONS.endpoint, model: 'x' },
    ],
    ['the model in the defaults', body(ASKED), { ...OPTIONS, model: undefined, defaults: { model: 'm' } }],
    [
      'members in another order, and space between them',
      ` { "body" : { "temperature" : 0 , "messages":[{"role":"user","content":"é"}] } } `,
      OPTIONS,
    ],
    [
      'members from the defaults',
      body('{"messages":[{"role":"user","content":"é"}]}'),
      { ...OPTIONS, defaults: { temperature: 0 } },
    ],
    ['defaults that the body overrides', body(ASKED), { ...OPTIONS, defaults: { temperature: 1 } }],
  ])('is the same with %s', (_, line, options) => {
    expect(keyOf(line, options as JobOptions)).toBe(key);
  });

  it.each([
    ['another prompt', body(ASKED.replace('é', 'e')), OPTIONS],
    ['another model', body(ASKED), { ...OPTIONS, model: 'n' }],
    ['another endpoint', body(ASKED), { ...OPTIONS, endpoint: '/v1/responses' }],
    ['one member more', body(`{"max_tokens":1,${ASKED.slice(1)}`), OPTIONS],
    ['one default more', body(ASKED), { ...OPTIONS, defaults: { max_tokens: 1 } }],
    ['another spelling of a value', body(ASKED.replace('"temperature":0', '"temperature":0.0')), OPTIONS],
  ])('differs with %s', (_, line, options) => {
    expect(keyOf(line, options as JobOptions)).not.toBe(key);
    expect(keyOf(line, options as JobOptions)).not.toBeNull();
  });

  it('differs between projects', () => {
    expect(keyOf(body(ASKED), OPTIONS, 'q')).not.toBe(key);
  });

  it('does not mix up the end of one member and the beginning of the next', () => {
    const joined = keyOf(body('{"seed":1,"a":"b","c":"d"}'));
    expect(keyOf(body('{"seed":1,"a":"bc","":"d"}'))).not.toBe(joined);
  });

  it.each([
    ['is drawn at random', body('{"messages":[]}'), OPTIONS],
    ['has several choices by default of the job', body(ASKED), { ...OPTIONS, defaults: { n: 2 } }],
    ['names a member twice', body('{"temperature":0,"temperature":1}'), OPTIONS],
    ['has a name with escapes', body('{"temperature":0,"temper\\u0061ture":1}'), OPTIONS],
    ['has its body under an escaped name', `{"body":${ASKED},"b\\u006fdy":{}}`, OPTIONS],
    ['asks for a stream', body(`{"stream":true,${ASKED.slice(1)}`), OPTIONS],
    ['has no endpoint', body(ASKED), { model: 'm' }],
    ['has a body that is no object', body('[0]'), OPTIONS],
    ['has none', '{"custom_id":"a"}', OPTIONS],
    ['has a temperature that is a long text', body(`{"temperature":"${'0'.repeat(50)}"}`), OPTIONS],
  ])('is missing when the request %s', (_, line, options) => {
    expect(keyOf(line, options as JobOptions)).toBeNull();
  });

  it('is there for every embedding', () => {
    expect(keyOf(body('{"input":"x"}'), { endpoint: '/v1/embeddings', model: 'm' })).not.toBeNull();
  });
});
