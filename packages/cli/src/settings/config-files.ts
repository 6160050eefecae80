import { readFileSync, realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { usageError } from '../cli-error.js';
import type { Layer } from './settings.js';
import { contentHash, readTrustedFiles } from './trusted-files.js';

const PROJECT_FILE = '.batchinferrc.json';

interface Place {
  readonly workingDirectory: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** The user's own folder. A relative path would be one of the working directory, which is somebody else's perhaps. */
function profileFolder({ environment }: Place): string {
  const given = environment.XDG_CONFIG_HOME ?? '';
  return join(isAbsolute(given) ? given : join(homedir(), '.config'), 'batch-infer');
}

/** Where the list of trusted project files is kept. */
export const trustListPath = (place: Place): string => join(profileFolder(place), 'trusted.json');

export const projectFilePath = ({ workingDirectory }: Place): string => join(workingDirectory, PROJECT_FILE);

/**
 * The project's file in the working directory, then the user's profile. Missing ones are left out. The project's file
 * is untrusted until `batch-infer trust` has noted this path with this content.
 */
export function readConfigFiles(place: Place): Layer[] {
  const project = readProjectFile(place);
  const profile = readLayer(join(profileFolder(place), 'config.json'));
  return [
    ...(project === null ? [] : [{ ...project.layer, untrusted: !project.trusted }]),
    ...(profile === null ? [] : [profile.layer]),
  ];
}

export interface ProjectFile {
  readonly layer: Layer;
  /** Without links, as the list of trusted files names it. */
  readonly realPath: string;
  /** SHA-256 in hex. */
  readonly hash: string;
  readonly trusted: boolean;
}

/** `null` without one. @throws CliError (usage) when it is there but is not a JSON object. */
export function readProjectFile(place: Place): ProjectFile | null {
  const path = projectFilePath(place);
  const found = readLayer(path);
  if (found === null) return null;
  const realPath = realpathSync(path);
  const hash = contentHash(found.text);
  const trusted = new Map(Object.entries(readTrustedFiles(trustListPath(place)))).get(realPath) === hash;
  return { layer: found.layer, realPath, hash, trusted };
}

/** @throws CliError (usage) when the file is there but is not a JSON object. */
function readLayer(path: string): { layer: Layer; text: string } | null {
  const text = readIfThere(path);
  if (text === null) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw usageError(`${path} is not valid JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw usageError(`${path} must hold a JSON object such as {"model": "NAME"}`);
  }
  return { layer: { name: path, values: byFlag(value) }, text };
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
