import { DATA_OPTIONS, type OptionSpec } from './options.js';

/** Where a control plane listens. */
const LISTEN_OPTIONS: readonly OptionSpec[] = [
  { flag: 'port', value: 'N', description: 'port to listen on; 0 picks a free one', default: '8080' },
  {
    flag: 'host',
    value: 'HOST',
    description: 'address to listen on; beyond this machine only with API keys',
    default: '127.0.0.1',
  },
];

/** Where media of items may lie. */
export const MEDIA_OPTIONS: readonly OptionSpec[] = [
  {
    flag: 'media-hosts',
    value: 'HOST,…',
    repeatable: true,
    description: 'hosts that items may name images and other media on, or * (default: data: URLs only)',
  },
];

/** The control plane. */
export const SERVE_OPTIONS: readonly OptionSpec[] = [
  ...DATA_OPTIONS,
  ...LISTEN_OPTIONS,
  {
    flag: 'public-url',
    value: 'URL',
    description: 'origin that clients reach it under (default: the bound address)',
  },
  { flag: 'roles', value: 'ROLES', description: 'api,dispatcher,sweeper or some of them (default: all)' },
  {
    flag: 'database-url',
    value: 'URL',
    description: 'postgres://… (default: SQLite in --data)',
    secret: true,
  },
  {
    flag: 'database-connections',
    value: 'N',
    description: 'connections to PostgreSQL at most, 2 to 1000 (default: 10)',
  },
  { flag: 'blobs', value: 'URL', description: 's3://bucket/prefix (default: a folder in --data)' },
  { flag: 's3-endpoint', value: 'URL', description: 'S3 server other than AWS' },
  {
    flag: 'kafka-brokers',
    value: 'HOST:PORT,…',
    repeatable: true,
    description: 'Kafka (default: offers travel directly)',
  },
  { flag: 'api-keys-file', value: 'FILE', description: 'API keys that are accepted' },
  {
    flag: 'cors-origin',
    value: 'ORIGIN',
    repeatable: true,
    description: 'origin whose web pages may use the API, such as https://app.example.com (default: none)',
  },
  {
    flag: 'metrics-access',
    value: 'WHO',
    description: 'who may read /metrics: public, or key for keys of all projects (default: public)',
  },
  ...MEDIA_OPTIONS,
  {
    flag: 'webhook-allow-hosts',
    value: 'HOST,…',
    repeatable: true,
    description: 'receivers of webhooks (host or host:port) that may have private addresses',
  },
  {
    flag: 'retention',
    value: 'TIME',
    description: 'how long jobs and their results stay after their end; 0 keeps them for ever (default: 30d)',
  },
  {
    flag: 'output-retention',
    value: 'TIME',
    description:
      'how long output and error files stay whose job does not say it; 0 keeps them until they are deleted (default: 0)',
  },
  {
    flag: 'log-level',
    value: 'LEVEL',
    description: 'trace, debug, info, warn, error or silent (default: info)',
  },
];

/** What one process of another kind is given, as variables: flags on a command line are visible to everybody. */
export const RUNNER_ONLY_OPTIONS: readonly OptionSpec[] = [
  { flag: 'server', value: 'URL', description: 'the control plane (default: http://127.0.0.1:8080)' },
  {
    flag: 'model',
    value: 'NAME',
    repeatable: true,
    description: 'serve only this model (repeatable; default: all that the engines have)',
  },
  {
    flag: 'kafka-brokers',
    value: 'HOST:PORT,…',
    repeatable: true,
    description: 'Kafka, where the control plane uses it',
  },
  { flag: 'api-key', value: 'KEY', description: 'API key for the control plane', secret: true },
  {
    flag: 'metrics-port',
    value: 'N',
    description: 'port of /metrics, /healthz and /readyz; 0 picks a free one (default: none)',
  },
  {
    flag: 'drain-timeout',
    value: 'TIME',
    description: 'how long requests in flight may go on after SIGTERM (default: 10s)',
  },
  {
    flag: 'launch-grace',
    value: 'TIME',
    description: 'how long a launched engine may take to end (default: 30s)',
  },
  { flag: 'verbose', description: 'show what a launched engine prints' },
  { flag: 'log-level', value: 'LEVEL', description: 'debug, info, warn, error or silent (default: info)' },
];
