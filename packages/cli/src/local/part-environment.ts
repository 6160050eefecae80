import { ENGINE_OPTIONS, environmentName, type OptionSpec } from '../settings/options.js';
import { RUNNER_ONLY_OPTIONS, SERVE_OPTIONS } from '../settings/server-options.js';

type Environment = Readonly<Record<string, string | undefined>>;

const names = (specs: readonly OptionSpec[]): ReadonlySet<string> =>
  new Set(specs.map(({ flag }) => environmentName(flag)));
const OF_SERVE = names(SERVE_OPTIONS);
const OF_RUNNER = names([...ENGINE_OPTIONS, ...RUNNER_ONLY_OPTIONS]);
const OF_BOTH: ReadonlySet<string> = new Set([environmentName('debug')]);
/** Of database and bucket: nobody beside the engines needs them. */
const STORES = /^(?:AWS_|PG)/i;

/**
 * What one part of a local stack inherits. The control plane needs no keys of engines, and the runner no credentials of
 * database and bucket, unless its engine is to have them (`--launch-env`).
 */
export function environmentOfPart(part: 'serve' | 'runner', environment: Environment): Environment {
  const engines = new Set(
    (environment[environmentName('launch-env')] ?? '').split(',').map((name) => name.trim()),
  );
  const isOwn = (name: string): boolean => {
    if (OF_BOTH.has(name)) return true;
    if (part === 'serve') return OF_SERVE.has(name) || !OF_RUNNER.has(name);
    if (engines.has(name)) return true;
    if (name.startsWith('BATCH_INFER_')) return OF_RUNNER.has(name) || name.startsWith('BATCH_INFER_KAFKA_');
    return !STORES.test(name);
  };
  return Object.fromEntries(Object.entries(environment).filter(([name]) => isOwn(name)));
}
