import { mkdir, mkdtemp, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { memoryIo } from '../../test-support/fixtures.js';
import { runCli } from '../cli.js';
import { COMMANDS } from '../registry.js';
import { readConfigFiles, trustListPath } from './config-files.js';
import { configKey, environmentName, type OptionSpec } from './options.js';
import { namedAsGiven, toOptions, toVariables } from './pass-on.js';
import { UNTRUSTED_FLAGS } from './project-file.js';
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

describe("the project's file", () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'batch-infer-cli-'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });
  const write = (values: object) => writeFile(join(folder, '.batchinferrc.json'), JSON.stringify(values));
  const open = (environment: Record<string, string> = {}) =>
    memoryIo({ XDG_CONFIG_HOME: join(folder, 'profile'), ...environment }, folder);
  const call = async (parameters: string[], io = open()) => ({ exitCode: await runCli(parameters, io), io });

  it.each(Object.keys(COMMANDS))('%s takes nothing from it that only its user may decide', async (name) => {
    const { command } = (await COMMANDS[name]?.load()) ?? { command: null };
    for (const { flag } of command?.options ?? []) {
      const layer = { name: 'rc', values: { [flag]: 'x' }, untrusted: true };
      const settings = mergeSettings(command?.options ?? [], { flags: {}, environment: {}, layers: [layer] });
      expect([flag, settings.sourceOf(flag) === 'rc']).toEqual([flag, UNTRUSTED_FLAGS.has(flag)]);
      expect(settings.refused.map((refused) => refused.flag)).toEqual(
        UNTRUSTED_FLAGS.has(flag) ? [] : [flag],
      );
    }
  });

  it.each([
    ['baseUrl', ['list']],
    ['apiKey', ['list']],
    ['launch', ['up']],
    ['engine-url', ['runner']],
    ['output', ['results', 'job_1']],
    ['pidFile', ['serve']],
  ])('that sets %s is refused, with the file, the key and the next step', async (key, parameters) => {
    await write({ [key]: 'http://127.0.0.1:1' });
    const { exitCode, io } = await call(parameters);
    expect(exitCode).toBe(2);
    expect(io.error()).toContain(join(folder, '.batchinferrc.json'));
    expect(io.error()).toContain(configKey(key));
    expect(io.error()).toContain('next: read the file; if it is yours, run batch-infer trust');
  });

  it('names no model that a preset launches', async () => {
    await write({ model: 'somebody/elses-model' });
    const { exitCode, io } = await call(['runner', '--preset', 'vllm-throughput']);
    expect([exitCode, io.error()]).toEqual([
      2,
      expect.stringContaining('sets model, and you have not trusted'),
    ]);
  });

  it('does no harm where flag or variable decides', async () => {
    await write({ baseUrl: 'http://127.0.0.1:1' });
    const { io } = await call(['list'], open({ BATCH_INFER_BASE_URL: 'not a url' }));
    expect(io.error()).not.toContain('trust');
  });

  it('is trusted at its path with its content, by its user, until it changes', async () => {
    await write({ 'base-url': 'not a url' });
    const { io } = await call(['trust']);
    expect(io.error()).toContain('baseUrl: not a url');
    const list = join(folder, 'profile', 'batch-infer', 'trusted.json');
    expect((await stat(list)).mode & 0o777).toBe(0o600);
    expect((await stat(join(folder, 'profile', 'batch-infer'))).mode & 0o777).toBe(0o700);
    expect((await call(['list'])).io.error()).not.toContain('have not trusted');
    expect((await call(['trust', '--list'])).io.out()).toBe(`${await realpath(folder)}/.batchinferrc.json\n`);

    await write({ 'base-url': 'not a URL' });
    expect((await call(['list'])).io.error()).toContain('have not trusted');
    await write({ 'base-url': 'not a url' });
    expect((await call(['list'])).io.error()).not.toContain('have not trusted');
    await call(['trust', '--remove']);
    expect((await call(['list'])).io.error()).toContain('have not trusted');
  });

  it('does not become the profile of a user whose XDG_CONFIG_HOME is relative', () => {
    const place = { workingDirectory: folder, environment: { XDG_CONFIG_HOME: 'profile' } };
    expect(trustListPath(place)).toBe(join(homedir(), '.config', 'batch-infer', 'trusted.json'));
  });

  it('config show names it, and prints no secret of it or of anybody else', async () => {
    await write({ launch: 'vllm serve m --api-key sekret1', model: 'm' });
    const environment = {
      BATCH_INFER_LAUNCH: 'vllm serve m --api-key sekret2 --url http://u:sekret3@h/?t=sekret4',
      BATCH_INFER_ENGINE_URL: 'http://u:sekret5@a/v1?key=sekret6,http://v:sekret7@b',
      BATCH_INFER_WEBHOOK: 'https://hooks.example/services/sekret8',
      BATCH_INFER_S3_ENDPOINT: 'http://sekret9@s3.example',
    };
    const { io } = await call(['config', 'show', '--sources'], open(environment));
    expect(io.out() + io.error()).not.toContain('sekret');
    expect(io.out()).toContain("vllm serve m --api-key *** --url 'http://***@h/?***'");
    expect(io.out()).toContain('http://***@a/v1?***,http://***@b');
    const own = await call(['config', 'show']);
    expect(own.io.error()).toContain('launch of ');
    expect(own.io.error()).toContain('is not trusted');
    expect(own.io.out() + own.io.error()).not.toContain('sekret');
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
