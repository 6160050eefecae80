import { parseDurationMs } from '@batch-infer/contracts';
import { z } from 'zod';
import { engineEnvironment } from './engine/engine-environment.js';
import { presetCommand } from './engine/preset-command.js';
import { PRESET_NAMES, PRESETS, type PresetName } from './engine/presets.js';
import { RunnerError } from './errors.js';

/** Settings of a runner, after flags and environment are merged. Times in milliseconds. */
export interface RunnerConfig {
  /** Origin of the control plane, without a trailing slash. */
  readonly serverUrl: string;
  /** Key for the control plane. */
  readonly apiKey: string | null;
  /** OpenAI-compatible servers; empty when `launchCommand` says where its own one listens. */
  readonly engineUrls: readonly string[];
  /** Key for the engines. */
  readonly engineApiKey: string | null;
  /** Route that says whether an engine lives; `null`: its answers alone tell. */
  readonly engineHealthPath: string | null;
  /** Command line of an engine to start and supervise, with the flags of a preset; `{port}` in it becomes a free port. */
  readonly launchCommand: string | null;
  /** All that the launched engine inherits of the environment. */
  readonly launchEnvironment: Readonly<Record<string, string>>;
  /** Serve these models only; empty: all that the engines serve. */
  readonly models: readonly string[];
  /** Requests in flight at each engine; `null`: steered by the engine's state. */
  readonly window: number | null;
  /** Requests that each engine runs at once, where it does not say so itself (vLLM's `--max-num-seqs`). */
  readonly maxSequences: number | null;
  /** Places at each engine that are left to traffic which is not ours. */
  readonly reserve: number;
  /** Needed when the control plane sends its offers over Kafka. */
  readonly kafkaBrokers: readonly string[];
  /** `BATCH_INFER_KAFKA_*`: credentials and the like, read by the Kafka transport. */
  readonly kafkaEnvironment: Readonly<Record<string, string | undefined>>;
  /** The variable that names an HTTP proxy; requests to engines and to the control plane use none. `null`: none is named. */
  readonly proxyVariable: string | null;
  /** Port of `/metrics`, `/healthz` and `/readyz`; 0 picks a free one; `null`: none. */
  readonly metricsPort: number | null;
  /** How long to wait for a first engine at start; 0: for ever. */
  readonly engineWaitMs: number;
  /** How long items in flight may go on after a drain was asked for. */
  readonly drainTimeoutMs: number;
  /** How long a launched engine may take to end after SIGTERM. */
  readonly launchGraceMs: number;
  /** Print what a launched engine prints. */
  readonly verbose: boolean;
  readonly logLevel: string;
}

const list = z.preprocess((value) => {
  const entries = Array.isArray(value) ? value : typeof value === 'string' ? value.split(',') : value;
  return Array.isArray(entries)
    ? entries
        .map((entry) => (typeof entry === 'string' ? entry.trim() : entry))
        .filter((entry) => entry !== '')
    : entries;
}, z.array(z.string()));

const httpUrl = z
  .string()
  .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), 'must be an http(s) URL');

/** `30s`, `5m`, or a plain number of seconds. */
const duration = z.union([z.string(), z.number()]).transform((value, context) => {
  const durationMs = /^\d+(\.\d+)?$/.test(String(value))
    ? Number(value) * 1_000
    : parseDurationMs(String(value));
  if (durationMs !== null && durationMs >= 0) return durationMs;
  context.addIssue({ code: 'custom', message: 'must be a duration such as 30s, 5m, or a number of seconds' });
  return z.NEVER;
});

/**
 * A key as it goes into a header. White space around it is a slip (`$(cat key)` with a line break): it is left out. What no
 * header can carry is refused here, or every request would fail before it is sent.
 */
const secret = z
  .string()
  .transform((text) => text.trim())
  .refine(
    (text) => /^[!-~]+$/.test(text),
    'must be one word of printable ASCII characters, without spaces inside',
  )
  .nullable()
  .default(null);

const flag = z.union([
  z.boolean(),
  z.enum(['1', 'true', 'yes', '0', 'false', 'no']).transform((text) => ['1', 'true', 'yes'].includes(text)),
]);

/** For an engine that no preset is about. */
const LAUNCH_GRACE_MS = 30_000;

const LOG_LEVELS = ['silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const;

const schema = z.object({
  server: httpUrl.default('http://127.0.0.1:8080'),
  apiKey: secret,
  engineUrl: list.pipe(z.array(httpUrl)).default([]),
  engineApiKey: secret,
  engineHealthPath: z
    .string()
    .trim()
    .regex(/^(?:off|\/[!-~]*)$/, 'must be a path such as /health, or off')
    .default('/health'),
  launch: z.string().trim().min(1).nullable().default(null),
  launchEnv: list
    .pipe(
      z.array(
        z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be the name of a variable, such as AWS_PROFILE'),
      ),
    )
    .default([]),
  preset: z
    .custom<PresetName>((value) => PRESET_NAMES.some((name) => name === value), {
      error: `must be one of ${PRESET_NAMES.join(', ')}`,
    })
    .nullable()
    .default(null),
  model: list.default([]),
  window: z.coerce.number().int().min(1).max(4_096).nullable().default(null),
  maxSequences: z.coerce.number().int().min(1).max(4_096).nullable().default(null),
  reserve: z.coerce.number().int().min(0).max(4_095).nullable().default(null),
  kafkaBrokers: list.default([]),
  metricsPort: z.coerce.number().int().min(0).max(65_535).nullable().default(null),
  engineWait: duration.default(60_000),
  drainTimeout: duration.default(10_000),
  launchGrace: duration.nullable().default(null),
  verbose: flag.default(false),
  logLevel: z.enum(LOG_LEVELS).default('info'),
});

/** The flags of `batch-infer runner`, as camel-case keys; repeatable ones may be arrays or comma-separated. */
export type RunnerOptions = { readonly [Name in keyof typeof schema.shape]?: unknown };

const ENVIRONMENT: Record<keyof typeof schema.shape, readonly string[]> = {
  server: ['BATCH_INFER_SERVER', 'BATCH_INFER_BASE_URL'],
  apiKey: ['BATCH_INFER_API_KEY'],
  engineUrl: ['BATCH_INFER_ENGINE_URL'],
  engineApiKey: ['BATCH_INFER_ENGINE_API_KEY'],
  engineHealthPath: ['BATCH_INFER_ENGINE_HEALTH_PATH'],
  launch: ['BATCH_INFER_LAUNCH'],
  launchEnv: ['BATCH_INFER_LAUNCH_ENV'],
  preset: ['BATCH_INFER_PRESET'],
  model: ['BATCH_INFER_MODEL'],
  window: ['BATCH_INFER_WINDOW'],
  maxSequences: ['BATCH_INFER_MAX_SEQUENCES'],
  reserve: ['BATCH_INFER_RESERVE'],
  kafkaBrokers: ['BATCH_INFER_KAFKA_BROKERS'],
  metricsPort: ['BATCH_INFER_METRICS_PORT'],
  engineWait: ['BATCH_INFER_ENGINE_WAIT'],
  drainTimeout: ['BATCH_INFER_DRAIN_TIMEOUT'],
  launchGrace: ['BATCH_INFER_LAUNCH_GRACE'],
  verbose: ['BATCH_INFER_VERBOSE'],
  logLevel: ['BATCH_INFER_LOG_LEVEL'],
};

const PROXY_VARIABLES = ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy', 'ALL_PROXY', 'all_proxy'];

/** The setting as a person types it. */
const flagName = (key: string): string =>
  `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

const trimUrl = (url: string): string => url.replace(/\/+$/, '');

/**
 * Merges options (flags first, then environment, then defaults).
 * @throws {RunnerError} `invalid_config`, naming every bad setting at once, without values.
 */
export function parseRunnerConfig(
  options: RunnerOptions,
  environment: NodeJS.ProcessEnv = process.env,
): RunnerConfig {
  const merged: Record<string, unknown> = {};
  for (const [key, names] of Object.entries(ENVIRONMENT)) {
    const given = options[key as keyof RunnerOptions];
    const fallback = names
      .map((name) => environment[name])
      .find((value) => value !== undefined && value !== '');
    const value = given ?? fallback;
    if (value !== undefined) merged[key] = value;
  }
  const parsed = schema.safeParse(merged);
  const problems = parsed.success ? [] : problemsOf(parsed.error);
  if (!parsed.success || problems.length > 0) throw configError(problems);
  const settings = parsed.data;
  const preset = settings.preset === null ? null : PRESETS[settings.preset];
  const launchCommand = launchCommandOf(settings);
  const maxSequences = settings.maxSequences ?? maxSequencesIn(launchCommand);
  if (settings.engineUrl.length === 0 && launchCommand === null) {
    throw configError([
      'no engine: give --engine-url URL (an OpenAI-compatible server) or --launch "COMMAND"',
    ]);
  }
  return {
    serverUrl: trimUrl(settings.server),
    apiKey: settings.apiKey,
    engineUrls: settings.engineUrl,
    engineApiKey: settings.engineApiKey,
    engineHealthPath: settings.engineHealthPath === 'off' ? null : settings.engineHealthPath,
    launchCommand,
    launchEnvironment: engineEnvironment(environment, {
      named: settings.launchEnv,
      family: preset?.family ?? null,
      apiKey: settings.engineApiKey,
    }),
    models: settings.model,
    window: settings.window,
    maxSequences,
    reserve: settings.reserve ?? Math.floor((preset?.reserveShare ?? 0) * (maxSequences ?? 0)),
    kafkaBrokers: settings.kafkaBrokers,
    kafkaEnvironment: Object.fromEntries(
      Object.entries(environment).filter(([name]) => name.startsWith('BATCH_INFER_KAFKA_')),
    ),
    proxyVariable:
      PROXY_VARIABLES.find((name) => environment[name] !== undefined && environment[name] !== '') ?? null,
    metricsPort: settings.metricsPort,
    engineWaitMs: settings.engineWait,
    drainTimeoutMs: settings.drainTimeout,
    launchGraceMs: settings.launchGrace ?? preset?.launchGraceMs ?? LAUNCH_GRACE_MS,
    verbose: settings.verbose,
    logLevel: settings.logLevel,
  };
}

/** The command as it was given, or with what the preset adds to it. */
function launchCommandOf(settings: z.infer<typeof schema>): string | null {
  const { launch, preset: name, model: models, engineUrl } = settings;
  if (name === null) return launch;
  const engine = { launch, models, engineUrl: engineUrl[0] ?? null };
  try {
    return presetCommand({ preset: PRESETS[name], name, ...engine });
  } catch (error) {
    throw configError([`--preset: ${error instanceof Error ? error.message : String(error)}`]);
  }
}

/** What the command line of a launched engine says of it: vLLM's, SGLang's and llama.cpp's flags. */
function maxSequencesIn(command: string | null): number | null {
  const flag = /\s(?:--max[-_]num[-_]seqs|--max-running-requests|--parallel|-np)[\s=](\d+)(?=\s|$)/.exec(
    command ?? '',
  );
  return flag === null ? null : Math.max(1, Number(flag[1]));
}

function problemsOf(error: z.ZodError): string[] {
  return error.issues.map((issue) => `${flagName(String(issue.path[0]))}: ${issue.message}`);
}

const configError = (problems: readonly string[]): RunnerError =>
  new RunnerError(
    'invalid_config',
    `The runner's settings are not valid:\n${problems.map((line) => `  ${line}`).join('\n')}`,
  );
