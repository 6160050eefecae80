import { describe, expect, it } from 'vitest';
import { chatLine, readLines, textOf } from './plan-fixture.js';

const sharedLevels = (first: string, second: string): number => readLines([first, second]).sharedLevels(0, 1);
const chat = (body: Record<string, unknown>) => JSON.stringify({ custom_id: 'a', url: '/v1/x', body });

describe('what a line says to the planner', () => {
  it('is its model, its length and the limit of its answer', () => {
    const lines = [
      chat({ model: 'a', max_tokens: 10, messages: [] }),
      chat({ model: 'b\\u0061"', max_completion_tokens: 70_000, input: 'x' }),
      chat({ max_output_tokens: 1 }),
      chat({ max_tokens: null, prompt: 'x' }),
      chat({ model: 'a', max_tokens: -1 }),
    ];
    const items = readLines(lines);
    expect([...items.outputs]).toEqual([10, 70_000, 1, 256, 256]);
    expect(items.models.names).toEqual(['a', 'b\\u0061"', 'm']);
    expect(lines.map((_, index) => items.models.numberOf(index))).toEqual([0, 1, 2, 2, 0]);
    expect([...items.bytes]).toEqual(lines.map((line) => Buffer.byteLength(line)));
  });

  it('takes the job’s own limit where a line has none', () => {
    const items = readLines([chat({}), chat({ max_tokens: 9 })], { maxTokens: 31 });
    expect([...items.outputs]).toEqual([31, 9]);
  });

  it('does no harm where the text is no request', () => {
    const odd = [
      '',
      '[]',
      '{"body":[1]}',
      '{"body":{"messages":[',
      '{"body":{"model":"',
      '{"b":{"messages":"}',
    ];
    const items = readLines(odd);
    expect([...items.outputs]).toEqual(odd.map(() => 256));
  });
});

describe('prefix keys', () => {
  const system = textOf('system', 1_500);

  it('are shared as far as prompts are equal', () => {
    const document = textOf('document', 5_000);
    const one = chatLine({ system, user: `${document} first question`, maxTokens: 5 });
    const same = chatLine({ system, user: `${document} second question`, maxTokens: 900 });
    const other = chatLine({ system, user: `${textOf('paper', 5_000)} first question` });
    const foreign = chatLine({ system: textOf('foreign', 1_500), user: `${document} first question` });
    // The system prompt, and the document's first 1, 2 and 4 KiB.
    expect(sharedLevels(one, same)).toBe(4);
    expect(sharedLevels(one, other)).toBe(1);
    expect(sharedLevels(one, foreign)).toBe(0);
  });

  it('need about 256 tokens, wherever they come from', () => {
    const short = textOf('system', 800);
    expect(sharedLevels(chatLine({ system: short, user: 'a' }), chatLine({ system: short, user: 'b' }))).toBe(
      0,
    );
    const text = textOf('user', 1_100);
    expect(sharedLevels(chatLine({ user: `${text} a` }), chatLine({ user: `${text} b` }))).toBe(1);
    const shots = (last: string) =>
      chat({
        messages: [
          { role: 'user', content: 'x'.repeat(600) },
          { role: 'assistant', content: 'y'.repeat(600) },
          { role: 'user', content: last },
        ],
      });
    expect(sharedLevels(shots('a'), shots('b'))).toBe(1);
  });

  it('know the prompts of every endpoint, and that tools and system prompts come first', () => {
    const text = textOf('text', 1_500);
    for (const key of ['prompt', 'input', 'system', 'instructions']) {
      expect(sharedLevels(chat({ [key]: `${text} a` }), chat({ [key]: `${text} b` })), key).toBe(
        key === 'prompt' || key === 'input' ? 1 : 0,
      );
      expect(
        sharedLevels(chat({ [key]: text, top_p: 1 }), chat({ top_p: 0, [key]: text })),
        key,
      ).toBeGreaterThan(0);
    }
    const tools = [{ type: 'function', function: { name: 'f', description: text } }];
    const messages = [{ role: 'user', content: 'x' }];
    expect(sharedLevels(chat({ tools, messages }), chat({ messages, tools }))).toBe(1);
  });

  it('are other keys for another project', async () => {
    const { PrefixKeys } = await import('./prefix-keys.js');
    const keysOf = (project: string) => {
      const keys = new Uint32Array(5);
      const chain = new PrefixKeys(project);
      chain.begin(keys);
      chain.addText(Buffer.from(textOf('text', 9_000)), 0, 9_000);
      return [...keys].filter((key) => key !== 0);
    };
    expect(keysOf('one')).toEqual(keysOf('one'));
    expect(keysOf('one').filter((key) => keysOf('two').includes(key))).toEqual([]);
  });

  it('end where their levels end, however long the text is', () => {
    const long = textOf('long', 200_000);
    expect(sharedLevels(chatLine({ user: `${long} a` }), chatLine({ user: `${long} b` }))).toBe(5);
  });
});
