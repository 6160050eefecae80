import { LIMITS, parseDurationMs } from '@batch-infer/contracts';
import { z } from 'zod';
import { parseOrigin } from './http/browsers/origins.js';
import { CONNECTION_LIMITS } from './ledger/postgres-connections.js';

export const ROLES = ['api', 'dispatcher', 'sweeper'] as const;
export type Role = (typeof ROLES)[number];

/** Settings of a control plane, after flags, environment and files are merged. Times in milliseconds. */
export interface ControlPlaneConfig {
  readonly host: string;
  /** 0 picks a free port. */
  readonly port: number;
  /** Origin that clients reach us under; absolute links are built from it, never from `Host`. `null`: the bound address. */
  readonly publicUrl: string | null;
  readonly roles: readonly Role[];
  /** Folder of the embedded ledger and blobs. */
  readonly dataDir: string;
  /** `null`: SQLite in the data folder. */
  readonly databaseUrl: string | null;
  /** Connections to PostgreSQL at most; one more listens for signals. */
  readonly databaseConnections: number;
  /** How long a statement to PostgreSQL may go without an answer until its connection is given up. */
  readonly databaseSilenceMs: number;
  /** `null`: a folder in the data folder; else `s3://bucket/prefix`. */
  readonly blobsUrl: string | null;
  readonly s3Endpoint: string | null;
  /** Empty: offers travel directly. */
  readonly kafkaBrokers: readonly string[];
  /** The `BATCH_INFER_KAFKA_*` variables, for the transport to parse. */
  readonly kafkaSettings: Readonly<Record<string, string>>;
  readonly apiKeysFile: string | null;
  /** Origins whose web pages may use the API, as browsers write them. */
  readonly corsOrigins: readonly string[];
  /** Who reads `/metrics`: everybody who reaches it, or keys of all projects. */
  readonly metricsAccess: 'public' | 'key';
  /** Hosts that items may name media on, besides `data:` URLs; `'any'` with `*`. */
  readonly mediaHosts: 'any' | readonly string[];
  /** How long jobs stay after their end; `null`: for ever. */
  readonly retentionMs: number | null;
  /** How long output and error files stay whose job does not say it; `null`: until they are deleted. */
  readonly outputRetentionMs: number | null;
  readonly leaseMs: number;
  readonly renewIntervalMs: number;
  /** A runner whose session broke is taken for dead after this. */
  readonly sessionGraceMs: number;
  /** How long an offer that nobody claimed stands before it is offered again. */
  readonly offerTtlMs: number;
  readonly sweepIntervalMs: number;
  /** How long a stopped job waits for its runners' last settles. */
  readonly stopGraceMs: number;
  /** Receivers of webhooks (host, or host:port) that may have private addresses. */
  readonly webhookAllowHosts: readonly string[];
  readonly logLevel: string;
}

/** Settings are wrong: the message names all of them, without their values. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

const DAY_MS = 86_400_000;
/** Longer than the repeats of a request that are found by its content. */
const MIN_RETENTION_MS = 3_600_000;
const MAX_RETENTION_MS = 3_650 * DAY_MS;
const DEFAULT_DIRECT_OFFER_TTL_MS = 10_000;
const DEFAULT_KAFKA_OFFER_TTL_MS = 60_000;

const wholeNumber = (minimum: number, maximum: number) => {
  const rule = `must be a whole number from ${minimum} to ${maximum}`;
  return z
    .string()
    .regex(/^\d{1,12}$/, rule)
    .transform(Number)
    .refine((value) => value >= minimum && value <= maximum, rule);
};

const duration = wholeNumber(1, 86_400_000);

const list = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
);

const url = (protocols: RegExp, rule: string) =>
  z.string().refine((text) => URL.canParse(text) && protocols.test(new URL(text).protocol), rule);

const httpUrl = url(/^https?:$/, 'must be an http:// or https:// URL');

/** Milliseconds; 0 for no end. */
const retention = (meaningOfZero: string) =>
  z
    .string()
    .transform((text) => (text === '0' ? 0 : (parseDurationMs(text) ?? Number.NaN)))
    .refine(
      (durationMs) => durationMs === 0 || (durationMs >= MIN_RETENTION_MS && durationMs <= MAX_RETENTION_MS),
      `must be a duration from 1h to 3650d, or 0 ${meaningOfZero}`,
    );

const settings = z.object({
  BATCH_INFER_HOST: z.string().min(1).default('127.0.0.1'),
  BATCH_INFER_PORT: wholeNumber(0, 65_535).default(8_080),
  BATCH_INFER_PUBLIC_URL: httpUrl.transform((text) => text.replace(/\/+$/, '')).optional(),
  BATCH_INFER_ROLES: list
    .pipe(z.array(z.enum(ROLES, `must name some of ${ROLES.join(', ')}`)).min(1, 'must name a role'))
    .default([...ROLES]),
  BATCH_INFER_DATA: z.string().min(1).default('.batch-infer'),
  BATCH_INFER_DATABASE_URL: url(/^postgres(ql)?:$/, 'must be a postgres:// URL').optional(),
  BATCH_INFER_DATABASE_CONNECTIONS: wholeNumber(2, 1_000).default(10),
  BATCH_INFER_DATABASE_SILENCE_MS: wholeNumber(1_000, 600_000).default(CONNECTION_LIMITS.queryMs),
  BATCH_INFER_BLOBS: url(/^s3:$/, 'must be an s3://bucket/prefix URL').optional(),
  BATCH_INFER_S3_ENDPOINT: httpUrl.optional(),
  BATCH_INFER_KAFKA_BROKERS: list
    .pipe(z.array(z.string().regex(/^[^\s:]+:\d{1,5}$/, 'must be host:port, separated by commas')))
    .default([]),
  BATCH_INFER_API_KEYS_FILE: z.string().min(1).optional(),
  BATCH_INFER_CORS_ORIGIN: list
    .pipe(z.array(z.string().transform((text) => parseOrigin(text) ?? '')))
    .refine(
      (origins) => origins.every((origin) => origin !== ''),
      'must be exact origins such as https://app.example.com, separated by commas, never * or null',
    )
    .default([]),
  BATCH_INFER_METRICS_ACCESS: z.enum(['public', 'key'], 'must be public or key').default('public'),
  BATCH_INFER_MEDIA_HOSTS: list
    .pipe(
      z.array(
        z
          .string()
          .regex(
            /^(?:\*|[a-z0-9.-]+(?::\d{1,5})?|\[[0-9a-f:.]+\](?::\d{1,5})?)$/i,
            'must be hosts, separated by commas, or *',
          )
          .toLowerCase(),
      ),
    )
    .default([]),
  BATCH_INFER_RETENTION: retention('to keep jobs for ever').default(30 * DAY_MS),
  BATCH_INFER_OUTPUT_RETENTION: retention('to keep files until they are deleted').default(0),
  BATCH_INFER_LEASE_MS: duration.default(LIMITS.leaseMs),
  BATCH_INFER_RENEW_INTERVAL_MS: duration.default(2_500),
  BATCH_INFER_SESSION_GRACE_MS: duration.default(3_000),
  BATCH_INFER_OFFER_TTL_MS: duration.optional(),
  BATCH_INFER_SWEEP_INTERVAL_MS: duration.default(1_000),
  BATCH_INFER_STOP_GRACE_MS: duration.default(5_000),
  BATCH_INFER_WEBHOOK_ALLOW_HOSTS: list.default([]),
  BATCH_INFER_LOG_LEVEL: z
    .enum(
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
      'must be a pino level, such as "info"',
    )
    .default('info'),
});

/**
 * Settings from variables named as in the environment (`BATCH_INFER_PORT`, …); empty ones count as absent.
 * @throws ConfigError naming every bad variable at once.
 */
export function parseControlPlaneConfig(
  source: Readonly<Record<string, string | undefined>>,
): ControlPlaneConfig {
  const given = Object.fromEntries(
    Object.entries(source).filter(([, value]) => value !== undefined && value !== ''),
  );
  const parsed = settings.safeParse(given);
  if (!parsed.success) {
    throw new ConfigError(
      `Settings are not valid: ${parsed.error.issues.map(({ path, message }) => `${String(path[0])} ${message}`).join('; ')}.`,
    );
  }
  const value = parsed.data;
  const kafka = value.BATCH_INFER_KAFKA_BROKERS.length > 0;
  const config: ControlPlaneConfig = {
    host: value.BATCH_INFER_HOST,
    port: value.BATCH_INFER_PORT,
    publicUrl: value.BATCH_INFER_PUBLIC_URL ?? null,
    roles: [...new Set(value.BATCH_INFER_ROLES)],
    dataDir: value.BATCH_INFER_DATA,
    databaseUrl: value.BATCH_INFER_DATABASE_URL ?? null,
    databaseConnections: value.BATCH_INFER_DATABASE_CONNECTIONS,
    databaseSilenceMs: value.BATCH_INFER_DATABASE_SILENCE_MS,
    blobsUrl: value.BATCH_INFER_BLOBS ?? null,
    s3Endpoint: value.BATCH_INFER_S3_ENDPOINT ?? null,
    kafkaBrokers: value.BATCH_INFER_KAFKA_BROKERS,
    kafkaSettings: Object.fromEntries(
      Object.entries(given).flatMap(([name, text]) =>
        name.startsWith('BATCH_INFER_KAFKA_') && text !== undefined ? [[name, text]] : [],
      ),
    ),
    apiKeysFile: value.BATCH_INFER_API_KEYS_FILE ?? null,
    metricsAccess: value.BATCH_INFER_METRICS_ACCESS,
    corsOrigins: [...new Set(value.BATCH_INFER_CORS_ORIGIN)],
    mediaHosts: value.BATCH_INFER_MEDIA_HOSTS.includes('*') ? 'any' : value.BATCH_INFER_MEDIA_HOSTS,
    retentionMs: value.BATCH_INFER_RETENTION === 0 ? null : value.BATCH_INFER_RETENTION,
    outputRetentionMs: value.BATCH_INFER_OUTPUT_RETENTION === 0 ? null : value.BATCH_INFER_OUTPUT_RETENTION,
    leaseMs: value.BATCH_INFER_LEASE_MS,
    renewIntervalMs: value.BATCH_INFER_RENEW_INTERVAL_MS,
    sessionGraceMs: value.BATCH_INFER_SESSION_GRACE_MS,
    offerTtlMs:
      value.BATCH_INFER_OFFER_TTL_MS ?? (kafka ? DEFAULT_KAFKA_OFFER_TTL_MS : DEFAULT_DIRECT_OFFER_TTL_MS),
    sweepIntervalMs: value.BATCH_INFER_SWEEP_INTERVAL_MS,
    stopGraceMs: value.BATCH_INFER_STOP_GRACE_MS,
    webhookAllowHosts: value.BATCH_INFER_WEBHOOK_ALLOW_HOSTS,
    logLevel: value.BATCH_INFER_LOG_LEVEL,
  };
  checkTogether(config);
  return config;
}

/** Rules over several settings. @throws ConfigError */
function checkTogether(config: ControlPlaneConfig): void {
  const faults: string[] = [];
  if (config.renewIntervalMs * 2 > config.leaseMs) {
    faults.push('BATCH_INFER_RENEW_INTERVAL_MS must be at most half of BATCH_INFER_LEASE_MS');
  }
  if (
    config.kafkaBrokers.length === 0 &&
    config.roles.includes('dispatcher') &&
    !config.roles.includes('api')
  ) {
    faults.push(
      'BATCH_INFER_ROLES names the dispatcher without the api, but without Kafka offers travel in answers of the api: add "api" or set BATCH_INFER_KAFKA_BROKERS',
    );
  }
  if (faults.length > 0) throw new ConfigError(`Settings are not valid: ${faults.join('; ')}.`);
}
