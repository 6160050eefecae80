import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The folder of the checkout. */
export const rootFolder = join(import.meta.dirname, '..', '..');

/** The fields of a package.json that the boundary tests look at. */
export interface Manifest {
  name: string;
  version: string;
  private?: boolean;
  license?: string;
  type?: string;
  files?: string[];
  publishConfig?: { access?: string };
  engines?: { node?: string };
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

/** One import in a source file: what it names, and whether it is there when the module is loaded. */
export interface SourceImport {
  specifier: string;
  /** `static` loads with the module, `dynamic` when it is asked for, `type` never. */
  kind: 'static' | 'dynamic' | 'type';
}

export function readText(path: string): string {
  return readFileSync(join(rootFolder, path), 'utf8');
}

export function readManifest(folder: string): Manifest {
  return JSON.parse(readText(`${folder}/package.json`));
}

/** Every file that git tracks or would track, relative to the root, that still exists. */
export function listFiles(): string[] {
  const parameters = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  return execFileSync('git', parameters, { cwd: rootFolder, encoding: 'utf8' })
    .split('\0')
    .filter((path) => path !== '' && existsSync(join(rootFolder, path)));
}

const FROM_IMPORT = /^\s*(?:import|export)\s+(type\s)?[^'"();]*?\bfrom\s*'([^']+)'/gm;
const BARE_IMPORT = /^\s*import\s*'([^']+)'/gm;
const DYNAMIC_IMPORT = /\bimport\(\s*'([^']+)'/g;
const TYPE_OF_IMPORT = /(?:\btypeof\s+|[:<|&,]\s*)import\('([^']+)'\)/g;

/** Reads the imports of a TypeScript or JavaScript source as the formatter leaves them (single quotes). */
export function parseImports(source: string): SourceImport[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, '');
  const inTypes = new Set([...code.matchAll(TYPE_OF_IMPORT)].map((match) => match[1]));
  const found: SourceImport[] = [];
  for (const [, type, specifier = ''] of code.matchAll(FROM_IMPORT)) {
    found.push({ specifier, kind: type === undefined ? 'static' : 'type' });
  }
  for (const [, specifier = ''] of code.matchAll(BARE_IMPORT)) found.push({ specifier, kind: 'static' });
  for (const [, specifier = ''] of code.matchAll(DYNAMIC_IMPORT)) {
    found.push({ specifier, kind: inTypes.has(specifier) ? 'type' : 'dynamic' });
  }
  return found;
}

/** `@scope/name/sub` → `@scope/name`, `name/sub` → `name`; null for relative paths and Node's own modules. */
export function packageOf(specifier: string): string | null {
  if (specifier.startsWith('.') || specifier.startsWith('/') || specifier.startsWith('node:')) return null;
  return (
    specifier
      .split('/')
      .slice(0, specifier.startsWith('@') ? 2 : 1)
      .join('/') || null
  );
}
