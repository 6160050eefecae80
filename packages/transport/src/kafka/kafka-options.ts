import { readFileSync } from 'node:fs';
import { z } from 'zod';

/** How to reach Kafka and how topics are made there. Times in milliseconds. */
export interface KafkaOptions {
  /** `host:port` of some brokers; the others are learnt from them. */
  readonly brokers: readonly string[];
  /** Names this process in the brokers' logs and quotas. Default `batch-infer`. */
  readonly clientId: string;
  /** First part of the names of topics and groups. Default `batch-infer`. */
  readonly topicPrefix: string;
  /** Partitions of a new lane; more runners of a model than this leave some without offers. Default 12. */
  readonly partitions: number;
  /** Replicas of a new topic; -1, the default: as the broker is configured. */
  readonly replicationFactor: number;
  /** `min.insync.replicas` of a new topic; `null`, the default: as the broker is configured. */
  readonly minInsyncReplicas: number | null;
  /** How long a lane's records are kept. Default one day; an offer that old was offered again long ago. */
  readonly retentionMs: number;
  /** Models that have lanes at most; offers of further ones are refused. Default 256. */
  readonly maxModels: number;
  /** Lanes of a model without offers and without runners for this long are deleted; `null`: never. Default a week. */
  readonly laneIdleMs: number | null;
  /** How long handing over offers may take before it is given up. Default 5 s. */
  readonly publishTimeoutMs: number;
  /** How long a dead runner keeps its partitions. Default 10 s; brokers refuse less than 6 s by default. */
  readonly sessionTimeoutMs: number;
  /** Default 1 s. */
  readonly connectionTimeoutMs: number;
  readonly sasl: KafkaSasl | null;
  readonly tls: KafkaTls | null;
}

export interface KafkaSasl {
  readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512';
  readonly username: string;
  readonly password: string;
}

/** PEM texts; `null`: the system's authorities, no client certificate. */
export interface KafkaTls {
  readonly ca: string | null;
  readonly certificate: string | null;
  readonly key: string | null;
}

/** Settings are wrong; the message names every one of them and holds no values. */
export class KafkaOptionsError extends Error {
  override readonly name = 'KafkaOptionsError';
}

const PREFIX = 'BATCH_INFER_KAFKA_';

const list = z
  .string()
  .transform((text) => text.split(',').map((entry) => entry.trim()))
  .transform((entries) => entries.filter((entry) => entry !== ''));

/** No IPv6 addresses: kafkajs cuts at the first colon. Names that resolve to such are well. */
const broker = z.string().regex(/^[^:\s/]+:\d{1,5}$/, 'must be host:port,… (no IPv6 address)');

const flag = z
  .enum(['1', 'true', 'yes', '0', 'false', 'no'])
  .transform((text) => ['1', 'true', 'yes'].includes(text));

/** A line break behind it is a slip (a file that was read whole); spaces may be meant. */
const secret = z.string().transform((text) => text.replace(/[\r\n]+$/, ''));

/** A PEM text, or the path of a file with one. */
const pem = z.string().transform((text, context) => {
  if (text.includes('-----BEGIN ')) return text;
  try {
    return readFileSync(text, 'utf8');
  } catch {
    context.addIssue({ code: 'custom', message: 'must be a readable PEM file or a PEM text' });
    return z.NEVER;
  }
});

const milliseconds = z.coerce.number().int().min(100);

/** Keys are the ends of the variables' names. */
const schema = z
  .object({
    BROKERS: list.pipe(z.array(broker)).default([]),
    CLIENT_ID: z.string().default('batch-infer'),
    TOPIC_PREFIX: z
      .string()
      .regex(/^[A-Za-z0-9._-]{1,100}$/, 'must be 1 to 100 letters, digits, ".", "_" or "-"')
      .default('batch-infer'),
    PARTITIONS: z.coerce.number().int().min(1).max(10_000).default(12),
    REPLICATION_FACTOR: z.coerce.number().int().min(1).max(32_767).default(-1),
    MIN_INSYNC_REPLICAS: z.coerce.number().int().min(1).nullable().default(null),
    RETENTION_MS: milliseconds.default(86_400_000),
    MAX_MODELS: z.coerce.number().int().min(1).max(100_000).default(256),
    LANE_IDLE_MS: z
      .union([z.literal('never').transform(() => null), z.coerce.number().int().min(3_600_000)])
      .default(7 * 86_400_000),
    PUBLISH_TIMEOUT_MS: milliseconds.default(5_000),
    SESSION_TIMEOUT_MS: milliseconds.default(10_000),
    CONNECTION_TIMEOUT_MS: milliseconds.default(1_000),
    SASL_MECHANISM: z
      .string()
      .toLowerCase()
      .pipe(z.enum(['plain', 'scram-sha-256', 'scram-sha-512']))
      .nullable()
      .default(null),
    SASL_USERNAME: z.string().trim().nullable().default(null),
    SASL_PASSWORD: secret.nullable().default(null),
    TLS: flag.nullable().default(null),
    TLS_CA: pem.nullable().default(null),
    TLS_CERT: pem.nullable().default(null),
    TLS_KEY: pem.nullable().default(null),
  })
  .superRefine((settings, context) => {
    const complain = (name: keyof typeof settings, message: string) =>
      context.addIssue({ code: 'custom', path: [name], message });
    const credentials = ['SASL_USERNAME', 'SASL_PASSWORD'] as const;
    for (const name of credentials) {
      if (settings.SASL_MECHANISM !== null && settings[name] === null)
        complain(name, 'is needed with SASL_MECHANISM');
      if (settings.SASL_MECHANISM === null && settings[name] !== null)
        complain('SASL_MECHANISM', `is needed with ${name}`);
    }
    if ((settings.TLS_CERT === null) !== (settings.TLS_KEY === null))
      complain(settings.TLS_CERT === null ? 'TLS_CERT' : 'TLS_KEY', 'TLS_CERT and TLS_KEY go together');
    if (settings.TLS === false && (settings.TLS_CA !== null || settings.TLS_CERT !== null))
      complain('TLS', 'is off, but certificates are given');
  });

/**
 * Reads `BATCH_INFER_KAFKA_*` of an environment-like record; certificates (`TLS_CA`, `TLS_CERT`, `TLS_KEY`) may be PEM
 * texts or paths. `overrides` are settings that came another way, as flags.
 * @throws {KafkaOptionsError}
 */
export function parseKafkaOptions(
  environment: Readonly<Record<string, string | undefined>>,
  overrides: { readonly brokers?: readonly string[]; readonly clientId?: string } = {},
): KafkaOptions {
  const settings: Record<string, string> = {};
  for (const name of Object.keys(schema.shape)) {
    const value = environment[PREFIX + name];
    if (value !== undefined && value.trim() !== '') settings[name] = value;
  }
  if (overrides.brokers && overrides.brokers.length > 0) settings.BROKERS = overrides.brokers.join(',');
  const parsed = schema.safeParse(settings);
  const problems = parsed.success
    ? []
    : parsed.error.issues.map((issue) => `${PREFIX}${String(issue.path[0])}: ${issue.message}`);
  if (parsed.success && parsed.data.BROKERS.length === 0) problems.push(`${PREFIX}BROKERS: names no broker`);
  if (!parsed.success || problems.length > 0) {
    const lines = [...new Set(problems)].map((problem) => `  ${problem}`);
    throw new KafkaOptionsError(`The Kafka settings are not valid:\n${lines.join('\n')}`);
  }
  const { data } = parsed;
  return {
    brokers: data.BROKERS,
    clientId: overrides.clientId ?? data.CLIENT_ID,
    topicPrefix: data.TOPIC_PREFIX,
    partitions: data.PARTITIONS,
    replicationFactor: data.REPLICATION_FACTOR,
    minInsyncReplicas: data.MIN_INSYNC_REPLICAS,
    retentionMs: data.RETENTION_MS,
    maxModels: data.MAX_MODELS,
    laneIdleMs: data.LANE_IDLE_MS,
    publishTimeoutMs: data.PUBLISH_TIMEOUT_MS,
    sessionTimeoutMs: data.SESSION_TIMEOUT_MS,
    connectionTimeoutMs: data.CONNECTION_TIMEOUT_MS,
    sasl:
      data.SASL_MECHANISM === null
        ? null
        : {
            mechanism: data.SASL_MECHANISM,
            username: data.SASL_USERNAME ?? '',
            password: data.SASL_PASSWORD ?? '',
          },
    tls:
      data.TLS === true || data.TLS_CA !== null || data.TLS_CERT !== null
        ? { ca: data.TLS_CA, certificate: data.TLS_CERT, key: data.TLS_KEY }
        : null,
  };
}
