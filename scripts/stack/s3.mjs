// An S3 server on a folder: versitygw.
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { requestS3 } from './aws-request.mjs';
import { lastLines, MissingPartError, waitUntilServing } from './part.mjs';
import { endProcess, run, startDetached } from './processes.mjs';

const VERSION = 'v1.8.0';
const MODULE = 'github.com/versity/versitygw/cmd/versitygw';
const REGION = 'us-east-1';
const BUCKET = 'batch-infer';
const DEFAULT_BLOBS = `s3://${BUCKET}/dev`;
const HOW_TO = `install Go and run "go install ${MODULE}@${VERSION}", or set S3_ENDPOINT or VERSITYGW`;

/** @type {import('./part.mjs').Part<{ program: string }>} */
export const s3 = {
  name: 's3',
  portNames: ['client'],
  createSecrets: () => ({
    accessKeyId: `BATCHINFER${randomBytes(5).toString('hex').toUpperCase()}`,
    secretAccessKey: randomBytes(20).toString('hex'),
  }),

  async locate(context) {
    const { environment, cacheDir } = context;
    if (environment.VERSITYGW) {
      if (existsSync(environment.VERSITYGW)) return { program: environment.VERSITYGW };
      throw new MissingPartError(`s3: VERSITYGW=${environment.VERSITYGW} does not exist`);
    }
    const cached = join(cacheDir, `versitygw-${VERSION}`, 'versitygw');
    const { stdout: goPath } = await run('go', ['env', 'GOPATH']);
    const folders = (environment.PATH ?? '').split(delimiter);
    if (goPath.trim() !== '')
      folders.push(
        ...goPath
          .trim()
          .split(delimiter)
          .map((path) => join(path, 'bin')),
      );
    const candidates = [cached, ...folders.filter(Boolean).map((folder) => join(folder, 'versitygw'))];
    const program = candidates.find((candidate) => existsSync(candidate)) ?? (await install(context, cached));
    return { program };
  },

  async start({ program }, { context, ports: { client = 0 }, secrets, onSpawn }) {
    const objectDir = join(context.dataDir, 'objects');
    const metadataDir = join(context.dataDir, 'metadata');
    for (const folder of [objectDir, metadataDir]) mkdirSync(folder, { recursive: true });
    const server = await startDetached({
      command: program,
      argumentList: [
        ...['--port', `127.0.0.1:${client}`, '--region', REGION, '--quiet'],
        ...['posix', '--sidecar', metadataDir, objectDir],
      ],
      directory: context.dataDir,
      logFile: context.logFile,
      // Secrets by environment: a command line can be read by everyone.
      environment: {
        ...process.env,
        ROOT_ACCESS_KEY: secrets.accessKeyId,
        ROOT_SECRET_KEY: secrets.secretAccessKey,
      },
    });
    onSpawn(server.pid);
    await waitUntilServing({
      name: 's3',
      server,
      answers: () => s3.answers({ client }, secrets),
      portTakenPattern: /address already in use/i,
      explain: (log) => lastLines(log, /error|fail|fatal/i),
    });
    await createBucket(`http://127.0.0.1:${client}`, BUCKET, toCredentials(secrets));
    return server.pid;
  },

  isOurs: (context, commandLine) => commandLine.endsWith(` ${join(context.dataDir, 'objects')}`),

  answers: async ({ client }, secrets) => {
    const endpoint = `http://127.0.0.1:${client}`;
    return (
      (await requestS3({ endpoint, method: 'GET', path: '/', credentials: toCredentials(secrets) })) === 200
    );
  },

  stop: (_context, pid) =>
    endProcess(pid, [
      { signal: 'SIGTERM', graceMs: 5_000 },
      { signal: 'SIGKILL', graceMs: 5_000 },
    ]),

  wipe: (context) => rmSync(context.dataDir, { recursive: true, force: true }),

  variables: ({ client }, { accessKeyId = '', secretAccessKey = '' }) => ({
    BATCH_INFER_BLOBS: DEFAULT_BLOBS,
    BATCH_INFER_S3_ENDPOINT: `http://127.0.0.1:${client}`,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_REGION: REGION,
  }),

  async useExternal(environment) {
    const endpoint = environment.S3_ENDPOINT;
    if (!endpoint) return null;
    const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = environment;
    if (!accessKeyId || !secretAccessKey) {
      throw new MissingPartError(
        's3: S3_ENDPOINT is set without AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: set them, or unset it to use our own',
      );
    }
    const credentials = { accessKeyId, secretAccessKey, region: environment.AWS_REGION ?? REGION };
    const blobs = environment.BATCH_INFER_BLOBS ?? DEFAULT_BLOBS;
    await createBucket(endpoint, /^s3:\/\/([^/]+)/.exec(blobs)?.[1] ?? BUCKET, credentials);
    return {
      BATCH_INFER_BLOBS: blobs,
      BATCH_INFER_S3_ENDPOINT: endpoint,
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_REGION: credentials.region,
    };
  },
};

/** @param {Record<string, string>} secrets */
function toCredentials({ accessKeyId = '', secretAccessKey = '' }) {
  return { accessKeyId, secretAccessKey, region: REGION };
}

/**
 * @param {string} endpoint
 * @param {string} bucket
 * @param {import('./aws-request.mjs').S3Credentials} credentials
 */
async function createBucket(endpoint, bucket, credentials) {
  const path = `/${bucket}`;
  if ((await requestS3({ endpoint, method: 'HEAD', path, credentials })) === 200) return;
  const status = await requestS3({ endpoint, method: 'PUT', path, credentials });
  if (status === 200 || status === 409) return;
  const answer = status === null ? 'nothing answers' : `it answers ${status} to making bucket ${bucket}`;
  throw new MissingPartError(`s3: ${answer} at ${endpoint}: correct S3_ENDPOINT, or unset it to use our own`);
}

/**
 * @param {import('./part.mjs').PartContext} context
 * @param {string} target
 */
async function install({ cacheDir, report }, target) {
  const { missing } = await run('go', ['version']);
  if (missing) throw new MissingPartError(`s3: versitygw is missing, and Go to make it: ${HOW_TO}`);
  report(`s3        compiling versitygw ${VERSION} (1 to 3 minutes, once) …`);
  const draft = mkdtempSync(join(cacheDir, 'versitygw-draft-'));
  try {
    const { code, stderr } = await run('go', ['install', `${MODULE}@${VERSION}`], {
      env: { ...process.env, GOBIN: draft },
    });
    if (code !== 0) {
      const reason = lastLines(stderr, /go: (?!downloading)|error/);
      throw new MissingPartError(`s3: versitygw cannot be made (${reason}): ${HOW_TO}`);
    }
    mkdirSync(join(target, '..'), { recursive: true });
    renameSync(join(draft, 'versitygw'), target);
    return target;
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}
