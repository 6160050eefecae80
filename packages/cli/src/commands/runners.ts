import type { Runner } from '@batch-infer/sdk';
import type { CommandContext, CommandDefinition } from '../command.js';
import { EXIT } from '../exit-codes.js';
import { connect } from '../jobs/connect.js';
import { CLIENT_OPTIONS } from '../settings/options.js';
import { formatCount, formatRate, formatSeconds, formatTable } from '../terminal/format.js';
import { jsonLine } from '../terminal/json-line.js';
import { toWireJson } from '../terminal/wire-json.js';

export const command: CommandDefinition = {
  name: 'runners',
  description: 'List live runners: models, window, requests in flight, rate, last seen.',
  options: [{ flag: 'json', description: 'one runner a line, as the API gives it' }, ...CLIENT_OPTIONS],
  run,
};

async function run({ settings, io, interrupts }: CommandContext): Promise<number> {
  const client = await connect(settings);
  const runners = await client.runners.list({ signal: interrupts.signal });
  if (settings.switch('json')) {
    for (const runner of runners) await io.writeOut(jsonLine(toWireJson(runner)));
    return EXIT.ok;
  }
  if (runners.length === 0) {
    io.writeError('No runner is connected\nnext: batch-infer runner --engine-url http://HOST:PORT\n');
    return EXIT.ok;
  }
  const rows = runners.map((runner) => [
    runner.id,
    runner.models.join(','),
    formatCount(runner.engines.reduce((sum, engine) => sum + engine.window, 0)),
    formatCount(runner.inFlight),
    `${formatRate(runner.itemsPerSecond)} items/s`,
    `${formatSeconds((Date.now() - runner.lastSeenAt.getTime()) / 1000)} ago`,
    runner.engines.flatMap((engine) => problemOf(engine) ?? []).join('; '),
  ]);
  await io.writeOut(
    formatTable([['RUNNER', 'MODELS', 'WINDOW', 'IN FLIGHT', 'RATE', 'SEEN', 'PROBLEM'], ...rows]),
  );
  return EXIT.ok;
}

function problemOf({ problem, problemMs }: Runner['engines'][number]): string | null {
  if (problem === null || problemMs === null) return problem;
  return `${problem} (for ${formatSeconds(problemMs / 1000)})`;
}
