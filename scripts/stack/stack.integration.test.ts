import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type PartName, type RunningStack, startStack } from './index.mjs';

const run = promisify(execFile);

/** A first start on a machine downloads Kafka and compiles the S3 server. */
const FIRST_START_MS = 600_000;
const PARTS: readonly PartName[] = ['kafka', 'postgres', 's3'];

describe('a stack for one test run', () => {
  let stack: RunningStack;
  beforeAll(async () => {
    stack = await startStack();
  }, FIRST_START_MS);
  afterAll(() => stack?.stop());

  it('hands out the variables that serve and runner need', () => {
    expect(Object.keys(stack.env).sort()).toEqual([
      'AWS_ACCESS_KEY_ID',
      'AWS_REGION',
      'AWS_SECRET_ACCESS_KEY',
      'BATCH_INFER_BLOBS',
      'BATCH_INFER_DATABASE_URL',
      'BATCH_INFER_KAFKA_BROKERS',
      'BATCH_INFER_S3_ENDPOINT',
    ]);
    expect(readEnvironmentFile(stack.dir)).toEqual(stack.env);
    expect(readPids(stack.dir)).toEqual(stack.pids);
  });

  it('refuses a signed request with another secret, and a database user without the password', async () => {
    const forged = { ...stack.env, AWS_SECRET_ACCESS_KEY: 'not-the-secret' };
    expect((await s3(forged, 'GET', '/batch-infer')).status).toBe(403);
    const url = new URL(stack.env.BATCH_INFER_DATABASE_URL ?? '');
    url.password = 'wrong';
    await expect(run('psql', [url.href, '-c', 'select 1'])).rejects.toThrow(/password authentication failed/);
  });

  it('brings every killed part back on its port with its data', async () => {
    await sql(stack.env, 'create table kept (n int); insert into kept select generate_series(1, 1000)');
    expect((await s3(stack.env, 'PUT', '/batch-infer/dev/kept', 'some bytes')).status).toBe(200);
    await createTopic(brokerPort(stack.env), 'kept');
    const before = stack.pids;

    await Promise.all(PARTS.map((name) => stack.killPart(name)));
    for (const name of PARTS) await stack.restartPart(name);

    for (const name of PARTS) expect(stack.pids[name]).not.toBe(before[name]);
    expect(readEnvironmentFile(stack.dir)).toEqual(stack.env);
    expect(await sql(stack.env, 'select count(*) from kept')).toBe('1000');
    expect((await s3(stack.env, 'GET', '/batch-infer/dev/kept')).body).toBe('some bytes');
    expect(await listTopics(brokerPort(stack.env))).toContain('kept');
  });
});

describe('stack:up and stack:down', () => {
  const dir = mkdtempSync(join(tmpdir(), 'batch-infer-stack-command-'));
  const command = (name: 'up' | 'down', words: readonly string[], environment: NodeJS.ProcessEnv = {}) =>
    runScript(name, ['--dir', dir, ...words], environment);
  afterAll(async () => {
    await command('down', ['--wipe']);
    rmSync(dir, { recursive: true, force: true });
  }, 60_000);

  it('starts each server once when two commands run at the same time', {
    timeout: FIRST_START_MS,
  }, async () => {
    const [first, second] = await Promise.all([
      command('up', ['--only', 'postgres,s3']),
      command('up', ['--only', 'postgres,s3']),
    ]);
    const outcomes = `${first.stderr}${second.stderr}`;
    expect([first.code, second.code]).toEqual([0, 0]);
    expect(outcomes.match(/postgres +started/g)).toHaveLength(1);
    expect(outcomes.match(/postgres +running/g)).toHaveLength(1);
    expect(Object.keys(readPids(dir))).toEqual(['postgres', 's3']);
  });

  it('starts only what is down', async () => {
    const before = { pids: readPids(dir), environment: readEnvironmentFile(dir) };
    process.kill(before.pids.postgres ?? 0, 'SIGKILL');
    const { code, stderr } = await command('up', ['--only', 'postgres,s3']);
    expect(code).toBe(0);
    expect(stderr).toMatch(/postgres +started/);
    expect(stderr).toMatch(/s3 +running/);
    expect(readPids(dir).s3).toBe(before.pids.s3);
    expect(readEnvironmentFile(dir)).toEqual(before.environment);
  });

  it('finds a server again whose pid nobody wrote down', async () => {
    const before = readPids(dir);
    const stateFile = join(dir, 'state.json');
    const state = JSON.parse(readFileSync(stateFile, 'utf8'));
    state.parts.s3.pid = null;
    writeFileSync(stateFile, JSON.stringify(state));
    expect((await command('up', ['--only', 's3'])).stderr).toMatch(/s3 +running/);
    expect(readPids(dir)).toEqual(before);
  });

  it('starts PostgreSQL although the pid that the killed one left behind looks alive', async () => {
    const pidFile = join(dir, 'postgres/data/postmaster.pid');
    const owner = statSync(join(dir, 'postgres'));
    // A parent that never collects its child: the child stays as a zombie.
    const parent = spawn('sh', ['-c', 'true & echo $!; exec sleep 60'], { uid: owner.uid, gid: owner.gid });
    try {
      const [zombie] = await once(parent.stdout, 'data');
      process.kill(readPids(dir).postgres ?? 0, 'SIGKILL');
      writeFileSync(pidFile, readFileSync(pidFile, 'utf8').replace(/^\d+/, String(zombie).trim()));
      const { code, stderr } = await command('up', ['--only', 'postgres']);
      expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringMatching(/postgres +started/) });
    } finally {
      parent.kill('SIGKILL');
    }
  });

  it('takes another port when the old one went to somebody else', async () => {
    const port = Number(new URL(readEnvironmentFile(dir).BATCH_INFER_S3_ENDPOINT ?? '').port);
    await command('down', ['--only', 's3']);
    const squatter = createServer().listen(port, '127.0.0.1');
    try {
      const { code, stderr } = await command('up', ['--only', 's3']);
      expect(code).toBe(0);
      expect(stderr).toContain('went to another process');
      expect(readEnvironmentFile(dir).BATCH_INFER_S3_ENDPOINT).not.toContain(`:${port}`);
    } finally {
      squatter.close();
    }
  });

  it('uses the server that a variable points to, and leaves the parts up when that one is missing', async () => {
    const own = readEnvironmentFile(dir);
    const other = mkdtempSync(join(tmpdir(), 'batch-infer-stack-command-'));
    try {
      const result = await runScript('up', ['--dir', other], {
        DATABASE_URL: own.BATCH_INFER_DATABASE_URL,
        S3_ENDPOINT: own.BATCH_INFER_S3_ENDPOINT,
        AWS_ACCESS_KEY_ID: own.AWS_ACCESS_KEY_ID,
        AWS_SECRET_ACCESS_KEY: own.AWS_SECRET_ACCESS_KEY,
        KAFKA_BROKERS: '127.0.0.1:1',
      });
      expect(result.code).toBe(1);
      expect(result.stderr).toContain('kafka: no broker answers at KAFKA_BROKERS=127.0.0.1:1');
      expect(readPids(other)).toEqual({});
      expect(readEnvironmentFile(other).BATCH_INFER_DATABASE_URL).toBe(own.BATCH_INFER_DATABASE_URL);
      expect(readEnvironmentFile(other).BATCH_INFER_S3_ENDPOINT).toBe(own.BATCH_INFER_S3_ENDPOINT);
    } finally {
      rmSync(other, { recursive: true, force: true });
    }
  });

  it('says in one line what is missing and how to get it', async () => {
    const folder = join(dir, 'empty');
    const { code, stderr } = await command('up', ['--only', 'kafka'], { JAVA_HOME: folder });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^kafka: Java \(.*\) is missing: install a JDK >= 17 .* or set KAFKA_BROKERS$/m);
  });

  it('ends what runs, keeps the data, and can be repeated', async () => {
    const environment = readEnvironmentFile(dir);
    expect((await command('down', [])).stderr).toContain('stopped postgres, s3');
    await expect(sql(environment, 'select 1')).rejects.toThrow(/Connection refused/);
    await expect(s3(environment, 'GET', '/')).rejects.toThrow();
    expect((await command('down', [])).stderr).toContain('nothing was running');
    expect(readPids(dir)).toEqual({});
    expect(existsSync(join(dir, 'env'))).toBe(false);
    expect(existsSync(join(dir, 's3/objects/batch-infer'))).toBe(true);
    await command('down', ['--wipe']);
    expect(existsSync(join(dir, 's3'))).toBe(false);
    expect(existsSync(join(dir, 'postgres'))).toBe(false);
  });

  it('answers a wrong flag with exit code 2', async () => {
    const { code, stderr } = await command('up', ['--only', 'redis']);
    expect(code).toBe(2);
    expect(stderr).toContain('--only takes kafka, postgres, s3; not "redis"');
  });
});

async function runScript(name: 'up' | 'down', words: readonly string[], environment: NodeJS.ProcessEnv) {
  const script = fileURLToPath(new URL(`./${name}.mjs`, import.meta.url));
  const inherited = { ...process.env };
  for (const pointer of ['KAFKA_BROKERS', 'DATABASE_URL', 'S3_ENDPOINT']) delete inherited[pointer];
  try {
    const { stderr } = await run(process.execPath, [script, ...words], {
      env: { ...inherited, ...environment },
    });
    return { code: 0, stderr };
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && 'stderr' in error)) throw error;
    return { code: Number(error.code), stderr: String(error.stderr) };
  }
}

function readEnvironmentFile(dir: string): Record<string, string> {
  const lines = readFileSync(join(dir, 'env'), 'utf8').trim().split('\n');
  return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s, 2) as [string, string]));
}

function readPids(dir: string): Partial<Record<PartName, number>> {
  return JSON.parse(readFileSync(join(dir, 'pids.json'), 'utf8'));
}

async function sql(env: Readonly<Record<string, string>>, statement: string) {
  const { stdout } = await run('psql', [env.BATCH_INFER_DATABASE_URL ?? '', '-qAtc', statement]);
  return stdout.trim();
}

async function s3(env: Readonly<Record<string, string>>, method: string, path: string, body?: string) {
  const { stdout } = await run('curl', [
    ...['--silent', '--aws-sigv4', 'aws:amz:us-east-1:s3', '--request', method],
    ...['--user', `${env.AWS_ACCESS_KEY_ID}:${env.AWS_SECRET_ACCESS_KEY}`],
    ...['--header', 'x-amz-content-sha256: UNSIGNED-PAYLOAD', '--write-out', '\n%{http_code}'],
    ...(body === undefined ? [] : ['--data-binary', body, '--header', 'content-type: text/plain']),
    `${env.BATCH_INFER_S3_ENDPOINT}${path}`,
  ]);
  const lastLine = stdout.lastIndexOf('\n');
  return { status: Number(stdout.slice(lastLine + 1)), body: stdout.slice(0, lastLine) };
}

function brokerPort(env: Readonly<Record<string, string>>) {
  return Number(env.BATCH_INFER_KAFKA_BROKERS?.split(':')[1]);
}

/** CreateTopics, version 2: one topic, one partition, one replica. */
async function createTopic(port: number, topic: string) {
  const answer = await askBroker(
    port,
    { key: 19, version: 2 },
    Buffer.concat([
      int32(1),
      text(topic),
      int32(1),
      int16(1),
      int32(0),
      int32(0),
      int32(5_000),
      Buffer.from([0]),
    ]),
  );
  const errorCodeOffset = 4 + 4 + 4 + 2 + Buffer.byteLength(topic);
  expect(answer.readInt16BE(errorCodeOffset)).toBe(0);
}

/** Metadata, version 1, of all topics: the names stand in it as they are. */
async function listTopics(port: number) {
  return (await askBroker(port, { key: 3, version: 1 }, int32(-1))).toString('latin1');
}

function askBroker(port: number, api: { key: number; version: number }, body: Buffer): Promise<Buffer> {
  const message = Buffer.concat([int16(api.key), int16(api.version), int32(1), text('test'), body]);
  return new Promise((resolve, reject) => {
    let answer: Buffer = Buffer.alloc(0);
    const socket = connect(port, '127.0.0.1', () =>
      socket.write(Buffer.concat([int32(message.length), message])),
    );
    socket.on('error', reject);
    socket.on('data', (chunk: Buffer) => {
      answer = Buffer.concat([answer, chunk]);
      if (answer.length < 4 || answer.length < 4 + answer.readInt32BE(0)) return;
      socket.destroy();
      resolve(answer.subarray(4));
    });
  });
}

function int16(value: number) {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number) {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function text(value: string) {
  return Buffer.concat([int16(Buffer.byteLength(value)), Buffer.from(value)]);
}
