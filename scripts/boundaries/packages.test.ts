import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageDirections, testkit } from './package-directions.ts';
import { listFiles, packageOf, parseImports, readManifest, readText, rootFolder } from './workspace.ts';

const files = listFiles();
/** Conformance suites are tests too: run by the tests of each implementation, and not shipped. */
const isTest = (path: string) =>
  /(?:\.test|-conformance|-fixture)\.ts$/.test(path) || /^packages\/[^/]+\/test\//.test(path);
/** Starts the real parts; scripts are no package. */
const stackScript = 'scripts/stack/index.mjs';
const isWorkspacePackage = (name: string | null): name is string =>
  name !== null && name in packageDirections;

describe('the table of package directions', () => {
  it('names every folder under packages/', () => {
    const folders = Object.values(packageDirections).map(({ folder }) => folder);
    const present = readdirSync(join(rootFolder, 'packages')).map((name) => `packages/${name}`);
    expect(folders.toSorted()).toEqual(present.toSorted());
  });

  it('has no cycle', () => {
    const visit = (name: string, path: string[]): void => {
      expect(path, `${[...path, name].join(' → ')}`).not.toContain(name);
      for (const next of packageDirections[name]?.mayImport ?? []) visit(next, [...path, name]);
    };
    for (const name of Object.keys(packageDirections)) visit(name, []);
  });
});

describe.each(Object.entries(packageDirections))('%s', (name, { folder, mayImport, onlyLazily = [] }) => {
  const manifest = readManifest(folder);
  const sources = files.filter((path) => path.startsWith(`${folder}/`) && /\.(ts|js|mjs)$/.test(path));
  const imports = sources.flatMap((path) =>
    parseImports(readText(path)).map((found) => ({ ...found, path, target: packageOf(found.specifier) })),
  );

  it('depends only on the packages its direction allows', () => {
    const dependencies = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies });
    expect(dependencies.filter(isWorkspacePackage).filter((other) => !mayImport.includes(other))).toEqual([]);
    const development = Object.keys(manifest.devDependencies ?? {});
    expect(development.filter(isWorkspacePackage).filter((other) => other !== testkit)).toEqual([]);
  });

  it('imports only the packages its direction allows', () => {
    const forbidden = imports.filter(
      ({ path, target }) =>
        isWorkspacePackage(target) &&
        target !== name &&
        !mayImport.includes(target) &&
        !(isTest(path) && target === testkit),
    );
    expect(forbidden).toEqual([]);
  });

  it('reaches other packages by name, never by a path into their folders', () => {
    const outside = imports.filter(({ path, specifier }) => {
      if (!specifier.startsWith('.')) return false;
      const target = join(path, '..', specifier);
      return !target.startsWith(`${folder}/`) && !(isTest(path) && target === stackScript);
    });
    expect(outside).toEqual([]);
  });

  it('loads what it must not load at start lazily', () => {
    const eager = imports.filter(
      ({ path, target, kind }) =>
        target !== null && onlyLazily.includes(target) && kind === 'static' && !isTest(path),
    );
    expect(eager).toEqual([]);
  });

  it('declares what its shipped sources import', () => {
    const declared = new Set([
      ...Object.keys({
        ...manifest.dependencies,
        ...manifest.peerDependencies,
        ...manifest.optionalDependencies,
      }),
      ...(name === testkit ? Object.keys(manifest.devDependencies ?? {}) : []),
      name,
    ]);
    const shipped = imports.filter(
      ({ path, kind }) => path.startsWith(`${folder}/src/`) && !isTest(path) && kind !== 'type',
    );
    expect(shipped.filter(({ target }) => target !== null && !declared.has(target))).toEqual([]);
  });

  it('references in its tsconfig.json exactly the workspace packages it depends on', () => {
    const { references = [] }: { references?: { path: string }[] } = JSON.parse(
      readText(`${folder}/tsconfig.json`),
    );
    const referenced = references.map(({ path }) => join(folder, path));
    const dependencies = Object.keys(manifest.dependencies ?? {}).filter(isWorkspacePackage);
    const expected = dependencies.map((other) => packageDirections[other]?.folder);
    expect(referenced.toSorted()).toEqual(expected.toSorted());
  });

  it('is either private or ready to be published', () => {
    expect(manifest).toMatchObject({ type: 'module', license: 'Apache-2.0', engines: { node: '>=22.19.0' } });
    if (manifest.private === true) return;
    expect(manifest.publishConfig?.access).toBe('public');
    expect(manifest.files).toContain('dist');
    expect(manifest.version).toBe(readManifest('packages/contracts').version);
  });
});
