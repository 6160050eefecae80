import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { KafkaOptionsError, parseKafkaOptions } from './kafka-options.js';

const folder = mkdtempSync(join(tmpdir(), 'batch-infer-kafka-options-'));
afterAll(() => rmSync(folder, { recursive: true }));

const parse = (settings: Record<string, string>, overrides = {}) =>
  parseKafkaOptions(
    Object.fromEntries(
      Object.entries({ BROKERS: 'k1:9092', ...settings }).map(([name, value]) => [
        `BATCH_INFER_KAFKA_${name}`,
        value,
      ]),
    ),
    overrides,
  );

const complaintOf = (settings: Record<string, string>): string => {
  try {
    parse(settings);
  } catch (error) {
    if (error instanceof KafkaOptionsError) return error.message;
  }
  return '';
};

describe('parseKafkaOptions', () => {
  it('needs brokers and has a default for everything else', () => {
    expect(parse({ BROKERS: ' k1:9092, k2:9093 ,' })).toEqual({
      brokers: ['k1:9092', 'k2:9093'],
      clientId: 'batch-infer',
      topicPrefix: 'batch-infer',
      partitions: 12,
      replicationFactor: -1,
      minInsyncReplicas: null,
      retentionMs: 86_400_000,
      publishTimeoutMs: 5_000,
      sessionTimeoutMs: 10_000,
      connectionTimeoutMs: 1_000,
      maxModels: 256,
      laneIdleMs: 7 * 86_400_000,
      sasl: null,
      tls: null,
    });
    expect(() => parseKafkaOptions({})).toThrow('BATCH_INFER_KAFKA_BROKERS: names no broker');
  });

  it('prefers what came as a flag', () => {
    const options = parse({}, { brokers: ['k9:1'], clientId: 'runner-1' });
    expect(options).toMatchObject({ brokers: ['k9:1'], clientId: 'runner-1' });
  });

  it('reads SASL and TLS, certificates as text or as files', () => {
    const pem = '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n';
    const file = join(folder, 'ca.pem');
    writeFileSync(file, pem);
    const options = parse({
      SASL_MECHANISM: 'SCRAM-SHA-512',
      SASL_USERNAME: 'u',
      SASL_PASSWORD: 'p',
      TLS_CA: file,
      TLS_CERT: pem,
      TLS_KEY: pem,
    });
    expect(options.sasl).toEqual({ mechanism: 'scram-sha-512', username: 'u', password: 'p' });
    expect(options.tls).toEqual({ ca: pem, certificate: pem, key: pem });
    expect(parse({ TLS: 'true' }).tls).toEqual({ ca: null, certificate: null, key: null });
    expect(parse({ TLS: '0' }).tls).toBeNull();
  });

  it('leaves out line breaks behind credentials, and no spaces of a password', () => {
    const options = parse({ SASL_MECHANISM: 'plain', SASL_USERNAME: 'u\n', SASL_PASSWORD: ' p w \r\n' });
    expect(options.sasl).toEqual({ mechanism: 'plain', username: 'u', password: ' p w ' });
  });

  it('names every bad setting at once, and no values', () => {
    const complaint = complaintOf({
      BROKERS: '[::1]:9092',
      PARTITIONS: 'many-secret',
      SASL_MECHANISM: 'kerberos-secret',
      TLS_CA: join(folder, 'secret-missing.pem'),
      TOPIC_PREFIX: 'a b secret',
    });
    for (const name of ['BROKERS', 'PARTITIONS', 'SASL_MECHANISM', 'TLS_CA', 'TOPIC_PREFIX'])
      expect(complaint).toContain(`BATCH_INFER_KAFKA_${name}: `);
    expect(complaint).not.toContain('secret');
  });

  it('refuses halves of pairs', () => {
    expect(complaintOf({ SASL_MECHANISM: 'plain' })).toMatch(/SASL_USERNAME[\s\S]*SASL_PASSWORD/);
    expect(complaintOf({ SASL_PASSWORD: 'x' })).toContain('SASL_MECHANISM: is needed with SASL_PASSWORD');
    expect(complaintOf({ TLS_KEY: '-----BEGIN KEY' })).toContain('TLS_CERT and TLS_KEY go together');
    expect(complaintOf({ TLS: 'no', TLS_CA: '-----BEGIN C' })).toContain('certificates are given');
  });
});
