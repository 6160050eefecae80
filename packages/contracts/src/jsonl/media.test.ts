import { describe, expect, it } from 'vitest';
import { findForbiddenMedia } from './media.js';

const PNG = 'data:image/png;base64,AAAA';
const user = (...content: unknown[]) => ({ messages: [{ role: 'user', content }] });
const paramOf = (body: Record<string, unknown>, hosts: 'any' | readonly string[] = []) =>
  findForbiddenMedia(body, hosts)?.param ?? null;

describe('media in an item may be fetched from nowhere', () => {
  const url = 'http://169.254.169.254/latest/meta-data';
  it.each<[string, Record<string, unknown>, string]>([
    ['chat', user({ type: 'image_url', image_url: { url } }), 'messages.0.content.0.image_url.url'],
    ['chat, short', user({ type: 'text', text: 'a' }, { image_url: url }), 'messages.0.content.1.image_url'],
    ['audio', user({ type: 'audio_url', audio_url: { url } }), 'messages.0.content.0.audio_url.url'],
    ['video', user({ type: 'video_url', video_url: { url } }), 'messages.0.content.0.video_url.url'],
    ['spoken', user({ type: 'input_audio', input_audio: { url } }), 'messages.0.content.0.input_audio.url'],
    ['a template’s own', user({ type: 'image', image: url }), 'messages.0.content.0.image'],
    ['frames', user({ type: 'video', video: [PNG, url] }), 'messages.0.content.0.video.1'],
    [
      'responses',
      { input: [{ role: 'user', content: [{ type: 'input_image', image_url: url }] }] },
      'input.0.content.0.image_url',
    ],
    ['a bare part', { input: [{ type: 'input_file', file_url: url }] }, 'input.0.file_url'],
    [
      'what a tool gave back',
      { input: [{ type: 'function_call_output', output: [{ type: 'input_image', image_url: url }] }] },
      'input.0.output.0.image_url',
    ],
    ['embeddings', { input: [{ text: 'a', image: url }] }, 'input.0.image'],
    ['messages', user({ type: 'image', source: { type: 'url', url } }), 'messages.0.content.0.source.url'],
    [
      'nested',
      user({
        type: 'tool_result',
        content: [{ type: 'document', source: { content: [{ type: 'image', source: { url } }] } }],
      }),
      'messages.0.content.0.content.0.source.content.0.source.url',
    ],
  ])('%s', (_, body, param) => {
    expect(findForbiddenMedia(body, [])).toEqual({
      code: 'media_url_not_allowed',
      param: `body.${param}`,
      message: expect.stringMatching(/169\.254\.169\.254.*data: URL.*--media-hosts/),
    });
  });

  it.each([
    'file:///etc/passwd',
    'FTP://a.example/x',
    '//a.example/x',
    'a.example/x',
    '',
    'http://user@a.example/x',
    'http://a.example\\@b.example/x',
    'http://a.example /x',
  ])('nor from what parsers do not read alike, to any host: %s', (url) => {
    expect(paramOf(user({ image_url: { url } }), 'any')).toBe('body.messages.0.content.0.image_url.url');
  });
});

describe('media is taken', () => {
  it.each<[string, Record<string, unknown>]>([
    ['texts', { messages: [{ role: 'user', content: 'see http://a.example/x' }] }],
    ['text parts', user({ type: 'text', text: 'http://a.example/x' })],
    ['data', user({ image_url: { url: PNG } }, { input_audio: { data: 'AAAA', format: 'wav' } })],
    ['base64', user({ type: 'image', source: { type: 'base64', data: 'AAAA' } }, { image: '/9j/4AAQ' })],
    ['the arguments of a tool', user({ type: 'tool_use', input: { url: 'http://a.example/' } })],
    ['found pages', user({ type: 'search_result', source: 'http://a.example/', content: [] })],
    ['listed pages', user({ type: 'x', content: [{ type: 'web_search_result', url: 'http://a.example/' }] })],
    ['tokens', { input: [[1, 2, 3]], prompt: [1, 2] }],
    ['nulls', { messages: [null, { content: null, image_url: null }], input: null }],
  ])('of %s', (_, body) => {
    expect(paramOf(body)).toBeNull();
  });

  it('of hosts that are listed, whole and with their port', () => {
    const at = (url: string) => paramOf(user({ image_url: { url } }), ['a.example', 'b.example:8443']);
    expect(at('https://a.example/x.png?y=1')).toBeNull();
    expect(at('https://A.example:99/x')).toBeNull();
    expect(at('https://b.example:8443')).toBeNull();
    expect(at('https://b.example/x')).not.toBeNull();
    expect(at('https://a.example.evil.example/x')).not.toBeNull();
    expect(at('https://x.a.example/x')).not.toBeNull();
  });

  it('of every host when any is allowed', () => {
    expect(paramOf(user({ image_url: { url: 'https://a.example/x' } }), 'any')).toBeNull();
  });
});
