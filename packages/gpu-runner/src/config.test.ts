import { describe, expect, test } from 'vitest';
import { parseRunnerConfig, type RunnerOptions } from './config.js';

const parse = (options: RunnerOptions, environment: Record<string, string> = {}) =>
  parseRunnerConfig({ engineUrl: ['http://127.0.0.1:8000'], ...options }, environment);

describe('settings of a runner', () => {
  test('have defaults for all but the engine', () => {
    expect(parse({})).toMatchObject({
      ...{
        serverUrl: 'http://127.0.0.1:8080',
        window: null,
        metricsPort: null,
        models: [],
        kafkaBrokers: [],
      },
      ...{
        engineWaitMs: 60_000,
        drainTimeoutMs: 10_000,
        launchGraceMs: 30_000,
        verbose: false,
        apiKey: null,
      },
    });
    expect(() => parseRunnerConfig({}, {})).toThrow(/--engine-url.*--launch/);
  });

  test('come from flags before the environment', () => {
    const environment = {
      BATCH_INFER_SERVER: 'http://env:1',
      BATCH_INFER_WINDOW: '5',
      BATCH_INFER_MODEL: 'a, b',
    };
    expect(parse({ server: 'http://flag:2/' }, environment)).toMatchObject({
      ...{ serverUrl: 'http://flag:2', window: 5, models: ['a', 'b'] },
    });
  });

  test('read from a launched command how many requests its engine runs at once', () => {
    const launched = (launch: string) => parse({ engineUrl: [], launch }).maxSequences;
    expect(launched('vllm serve m --max-num-seqs 512 --port 8000')).toBe(512);
    expect(launched('python -m sglang.launch_server --max-running-requests=128')).toBe(128);
    expect(launched('llama-server -m m.gguf -np 8')).toBe(8);
    expect(launched('vllm serve m')).toBeNull();
    expect(parse({ maxSequences: '64' }).maxSequences).toBe(64);
    expect(parse({}, { BATCH_INFER_RESERVE: '16' }).reserve).toBe(16);
  });

  test('take command, places, reserve and time to end from a preset, where nobody said otherwise', () => {
    const launched = (options: RunnerOptions) => parse({ engineUrl: [], ...options });
    expect(launched({ preset: 'vllm-throughput', model: ['org/m'] })).toMatchObject({
      launchCommand: expect.stringMatching(
        /^vllm serve org\/m --host 127.0.0.1 --port \{port\} --max-num-seqs 512 /,
      ),
      ...{ maxSequences: 512, reserve: 0, launchGraceMs: 90_000, models: ['org/m'] },
    });
    const shared = { preset: 'vllm-shared', launch: 'vllm serve m --max-num-seqs 128' };
    expect(launched(shared)).toMatchObject({ maxSequences: 128, reserve: 32 });
    expect(launched({ ...shared, reserve: 0, launchGrace: '5s', maxSequences: 99 })).toMatchObject({
      ...{ maxSequences: 99, reserve: 0, launchGraceMs: 5_000 },
    });
    const environment = { BATCH_INFER_PRESET: 'llama-cpp', BATCH_INFER_MODEL: 'm.gguf' };
    expect(parseRunnerConfig({}, environment).launchCommand).toMatch(/^llama-server -m m\.gguf /);
  });

  test('keep from a launched engine what opens anything else', () => {
    const environment = {
      ...{ PATH: '/bin', CUDA_VISIBLE_DEVICES: '0', HF_TOKEN: 'hf', VLLM_LOGGING_LEVEL: 'INFO' },
      ...{ BATCH_INFER_API_KEY: 'k', BATCH_INFER_KAFKA_SASL_PASSWORD: 'k', AWS_SECRET_ACCESS_KEY: 'k' },
      ...{ AWS_ACCESS_KEY_ID: 'i', PGPASSWORD: 'k', DATABASE_URL: 'k', OPENAI_API_KEY: 'k', GH_TOKEN: 'k' },
    };
    const inherited = (options: RunnerOptions) =>
      parseRunnerConfig({ launch: 'vllm serve m', ...options }, environment).launchEnvironment;
    const passed = { PATH: '/bin', CUDA_VISIBLE_DEVICES: '0', HF_TOKEN: 'hf', VLLM_LOGGING_LEVEL: 'INFO' };
    expect(inherited({})).toEqual(passed);
    expect(inherited({ launchEnv: ['AWS_ACCESS_KEY_ID', 'NOT_SET'] })).toEqual({
      ...passed,
      AWS_ACCESS_KEY_ID: 'i',
    });
    expect(() => inherited({ launchEnv: 'A=1' })).toThrow('--launch-env: must be the name of a variable');
  });

  test("hand the engine's key to a preset's engine in its environment, not in its command", () => {
    const launched = parseRunnerConfig({ preset: 'vllm-cpu', model: 'm', engineApiKey: 'sekret' }, {});
    expect(launched.launchEnvironment).toEqual({ VLLM_API_KEY: 'sekret' });
    expect(launched.launchCommand).not.toContain('sekret');
  });

  test('name the presets there are when another one is asked for', () => {
    const attempt = () => parse({ preset: 'vllm-fast', launch: 'vllm serve m' });
    expect(attempt).toThrow(/--preset: must be one of vllm-throughput, vllm-shared, vllm-cpu/);
    expect(() => parse({ preset: 'vllm-cpu' })).toThrow(/--preset: vllm-cpu starts one engine/);
  });

  test('take the base URL of the clients where no server is named', () => {
    expect(parse({}, { BATCH_INFER_BASE_URL: 'http://base:3' }).serverUrl).toBe('http://base:3');
  });

  test('take several engines from one variable', () => {
    const environment = { BATCH_INFER_ENGINE_URL: 'http://a:1,http://b:2' };
    expect(parseRunnerConfig({}, environment).engineUrls).toEqual(['http://a:1', 'http://b:2']);
  });

  test('take durations in words or in seconds', () => {
    expect(parse({ engineWait: '2m', drainTimeout: 0.5, launchGrace: '7' })).toMatchObject({
      ...{ engineWaitMs: 120_000, drainTimeoutMs: 500, launchGraceMs: 7_000 },
    });
  });

  test('hand the variables of Kafka on, and no others', () => {
    const environment = {
      BATCH_INFER_KAFKA_BROKERS: 'k:9',
      BATCH_INFER_KAFKA_SASL_PASSWORD: 'p',
      OTHER: 'x',
    };
    const config = parse({}, environment);
    expect(config.kafkaBrokers).toEqual(['k:9']);
    expect(Object.keys(config.kafkaEnvironment)).toEqual([
      'BATCH_INFER_KAFKA_BROKERS',
      'BATCH_INFER_KAFKA_SASL_PASSWORD',
    ]);
  });

  test('are refused all at once, by name and without their values', () => {
    const bad: RunnerOptions = {
      server: 'ftp://secret-host',
      engineUrl: ['nonsense'],
      window: 0,
      engineWait: 'soon',
      metricsPort: 99_999,
    };
    const attempt = () => parseRunnerConfig(bad, {});
    expect(attempt).toThrow(expect.objectContaining({ code: 'invalid_config', exitCode: 2 }));
    for (const name of ['--server', '--engine-url', '--window', '--engine-wait', '--metrics-port'])
      expect(attempt).toThrow(name);
    expect(attempt).not.toThrow('secret-host');
  });
});

test('white space around a key is left out, and a key that no header can carry is refused', () => {
  const engine = { engineUrl: 'http://e' };
  const config = parseRunnerConfig({ ...engine, engineApiKey: 'secret\r\n', apiKey: ' bi_1 ' }, {});
  expect(config).toMatchObject({ engineApiKey: 'secret', apiKey: 'bi_1' });
  for (const bad of ['  ', 'two words', 'a\nb', 'é'])
    expect(() => parseRunnerConfig({ ...engine, engineApiKey: bad }, {})).toThrow(
      /--engine-api-key: must be one word/,
    );
});

test('a proxy of the environment is noticed', () => {
  const proxyOf = (environment: Record<string, string>) =>
    parseRunnerConfig({ engineUrl: 'http://e' }, environment).proxyVariable;
  expect(proxyOf({})).toBeNull();
  expect(proxyOf({ HTTP_PROXY: '' })).toBeNull();
  expect(proxyOf({ https_proxy: 'http://proxy:3128' })).toBe('https_proxy');
});

test('the health route is a path, or off', () => {
  const parsed = (engineHealthPath?: string) =>
    parseRunnerConfig({ engineUrl: 'http://e', engineHealthPath }, {}).engineHealthPath;
  expect(parsed()).toBe('/health');
  expect(parsed('/v2/health/live')).toBe('/v2/health/live');
  expect(parsed('off')).toBeNull();
  expect(() => parsed('health')).toThrow(/--engine-health-path: must be a path/);
});
