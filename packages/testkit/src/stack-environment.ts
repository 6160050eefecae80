import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Where the real servers of integration tests are: the environment first, then `.stack/env`, which
 * `npm run stack:up` writes at the root of the repository.
 */
export function stackEnvironment(): Readonly<Record<string, string | undefined>> {
  return { ...readStackFile(), ...process.env };
}

/**
 * One variable of `stackEnvironment`. Without it the tests of `what` are skipped, which is said aloud; in CI their
 * absence is a failure.
 * @throws when `CI` is `true` and the variable is not set
 */
export function stackVariable(name: string, what: string): string | null {
  const environment = stackEnvironment();
  const value = environment[name];
  if (value) return value;
  if (environment.CI === 'true') {
    throw new Error(`${name} is not set: ${what} must be tested in CI. Run "npm run stack:up" first.`);
  }
  console.warn(`SKIPPED: ${what}: ${name} is not set. Run "npm run stack:up" to test it.`);
  return null;
}

function readStackFile(): Record<string, string> {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    try {
      return parse(readFileSync(join(folder, '.stack', 'env'), 'utf8'));
    } catch {
      if (folder === dirname(folder)) return {};
    }
  }
}

/** `NAME=value` a line, perhaps after `export` and in quotes. */
function parse(text: string): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const [, name, value] = /^(?:export )?([A-Z][A-Z0-9_]*)=(.*)$/.exec(line) ?? [];
    if (name !== undefined && value !== undefined) variables[name] = value.replace(/^(['"])(.*)\1$/, '$2');
  }
  return variables;
}
