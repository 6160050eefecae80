import { describe, expect, test } from 'vitest';
import { parseExactObject } from '../engine/answer.js';
import { requestLineReader } from './request-line.js';

const plain = requestLineReader({ model: null, members: null });
const read = (line: string, reader = plain) => {
  const result = reader(Buffer.from(line));
  return result === null ? null : { ...result, body: result.body.toString() };
};

describe('a line', () => {
  test('of the OpenAI format is taken apart, its body byte for byte', () => {
    const body =
      '{ "model":"m", "messages":[{"role":"user","content":"a \\"}{[ b é"}],"n":1.0, "seed":12345678901234567890 }';
    const line = `{"custom_id": "x-1" , "method":"POST","url":"/v1/chat/completions","body":${body}}`;
    expect(read(line)).toEqual({ customId: 'x-1', url: '/v1/chat/completions', body });
  });

  test('in the short form has no name and no address of its own', () => {
    expect(read('{"body":{"input":"x"}}')).toEqual({ customId: null, url: null, body: '{"input":"x"}' });
  });

  test('may have its members in any order, and members that we do not know', () => {
    const line = '{"body":{},"extra":[1,{"body":2}],"url":"/v1/embeddings","custom_id":"é\\u0041"}';
    expect(read(line)).toEqual({ customId: 'éA', url: '/v1/embeddings', body: '{}' });
  });

  test('with escaped keys is read the slow way, to the same end', () => {
    expect(read('{"b\\u006fdy":{"model":"m"},"custom_id":"a"}')).toEqual({
      customId: 'a',
      url: null,
      body: '{"model":"m"}',
    });
  });

  test('that is no object is no request', () => {
    expect(read('[1]')).toBeNull();
    expect(read('{"body":')).toBeNull();
    expect(read('text')).toBeNull();
  });

  test('without a body is left to the engine to refuse', () => {
    expect(read('{"custom_id":"a"}')).toEqual({ customId: 'a', url: null, body: 'null' });
  });

  test('with a string longer than any buffer of the scanner, and quotes escaped at its end, is read right', () => {
    for (const slashes of ['', '\\\\', '\\\\\\\\', '\\"', '\\\\\\"']) {
      const body = `{"a":"${'x'.repeat(200)}${slashes}","b":"${slashes}","c":1}`;
      expect(read(`{"body":${body},"custom_id":"k"}`)).toEqual({ customId: 'k', url: null, body });
    }
  });
});

describe('what a job adds', () => {
  const reader = requestLineReader({ model: 'job-model', members: { temperature: 0, seed: 7 } });

  test('stands before what a body has, in a body that lacks it', () => {
    const result = read('{"body":{"prompt":"x"}}', reader);
    expect(JSON.parse(result?.body ?? '')).toEqual({
      temperature: 0,
      seed: 7,
      model: 'job-model',
      prompt: 'x',
    });
    expect(result?.body.endsWith('"prompt":"x"}')).toBe(true);
  });

  test('takes the place of a model that is null, the rest byte for byte', () => {
    const rest = '"messages":[{"content":"a"}], "seed":12345678901234567890 , "temperature":1.0';
    for (const body of [`{ "model" : null , ${rest}}`, `{${rest},"model":null}`]) {
      const sent = read(`{"body":${body}}`, reader)?.body;
      expect(sent).toBe(body.replace('null', '"job-model"'));
    }
    expect(JSON.parse(read('{"body":{"model":null}}', reader)?.body ?? '')).toEqual({
      model: 'job-model',
      temperature: 0,
      seed: 7,
    });
    expect(JSON.parse(read(String.raw`{"body":{"mod\u0065l":null}}`, reader)?.body ?? '')).toMatchObject({
      model: 'job-model',
    });
  });

  test('yields to what a body says itself, also when that is null', () => {
    const body = '{"model":"own","temperature":1,"seed":null}';
    expect(read(`{"body":${body}}`, reader)?.body).toBe(body);
  });

  test('makes a whole body of an empty one', () => {
    expect(JSON.parse(read('{"body":{ }}', reader)?.body ?? '')).toEqual({
      temperature: 0,
      seed: 7,
      model: 'job-model',
    });
  });

  test('may name the model among the defaults, which outrank the job', () => {
    const other = requestLineReader({ model: 'job-model', members: { model: 'default-model' } });
    expect(JSON.parse(read('{"body":{}}', other)?.body ?? '')).toEqual({ model: 'default-model' });
  });
});

test('a body that asks for a stream is asked for in one piece: a result is one body', () => {
  const line = '{"body":{"model":"m","stream":true,"stream_options":{"include_usage":true}}}';
  expect(read(line)?.body).toBe('{"model":"m"}');
  expect(read('{"body":{"stream":false}}')?.body).toBe('{"stream":false}');
});

test('numbers stay as they were written, in the body and in what the job adds, whichever way is taken', () => {
  const numbers = '"a":1234567890123456789,"b":[1.0,-0,1e400,0.10],"c":{"d":9007199254740993}';
  const members = parseExactObject(`{"seed":1234567890123456788,"temperature":0.0}`);
  const reader = requestLineReader({ model: 'm', members });
  const added = '"seed":1234567890123456788,"temperature":0.0,"model":"m"';
  expect(read(`{"body":{${numbers}}}`, reader)?.body).toBe(`{${added},${numbers}}`);
  for (const slow of ['{"b\\u006fdy":{NUMBERS}}', '{"body":{"stre\\u0061m":true,NUMBERS}}'])
    expect(read(slow.replace('NUMBERS', numbers), reader)?.body).toBe(`{${added},${numbers}}`);
  expect(read(`{"body":{"stream":true,${numbers}}}`, reader)?.body).toBe(`{${added},${numbers}}`);
});
