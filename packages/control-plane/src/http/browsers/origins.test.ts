import { describe, expect, it } from 'vitest';
import { isLoopbackHost, parseAuthority, parseOrigin } from './origins.js';

describe('a host', () => {
  it.each([
    ['localhost', 'localhost'],
    ['LocalHost:8080', 'localhost:8080'],
    ['localhost.:8080', 'localhost:8080'],
    ['127.0.0.1:1', '127.0.0.1:1'],
    ['127.1', '127.0.0.1'],
    ['2130706433:80', '127.0.0.1'],
    ['0x7f000001', '127.0.0.1'],
    ['0177.0.0.1', '127.0.0.1'],
    ['127.255.255.254', '127.255.255.254'],
    ['[::1]:8080', '[::1]:8080'],
    ['[0:0:0:0:0:0:0:1]', '[::1]'],
    ['[::1%lo]:8080', '[::1]:8080'],
    ['[::1%25lo0]', '[::1]'],
    ['[::ffff:127.0.0.1]', '[::ffff:7f00:1]'],
  ])('%s is this machine, however it is written', (text, host) => {
    const parsed = parseAuthority(text);
    expect(parsed?.host).toBe(host);
    expect(isLoopbackHost(parsed?.hostname ?? '')).toBe(true);
  });

  it.each([
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'evil-localhost',
    'sub.localhost',
    '0.0.0.0',
    '128.0.0.1',
    '10.0.0.1',
    '[::]',
    '[::2]',
    '[fe80::1%lo]',
    '[::ffff:10.0.0.1]',
    '3232235521',
  ])('%s is not', (text) => {
    expect(isLoopbackHost(parseAuthority(text)?.hostname ?? '')).toBe(false);
  });

  it.each([
    '',
    ' ',
    'localhost:port',
    'localhost:99999',
    'localhost/',
    'localhost#@evil.example',
    'localhost,evil.example',
    'localhost evil.example',
    'user@localhost',
    '::1',
    '[::1',
    'local%68ost',
    'localhost\\.evil.example',
    'ⓛocalhost',
  ])('%j is none', (text) => {
    expect(parseAuthority(text)).toBeNull();
  });
});

describe('an origin', () => {
  it.each([
    ['https://app.example.com', 'https://app.example.com'],
    ['HTTPS://App.Example.com:443/', 'https://app.example.com'],
    ['http://localhost:3000', 'http://localhost:3000'],
    ['http://[::1]:3000', 'http://[::1]:3000'],
    ['chrome-extension://abcdefg', 'chrome-extension://abcdefg'],
  ])('%s is understood', (text, origin) => expect(parseOrigin(text)).toBe(origin));

  it.each([
    '*',
    'null',
    '',
    'app.example.com',
    'https://*.example.com',
    'https://app.example.com/page',
    'https://app.example.com?x',
    'https://user@app.example.com',
    'https://a.example,https://b.example',
    'file:///home',
    'data:text/html,x',
  ])('%j is refused', (text) => expect(parseOrigin(text)).toBeNull());
});
