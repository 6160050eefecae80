import type { Settings } from './settings.js';

/**
 * What a `.batchinferrc.json` may set before its user has trusted it: what a job is and what counts as success. A flag
 * that is not here says where keys and prompts go, what is run, or which files are read and written; whoever wrote the
 * folder would decide that for everybody who works in it. New flags are left out until somebody adds them.
 */
export const UNTRUSTED_FLAGS: ReadonlySet<string> = new Set([
  'cancel-on-interrupt',
  'completion-window',
  'endpoint',
  'format',
  'item-timeout',
  'json',
  'max-attempts',
  'max-error-rate',
  'max-failures',
  'metadata',
  'min-success-rate',
  'model',
  'plan-order',
  'priority',
  'quiet',
  'reuse',
  'reuse-max-age',
  'timeout',
]);

/** A value that was not taken, because its file is not trusted. */
export interface RefusedSetting {
  readonly flag: string;
  /** The file's path. */
  readonly source: string;
}

/**
 * The values that an untrusted file would have decided. `model` is one of them where a preset makes a command of it:
 * the engine would load, and perhaps run, what the folder names.
 */
export function refusedSettings(settings: Settings, untrustedFiles: readonly string[]): RefusedSetting[] {
  const model = settings.sourceOf('model');
  const launchesModel = settings.isSet('preset') && model !== undefined && untrustedFiles.includes(model);
  return [...settings.refused, ...(launchesModel ? [{ flag: 'model', source: model }] : [])];
}
