import { describe, expect, it } from 'vitest';
import { endingOf, usageOf } from '../answer.js';
import { toMessage } from './message-answer.js';

const completion = (choice: Record<string, unknown>, more: Record<string, unknown> = {}) => ({
  id: 'chatcmpl-7',
  object: 'chat.completion',
  model: 'm',
  choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: 'hi' }, ...choice }],
  usage: { prompt_tokens: 12, completion_tokens: 3, total_tokens: 15 },
  ...more,
});
const call = (name: string, text: unknown, id = 't1') => ({
  id,
  type: 'function',
  function: { name, arguments: text },
});
const answer = (message: Record<string, unknown>) => ({ message: { role: 'assistant', ...message } });

describe('a chat completion as an Anthropic message', () => {
  it('has every field that SDKs read', () => {
    expect(toMessage(completion({}))).toEqual({
      id: 'msg_7',
      type: 'message',
      role: 'assistant',
      model: 'm',
      content: [{ type: 'text', text: 'hi' }],
      stop_reason: 'end_turn',
      stop_sequence: null,
      usage: {
        input_tokens: 12,
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: 0,
        output_tokens: 3,
      },
    });
  });

  it.each<[string, Record<string, unknown>, unknown[]]>([
    ['no text at all', answer({ content: null }), []],
    ['parts of text', answer({ content: [{ type: 'text', text: 'a' }] }), [{ type: 'text', text: 'a' }]],
    [
      'reasoning before the text',
      answer({ content: 'a', reasoning_content: 'hm' }),
      [
        { type: 'thinking', thinking: 'hm', signature: '' },
        { type: 'text', text: 'a' },
      ],
    ],
    [
      'calls of tools',
      answer({ content: null, tool_calls: [call('find', '{"q":"x"}'), call('now', '', 't2')] }),
      [
        { type: 'tool_use', id: 't1', name: 'find', input: { q: 'x' } },
        { type: 'tool_use', id: 't2', name: 'now', input: {} },
      ],
    ],
    ['a refusal', answer({ content: null, refusal: 'no' }), [{ type: 'text', text: 'no' }]],
  ])('translates %s', (_, choice, content) => {
    expect(toMessage(completion(choice))?.content).toMatchObject(content);
  });

  it.each<[Record<string, unknown>, string, string | null]>([
    [{ finish_reason: 'stop' }, 'end_turn', null],
    [{ finish_reason: 'stop', stop_reason: 'END' }, 'stop_sequence', 'END'],
    [{ finish_reason: 'stop', stop_reason: 2 }, 'end_turn', null],
    [{ finish_reason: 'length' }, 'max_tokens', null],
    [{ finish_reason: 'tool_calls', ...answer({ tool_calls: [call('f', '{}')] }) }, 'tool_use', null],
    [{ finish_reason: 'stop', ...answer({ tool_calls: [call('f', '{}')] }) }, 'tool_use', null],
    [{ finish_reason: 'content_filter' }, 'refusal', null],
  ])('ends %j as %s', (choice, reason, sequence) => {
    expect(toMessage(completion(choice))).toMatchObject({ stop_reason: reason, stop_sequence: sequence });
  });

  it.each([
    ['abort', 'aborted'],
    ['error', 'failed'],
    ['something new', 'complete'],
    ['stop', 'complete'],
  ])('lets the judge see that it ended by %s', (finishReason, ending) => {
    const message = toMessage(completion({ finish_reason: finishReason })) ?? {};
    expect(endingOf('/v1/messages', message)).toBe(ending);
  });

  it.each<[Record<string, unknown>, Record<string, number>, readonly number[]]>([
    [{ prompt_tokens: 10, completion_tokens: 2 }, { input_tokens: 10 }, [10, 0, 2, 0]],
    [
      { prompt_tokens: 10, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 8 } },
      { input_tokens: 2, cache_read_input_tokens: 8 },
      [10, 8, 2, 0],
    ],
    [
      {
        prompt_tokens: 10,
        completion_tokens: 2,
        prompt_tokens_details: { cached_tokens: 3, created_cache_tokens: 4 },
      },
      { input_tokens: 3, cache_read_input_tokens: 3, cache_creation_input_tokens: 4 },
      [10, 3, 2, 0],
    ],
  ])('counts %j so that the sum stays', (usage, counted, totals) => {
    const message = toMessage(completion({}, { usage })) ?? {};
    expect(message.usage).toMatchObject(counted);
    expect(usageOf(message)).toEqual(totals);
  });

  it.each<[string, Record<string, unknown>]>([
    ['no choices', { choices: [] }],
    ['a choice without a message', { choices: [{ finish_reason: 'stop' }] }],
  ])('is none with %s', (_, broken) => {
    expect(toMessage(broken)).toBeNull();
  });
});

describe('an odd answer is a message all the same', () => {
  const cut = (text: unknown, reason: string) =>
    toMessage(
      completion({ finish_reason: reason, ...answer({ content: 'I look.', tool_calls: [call('f', text)] }) }),
    );

  it('with a call that its tokens did not suffice for: the text, and the call as far as it goes', () => {
    expect(cut('{"city":"Paris","days":[1,2', 'length')).toMatchObject({
      content: [
        { type: 'text', text: 'I look.' },
        { type: 'tool_use', id: 't1', name: 'f', input: { city: 'Paris', days: [1] } },
      ],
      stop_reason: 'max_tokens',
      stop_sequence: null,
    });
  });

  it.each<[unknown, Record<string, unknown>]>([
    ['', {}],
    [' ', {}],
    [null, {}],
    [undefined, {}],
    ['null', {}],
    ['[1]', {}],
    [7, {}],
    ['f(x)', {}],
    ['{"a":', {}],
    [{ a: 1 }, { a: 1 }],
  ])('with arguments that are %j', (text, input) => {
    for (const reason of ['tool_calls', 'stop', 'length']) {
      expect(cut(text, reason)).toMatchObject({
        content: [{ type: 'text' }, { type: 'tool_use', input }],
        stop_reason: reason === 'length' ? 'max_tokens' : 'tool_use',
      });
    }
  });

  it.each([
    [null, 'end_turn'],
    [undefined, 'end_turn'],
    ['', 'end_turn'],
    ['eos', 'end_turn'],
    ['something_new', 'end_turn'],
    ['model_length', 'max_tokens'],
    ['tool_calls', 'end_turn'],
    ['function_call', 'end_turn'],
  ])('that ends by %j', (reason, told) => {
    const message = toMessage(completion({ finish_reason: reason }));
    expect(message).toMatchObject({ content: [{ text: 'hi' }], stop_reason: told });
  });

  it('with calls that have no ids of their own, or no names', () => {
    const calls = [call('a', '{}', ''), { function: { name: 'a' } }, { function: {} }, null, call('', '{}')];
    const { content } = toMessage(completion(answer({ content: '', tool_calls: calls }))) ?? {};
    expect(content).toEqual([
      { type: 'tool_use', id: 'toolu_7_0', name: 'a', input: {} },
      { type: 'tool_use', id: 'toolu_7_1', name: 'a', input: {} },
    ]);
    const older = answer({ content: null, function_call: { name: 'a', arguments: '{"b":1}' } });
    expect(toMessage(completion({ ...older, finish_reason: 'function_call' }))).toMatchObject({
      content: [{ type: 'tool_use', name: 'a', input: { b: 1 } }],
      stop_reason: 'tool_use',
    });
  });

  it.each<[unknown, unknown[]]>([
    [undefined, []],
    [7, []],
    [
      ['a', { type: 'output_text', text: 'b' }, { type: 'image' }, null, { type: 'refusal', refusal: 'no' }],
      ['a', 'b', 'no'],
    ],
  ])('whose content is %j', (content, texts) => {
    const blocks = toMessage(completion(answer({ content })))?.content;
    expect(blocks).toEqual(texts.map((text) => ({ type: 'text', text })));
  });

  it.each([
    [null, [0, 0]],
    [undefined, [0, 0]],
    [{ prompt_tokens: -1, completion_tokens: 2.5 }, [0, 2]],
    [{ prompt_tokens: '3', completion_tokens: null }, [0, 0]],
  ])('whose usage is %j', (usage, [input, output]) => {
    const message = toMessage(completion({}, { usage }));
    expect(message).toMatchObject({ usage: { input_tokens: input, output_tokens: output } });
  });

  it('has no key that is null but the stop sequence', () => {
    const message = toMessage(completion({}, { id: null, model: null, usage: null }), 'asked');
    const nulls = JSON.stringify(message).match(/"\w+":null/g);
    expect(nulls).toEqual(['"stop_sequence":null']);
    expect(message).toMatchObject({ id: 'msg_', model: 'asked' });
  });
});
