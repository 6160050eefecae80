import { startTcpFaultProxy } from '@batch-infer/testkit';
import { stackVariable } from '@batch-infer/testkit/stack-environment';
import { Client } from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import { Signals } from '../ports/signals.js';
import { silentLogger } from '../telemetry/logger.js';
import { SignalRelay } from './signal-relay.js';

const databaseUrl = stackVariable('BATCH_INFER_DATABASE_URL', 'signals between control planes');

const relays: SignalRelay[] = [];
afterEach(async () => {
  for (const relay of relays.splice(0)) await relay.close();
});

async function open(url = databaseUrl ?? ''): Promise<{ signals: Signals; heard: string[] }> {
  const signals = new Signals();
  const heard: string[] = [];
  signals.on('job-stopping', (jobId, reason) => heard.push(`${jobId} ${reason}`));
  signals.on('work-ready', () => heard.push('work-ready'));
  const relay = new SignalRelay({
    databaseUrl: url,
    signals,
    logger: silentLogger(),
    limits: { answerMs: 1_000, askIntervalMs: 100 },
  });
  relays.push(relay);
  await relay.start();
  return { signals, heard };
}

describe.runIf(databaseUrl !== null)('signals between the control planes of one database', () => {
  it('are heard by the others, once, and not sent back', async () => {
    const [one, two, three] = [await open(), await open(), await open()];
    one.signals.emit('job-stopping', 'job_1', 'cancelled');
    one.signals.emit('work-ready');
    one.signals.emit('work-ready');
    await expect.poll(() => two.heard).toEqual(['job_1 cancelled', 'work-ready']);
    await expect.poll(() => three.heard).toEqual(['job_1 cancelled', 'work-ready']);
    three.signals.emit('job-stopping', 'job_2', 'expired');
    await expect.poll(() => one.heard).toContain('job_2 expired');
    expect(one.heard).toEqual(['job_1 cancelled', 'work-ready', 'work-ready', 'job_2 expired']);
  });

  it('come again after the connection was lost', async () => {
    const [one, two] = [await open(), await open()];
    const client = new Client({ connectionString: databaseUrl ?? '' });
    await client.connect();
    await client.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'batch-infer signals'",
    );
    await client.end();
    await expect
      .poll(
        () => {
          one.signals.emit('job-stopping', 'job_1', 'cancelled');
          return two.heard;
        },
        { timeout: 15_000, interval: 200 },
      )
      .toContain('job_1 cancelled');
  });

  it('come again after the connection went silent without being closed', async () => {
    const url = new URL(databaseUrl ?? '');
    const proxy = await startTcpFaultProxy({
      targetHost: url.hostname,
      targetPort: Number(url.port || 5432),
    });
    url.hostname = '127.0.0.1';
    url.port = String(proxy.port);
    try {
      const [one, two] = [await open(), await open(url.href)];
      proxy.mute();
      await expect
        .poll(
          () => {
            one.signals.emit('job-stopping', 'job_1', 'cancelled');
            return two.heard;
          },
          { timeout: 15_000, interval: 200 },
        )
        .toContain('job_1 cancelled');
    } finally {
      await proxy.close();
    }
  });
});
