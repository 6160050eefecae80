import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { memoryIo } from '../../test-support/fixtures.js';
import { runCli } from '../cli.js';
import { COMMANDS } from '../registry.js';
import { readConfigFiles } from './config-files.js';
import { configKey, environmentName, type OptionSpec } from './options.js';
import { namedAsGiven, toOptions, toVariables } from './pass-on.js';
import { type Layer, mergeSettings } from './settings.js';

const specs: OptionSpec[] = [
  { flag: 'engine-url', value: 'URL', repeatable: true, description: '' },
  { flag: 'port', value: 'N', description: '', default: '8080' },
  { flag: 'json', description: '' },
];
const merge = (
  flags: Record<string, unknown>,
  environment: Record<string, string> = {},
  layers: Layer[] = [],
) => mergeSettings(specs, { flags, environment, layers });

describe('names', () => {
  it('of variable and key follow from the flag', () => {
    expect([environmentName('engine-url'), configKey('engine-url'), configKey('s3-endpoint')]).toEqual([
      'BATCH_INFER_ENGINE_URL',
      'engineUrl',
      's3Endpoint',
    ]);
  });
});

describe('merging', () => {
  const layer = { name: 'rc', values: { port: 3 } };

  it('takes flags before environment before files before defaults', () => {
    const port = (flags: Record<string, unknown>, environment: Record<string, string>, layers: Layer[]) =>
      merge(flags, environment, layers).text('port');
    expect(port({ port: '1' }, { BATCH_INFER_PORT: '2' }, [layer])).toBe('1');
    expect(port({}, { BATCH_INFER_PORT: '2' }, [layer])).toBe('2');
    expect(port({}, { BATCH_INFER_PORT: '' }, [layer])).toBe('3');
    expect(port({}, {}, [])).toBe('8080');
  });

  it('knows a default from something that was said', () => {
    expect([
      merge({}).isGiven('port'),
      merge({}).isSet('port'),
      merge({}, {}, [layer]).isGiven('port'),
    ]).toEqual([false, true, true]);
  });

  it('splits lists of variables and takes repeated flags', () => {
    expect(merge({}, { BATCH_INFER_ENGINE_URL: 'a, b' }).list('engine-url')).toEqual(['a', 'b']);
    expect(merge({ 'engine-url': ['a', 'b'] }).list('engine-url')).toEqual(['a', 'b']);
  });

  it('passes on what was given, as variables and as options, and leaves defaults out', () => {
    const settings = merge({ 'engine-url': ['a', 'b'], json: true });
    expect(toVariables(settings, specs.slice(0, 2))).toEqual({ BATCH_INFER_ENGINE_URL: 'a,b' });
    expect(toOptions(settings, specs)).toEqual({ engineUrl: ['a', 'b'], json: true });
  });
});

describe('a complaint about a variable', () => {
  const about = (...sources: Parameters<typeof merge>) =>
    namedAsGiven('Settings are not valid: BATCH_INFER_PORT must be a number.', merge(...sources), specs);

  it('names the flag that was typed, the variable that was set, or the file', () => {
    expect(about({ port: 'x' })).toBe('Settings are not valid: --port must be a number.');
    expect(about({}, { BATCH_INFER_PORT: 'x' })).toContain(': BATCH_INFER_PORT must');
    expect(about({}, {}, [{ name: '/x/rc.json', values: { port: 'x' } }])).toContain(
      ': --port (set by /x/rc.json) must',
    );
  });
});

describe('reading', () => {
  it('checks numbers and says where a wrong one comes from', () => {
    expect(merge({ port: '0' }).number('port', { min: 0 })).toBe(0);
    for (const wrong of ['x', '', '-1', '1.5']) {
      expect(() => merge({ port: wrong }).number('port', { min: 0 })).toThrow(
        '--port must be a whole number from 0 up',
      );
    }
    expect(() => merge({}, { BATCH_INFER_PORT: 'x' }).number('port', { min: 0 })).toThrow(
      '(set by BATCH_INFER_PORT)',
    );
  });

  it('reads times with and without a unit', () => {
    expect(merge({ port: '90' }).durationMs('port')).toBe(90_000);
    expect(merge({ port: '2m' }).durationMs('port')).toBe(120_000);
    expect(() => merge({ port: 'soon' }).durationMs('port')).toThrow('must be a time');
  });

  it('reads switches from texts', () => {
    expect(merge({}, { BATCH_INFER_JSON: 'true' }).switch('json')).toBe(true);
    expect(merge({}, { BATCH_INFER_JSON: '0' }).switch('json')).toBe(false);
    expect(() => merge({}, { BATCH_INFER_JSON: 'maybe' }).switch('json')).toThrow('must be true or false');
  });

  it('offers the choices there are', () => {
    expect(() => merge({ port: 'c' }).choice('port', ['a', 'b'])).toThrow('--port must be one of a, b');
  });
});

describe('configuration files', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'batch-infer-cli-'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  it('are the project file before the user profile, in either spelling', async () => {
    await mkdir(join(folder, 'batch-infer'));
    await writeFile(join(folder, '.batchinferrc.json'), '{"baseUrl": "http://a"}');
    await writeFile(join(folder, 'batch-infer', 'config.json'), '{"base-url": "http://b", "apiKey": "k"}');
    const layers = readConfigFiles({ workingDirectory: folder, environment: { XDG_CONFIG_HOME: folder } });
    expect(layers.map(({ values }) => values)).toEqual([
      { 'base-url': 'http://a' },
      { 'base-url': 'http://b', 'api-key': 'k' },
    ]);
  });

  it.each(['{', '[]', '"x"'])('that hold %s are an error with their path, exit 2', async (text) => {
    await writeFile(join(folder, '.batchinferrc.json'), text);
    const io = memoryIo({}, folder);
    expect(await runCli(['list'], io)).toBe(2);
    expect(io.error()).toContain(join(folder, '.batchinferrc.json'));
  });

  it('config show --sources tells where each value comes from, and never a secret', async () => {
    await writeFile(join(folder, '.batchinferrc.json'), '{"model": "m"}');
    const io = memoryIo({ BATCH_INFER_API_KEY: 'bi_secret', BATCH_INFER_PORT: '1234' }, folder);
    expect(await runCli(['config', 'show', '--sources', '--json'], io)).toBe(0);
    const shown = JSON.parse(io.out());
    expect(shown.model).toEqual({ value: 'm', source: join(folder, '.batchinferrc.json') });
    expect(shown.port).toEqual({ value: '1234', source: 'BATCH_INFER_PORT' });
    expect(shown['api-key'].value).toBe('(secret)');
    expect(shown.data.source).toBe('default');
    expect(io.out()).not.toContain('bi_secret');
  });
});

describe('every command', () => {
  it.each(Object.keys(COMMANDS))(
    '%s: its file exports itself under its name, with unique flags',
    async (name) => {
      const { command } = (await COMMANDS[name]?.load()) ?? { command: null };
      expect(command?.name).toBe(name);
      const flags = command?.options.map(({ flag }) => flag) ?? [];
      expect(flags).toEqual([...new Set(flags)]);
    },
  );

  it.each([
    ['up', ['data', 'port', 'host', 'engine-url', 'launch', 'preset', 'model']],
    [
      'serve',
      [
        'data',
        'port',
        'host',
        'public-url',
        'roles',
        'database-url',
        'blobs',
        's3-endpoint',
        'kafka-brokers',
        'api-keys-file',
      ],
    ],
    [
      'runner',
      [
        'server',
        'engine-url',
        'launch',
        'preset',
        'model',
        'window',
        'kafka-brokers',
        'api-key',
        'metrics-port',
      ],
    ],
  ])('%s has the flags that scripts rely on', async (name, expected) => {
    const { command } = (await COMMANDS[name]?.load()) ?? { command: null };
    expect(command?.options.map(({ flag }) => flag)).toEqual(expect.arrayContaining(expected));
  });
});
