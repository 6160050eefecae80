import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { usageError } from '../cli-error.js';
import type { Layer } from './settings.js';

const PROJECT_FILE = '.batchinferrc.json';

/** The project's file in the working directory, then the user's profile. Missing ones are left out. */
export function readConfigFiles(context: {
  workingDirectory: string;
  environment: Readonly<Record<string, string | undefined>>;
}): Layer[] {
  const folder = context.environment.XDG_CONFIG_HOME || join(homedir(), '.config');
  return [join(context.workingDirectory, PROJECT_FILE), join(folder, 'batch-infer', 'config.json')].flatMap(
    (path) => readLayer(path) ?? [],
  );
}

/** @throws CliError (usage) when the file is there but is not a JSON object. */
function readLayer(path: string): Layer | null {
  const text = readIfThere(path);
  if (text === null) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw usageError(`${path} is not valid JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw usageError(`${path} must hold a JSON object such as {"baseUrl": "http://127.0.0.1:8080"}`);
  }
  return { name: path, values: byFlag(value) };
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

/** `engineUrl` and `engine-url` both name `--engine-url`. */
function byFlag(values: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => [
      key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
      value,
    ]),
  );
}
