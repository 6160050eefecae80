import { describe, expect, it } from 'vitest';
import { toChatRequest } from './message-request.js';

const base = { model: 'm', max_tokens: 100 };
const user = (content: unknown) => ({ role: 'user', content });
const hello = [user('hello')];
const chatOf = (request: Record<string, unknown>) => {
  const chat = toChatRequest({ ...base, messages: hello, ...request });
  if (!chat.ok) throw new Error(chat.message);
  return chat.body;
};

describe('an Anthropic request as chat completions', () => {
  it('keeps what both say alike, and what only an engine understands', () => {
    const alike = { temperature: 0.2, top_p: 0.9, top_k: 40, seed: 7, chat_template_kwargs: { a: 1 } };
    expect(chatOf(alike)).toEqual({ ...base, ...alike, messages: hello });
  });

  it.each<[string, Record<string, unknown>, Record<string, unknown>]>([
    [
      'a system prompt',
      { system: 'be brief' },
      { messages: [{ role: 'system', content: 'be brief' }, ...hello] },
    ],
    [
      'a system prompt in blocks',
      {
        system: [
          { type: 'text', text: 'one', cache_control: { type: 'ephemeral' } },
          { type: 'text', text: 'two' },
        ],
      },
      { messages: [{ role: 'system', content: 'one\ntwo' }, ...hello] },
    ],
    ['an empty system prompt', { system: '' }, { messages: hello }],
    ['a lone text block', { messages: [user([{ type: 'text', text: 'hi' }])] }, { messages: [user('hi')] }],
    [
      'text and an image as data',
      {
        messages: [
          user([
            { type: 'text', text: 'what is it?' },
            { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } },
          ]),
        ],
      },
      {
        messages: [
          user([
            { type: 'text', text: 'what is it?' },
            { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } },
          ]),
        ],
      },
    ],
    [
      'an image as a data: URL',
      {
        messages: [user([{ type: 'image', source: { type: 'url', url: 'data:image/png;base64,AAAA' } }])],
      },
      { messages: [user([{ type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }])] },
    ],
    [
      'a document of text',
      {
        messages: [
          user([
            { type: 'document', title: 'Notes', source: { type: 'text', data: 'body' } },
            { type: 'text', text: 'sum it up' },
          ]),
        ],
      },
      {
        messages: [
          user([
            { type: 'text', text: 'Notes' },
            { type: 'text', text: 'body' },
            { type: 'text', text: 'sum it up' },
          ]),
        ],
      },
    ],
    [
      'a call of a tool and its result, which comes before what the user adds',
      {
        messages: [
          ...hello,
          {
            role: 'assistant',
            content: [
              { type: 'thinking', thinking: 'hm', signature: 's' },
              { type: 'text', text: 'let me look' },
              { type: 'tool_use', id: 't1', name: 'find', input: { q: 'x' } },
            ],
          },
          user([
            { type: 'text', text: 'and be quick' },
            { type: 'tool_result', tool_use_id: 't1', content: [{ type: 'text', text: 'found' }] },
          ]),
        ],
      },
      {
        messages: [
          ...hello,
          {
            role: 'assistant',
            content: 'let me look',
            tool_calls: [{ id: 't1', type: 'function', function: { name: 'find', arguments: '{"q":"x"}' } }],
          },
          { role: 'tool', tool_call_id: 't1', content: 'found' },
          user('and be quick'),
        ],
      },
    ],
    [
      'a tool that failed, and one that said nothing',
      {
        messages: [
          user([
            { type: 'tool_result', tool_use_id: 't1', content: 'no such file', is_error: true },
            { type: 'tool_result', tool_use_id: 't2' },
          ]),
        ],
      },
      {
        messages: [
          { role: 'tool', tool_call_id: 't1', content: 'Error: no such file' },
          { role: 'tool', tool_call_id: 't2', content: '' },
        ],
      },
    ],
    [
      'a call without words',
      { messages: [{ role: 'assistant', content: [{ type: 'tool_use', id: 't', name: 'f', input: {} }] }] },
      {
        messages: [
          {
            role: 'assistant',
            content: null,
            tool_calls: [{ id: 't', type: 'function', function: { name: 'f', arguments: '{}' } }],
          },
        ],
      },
    ],
    [
      'tools',
      {
        tools: [
          {
            name: 'find',
            description: 'finds',
            input_schema: { type: 'object', properties: { q: { type: 'string' } } },
          },
          { type: 'custom', name: 'now', strict: true },
        ],
      },
      {
        tools: [
          {
            type: 'function',
            function: {
              name: 'find',
              description: 'finds',
              parameters: { type: 'object', properties: { q: { type: 'string' } } },
            },
          },
          {
            type: 'function',
            function: { name: 'now', parameters: { type: 'object', properties: {} }, strict: true },
          },
        ],
      },
    ],
    ['tool choice auto', { tool_choice: { type: 'auto' } }, { tool_choice: 'auto' }],
    [
      'tool choice any, one at a time',
      { tool_choice: { type: 'any', disable_parallel_tool_use: true } },
      { tool_choice: 'required', parallel_tool_calls: false },
    ],
    [
      'tool choice by name',
      { tool_choice: { type: 'tool', name: 'find' } },
      { tool_choice: { type: 'function', function: { name: 'find' } } },
    ],
    ['tool choice none', { tool_choice: { type: 'none' } }, { tool_choice: 'none' }],
    ['stop sequences', { stop_sequences: ['END', '\n\n'] }, { stop: ['END', '\n\n'] }],
    ['no stop sequences', { stop_sequences: [] }, {}],
    ['a user', { metadata: { user_id: 'u1' } }, { user: 'u1' }],
    [
      'structured output',
      { output_config: { effort: 'low', format: { type: 'json_schema', schema: { type: 'object' } } } },
      {
        reasoning_effort: 'low',
        response_format: {
          type: 'json_schema',
          json_schema: { name: 'output', schema: { type: 'object' }, strict: true },
        },
      },
    ],
    [
      "hints about Anthropic's service",
      { service_tier: 'auto', thinking: { type: 'enabled', budget_tokens: 1024 } },
      {},
    ],
  ])('translates %s', (_, request, expected) => {
    expect(chatOf(request)).toEqual({ ...base, messages: hello, ...expected });
  });

  it.each<[string, Record<string, unknown>, string]>([
    [
      'an image somewhere else',
      { messages: [user([{ type: 'image', source: { type: 'url', url: 'https://a.example/x.png' } }])] },
      'messages.0.content.0.source',
    ],
    [
      'an image in a file store',
      { messages: [user([{ type: 'image', source: { type: 'file', file_id: 'f' } }])] },
      'messages.0.content.0.source',
    ],
    [
      'a PDF',
      {
        messages: [
          user([{ type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'A' } }]),
        ],
      },
      'messages.0.content.0.source',
    ],
    [
      'an image as the result of a tool',
      {
        messages: [
          user([
            {
              type: 'tool_result',
              tool_use_id: 't',
              content: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'A' } }],
            },
          ]),
        ],
      },
      'messages.0.content.0.content.0',
    ],
    [
      'a tool that Anthropic runs',
      { tools: [{ type: 'web_search_20250305', name: 'web_search' }] },
      'tools.0',
    ],
    ['MCP servers', { mcp_servers: [{ url: 'https://a.example' }] }, 'mcp_servers'],
    ['a block of an unknown kind', { messages: [user([{ type: 'hologram' }])] }, 'messages.0.content.0'],
    ['content that is a number', { messages: [user(5)] }, 'messages.0.content'],
    ['messages that are no list', { messages: 'hi' }, 'messages'],
    ['an unknown tool choice', { tool_choice: { type: 'maybe' } }, 'tool_choice'],
  ])('refuses %s, and says where', (_, request, param) => {
    expect(toChatRequest({ ...base, messages: hello, ...request })).toMatchObject({ ok: false, param });
  });
});
