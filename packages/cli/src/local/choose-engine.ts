import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CliError, usageError } from '../cli-error.js';
import { EXIT } from '../exit-codes.js';
import type { Settings } from '../settings/settings.js';
import { type FoundEngine, findLocalEngines, USUAL_ENGINES } from './engines.js';

/** What the runner of a local stack is told of its engines, as variables. */
export interface EngineChoice {
  readonly variables: Readonly<Record<string, string>>;
}

/**
 * The engines to use: the given ones, the demo model, or what listens on the usual ports of this machine.
 *
 * @throws CliError (unavailable) when there is none, with what could be done.
 */
export async function chooseEngine(
  settings: Settings,
  context: { entry: string; say: (text: string) => void },
  find: () => Promise<FoundEngine[]> = findLocalEngines,
): Promise<EngineChoice> {
  if (['engine-url', 'launch', 'preset'].some((flag) => settings.isSet(flag))) return { variables: {} };
  if (settings.switch('demo-model')) return await chooseDemoEngine(context);
  const engines = await find();
  if (engines.length === 0) throw noEngine();
  for (const { url, models } of engines) context.say(`found an engine at ${url} with ${models.join(', ')}`);
  return { variables: { BATCH_INFER_ENGINE_URL: engines.map(({ url }) => url).join(',') } };
}

function noEngine(): CliError {
  const looked = USUAL_ENGINES.map(({ name, port }) => `${port} (${name})`).join(', ');
  return new CliError(
    EXIT.unavailable,
    `No engine was found on this machine: nothing that serves models answers on ports ${looked}`,
    [
      'one of',
      '  --engine-url http://HOST:PORT           an OpenAI-compatible server that runs already',
      '  --launch "vllm serve MODEL --port 8000" start one',
      '  batch-infer up --demo-model             a small model on the CPU (127 MB), from a checkout of batch-infer',
    ].join('\n'),
  );
}

interface DemoEngineModule {
  ensureEngine(options: {
    onProgress: (message: string) => void;
  }): Promise<{ launchCommand: string; modelName: string }>;
}

/** The demo engine of the repository; published packages do not carry it. */
async function chooseDemoEngine({
  entry,
  say,
}: {
  entry: string;
  say: (text: string) => void;
}): Promise<EngineChoice> {
  const script = resolve(entry, '../../../../examples/engine/ensure-engine.mjs');
  if (!existsSync(script)) {
    throw usageError(
      '--demo-model works in a checkout of the batch-infer repository, where its engine is pinned',
      'clone the repository and run `npm run demo`, or use --engine-url or --launch',
    );
  }
  const module: DemoEngineModule = await import(pathToFileURL(script).href);
  const { launchCommand, modelName } = await module
    .ensureEngine({ onProgress: say })
    .catch((error: unknown) => {
      throw new CliError(EXIT.unavailable, error instanceof Error ? error.message : String(error));
    });
  return { variables: { BATCH_INFER_LAUNCH: launchCommand, BATCH_INFER_MODEL: modelName } };
}
