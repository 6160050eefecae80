import { describe, expect, it } from 'vitest';
import { ConfigError, parseControlPlaneConfig } from './config.js';

describe('the settings of a control plane', () => {
  it('have defaults for the embedded profile', () => {
    expect(parseControlPlaneConfig({})).toEqual({
      host: '127.0.0.1',
      port: 8080,
      publicUrl: null,
      roles: ['api', 'dispatcher', 'sweeper'],
      dataDir: '.batch-infer',
      databaseUrl: null,
      databaseConnections: 10,
      databaseSilenceMs: 35_000,
      blobsUrl: null,
      s3Endpoint: null,
      kafkaBrokers: [],
      kafkaSettings: {},
      apiKeysFile: null,
      corsOrigins: [],
      metricsAccess: 'public',
      leaseMs: 30_000,
      renewIntervalMs: 2_500,
      sessionGraceMs: 3_000,
      offerTtlMs: 10_000,
      sweepIntervalMs: 1_000,
      stopGraceMs: 5_000,
      webhookAllowHosts: [],
      mediaHosts: [],
      retentionMs: 30 * 86_400_000,
      outputRetentionMs: null,
      logLevel: 'info',
    });
  });

  it('take lists, URLs and numbers from the environment, and leave other variables alone', () => {
    const config = parseControlPlaneConfig({
      PATH: '/bin',
      BATCH_INFER_BASE_URL: 'http://elsewhere',
      BATCH_INFER_PORT: '0',
      BATCH_INFER_HOST: '',
      BATCH_INFER_ROLES: 'api, sweeper',
      BATCH_INFER_KAFKA_BROKERS: 'a:9092, b:9092',
      BATCH_INFER_PUBLIC_URL: 'https://batch.example/',
      BATCH_INFER_CORS_ORIGIN: 'https://App.example:443, http://localhost:3000/',
      BATCH_INFER_DATABASE_URL: 'postgres://user@db/name',
      BATCH_INFER_BLOBS: 's3://bucket/prefix',
    });
    expect(config).toMatchObject({
      port: 0,
      host: '127.0.0.1',
      roles: ['api', 'sweeper'],
      kafkaBrokers: ['a:9092', 'b:9092'],
      publicUrl: 'https://batch.example',
      corsOrigins: ['https://app.example', 'http://localhost:3000'],
      databaseUrl: 'postgres://user@db/name',
      blobsUrl: 's3://bucket/prefix',
      offerTtlMs: 60_000,
    });
  });

  it('are refused with every bad name at once, and without values', () => {
    const parse = () =>
      parseControlPlaneConfig({
        BATCH_INFER_PORT: '70000',
        BATCH_INFER_ROLES: 'api,cook',
        BATCH_INFER_DATABASE_URL: 'mysql://user:hunter2@db',
        BATCH_INFER_LEASE_MS: 'soon',
      });
    expect(parse).toThrow(ConfigError);
    for (const name of ['PORT', 'ROLES', 'DATABASE_URL', 'LEASE_MS'])
      expect(parse).toThrow(`BATCH_INFER_${name} must`);
    expect(parse).not.toThrow(/hunter2|cook|soon|70000/);
  });

  it('are refused when they do not fit together', () => {
    expect(() => parseControlPlaneConfig({ BATCH_INFER_LEASE_MS: '4000' })).toThrow(/at most half/);
    expect(() => parseControlPlaneConfig({ BATCH_INFER_ROLES: 'dispatcher' })).toThrow(/KAFKA_BROKERS/);
  });
});
