import { setTimeout as delay } from 'node:timers/promises';
import { usageError } from '../cli-error.js';
import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { PID_FILE_OPTION, tellPid, writePidFile } from '../local/pid-file.js';
import { readyLine } from '../local/ready-line.js';
import { namedAsGiven, toVariables } from '../settings/pass-on.js';
import { SERVE_OPTIONS } from '../settings/server-options.js';

/** When the parent is gone, runners beside us are given this time to hand their work back. */
const ORPHAN_GRACE_MS = 1_000;

export const command: CommandDefinition = {
  name: 'serve',
  description: 'Start the control plane: takes jobs, hands work to runners, keeps results.',
  options: [...SERVE_OPTIONS, PID_FILE_OPTION],
  examples: [
    'batch-infer serve --data .batch-infer --port 8080',
    'batch-infer serve --database-url postgres://… --blobs s3://bucket/prefix --kafka-brokers broker:9092 --api-keys-file keys.json',
  ],
  run,
};

async function run({ settings, io, interrupts }: CommandContext): Promise<number> {
  const { ConfigError, parseControlPlaneConfig, startControlPlane } = await import(
    '@batch-infer/control-plane'
  );
  const variables = { ...io.environment, ...toVariables(settings, SERVE_OPTIONS) };
  const read = () => {
    try {
      return parseControlPlaneConfig(variables);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      throw usageError(namedAsGiven(error.message, settings, SERVE_OPTIONS));
    }
  };
  const config = read();
  await using _pidFile = await writePidFile(settings, io);
  const server = await startControlPlane(config);
  tellPid(io);
  io.writeError(readyLine('serve', server.url));
  const { signal } = await interrupts.wait();
  if (signal === 'disconnect') await delay(ORPHAN_GRACE_MS);
  await server.close();
  return EXIT.ok;
}
