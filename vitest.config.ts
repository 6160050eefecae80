import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const packagesFolder = fileURLToPath(new URL('./packages/', import.meta.url));

/**
 * Tests run on the sources, without a build: `@batch-infer/X` is packages/X/src/index.ts, and
 * `@batch-infer/X/sub` is packages/X/src/sub.ts or packages/X/src/sub/index.ts.
 */
const workspaceSources = {
  name: 'workspace-sources',
  enforce: 'pre' as const,
  resolveId(specifier: string) {
    const match = /^@batch-infer\/([^/]+)(?:\/(.+))?$/.exec(specifier);
    if (match === null) return null;
    const [, name, subpath = 'index'] = match;
    const base = `${packagesFolder}${name}/src/${subpath}`;
    return [`${base}.ts`, `${base}/index.ts`].find((candidate) => existsSync(candidate)) ?? null;
  },
};

/** Projects inherit plugins, transform and limits from the root (`extends: true`). */
const sources = ['packages/*/src/**', 'examples/**', 'benchmarks/**', 'scripts/**', 'deploy/**'];

export default defineConfig({
  plugins: [workspaceSources],
  oxc: { decorator: { legacy: true } },
  test: {
    maxWorkers: 2,
    testTimeout: 15_000,
    hookTimeout: 60_000,
    // On a busy machine a second is little: who waits for something waits for it as for all else.
    expect: { poll: { timeout: 10_000 } },
    passWithNoTests: true,
    restoreMocks: true,
    unstubEnvs: true,
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: sources.map((folder) => `${folder}/*.test.ts`),
          exclude: [
            '**/node_modules/**',
            '**/dist/**',
            '**/*.integration.test.ts',
            '**/*.compat.test.ts',
            'scripts/boundaries/**',
          ],
          setupFiles: ['reflect-metadata'],
        },
      },
      {
        extends: true,
        test: {
          name: 'integration',
          include: sources.map((folder) => `${folder}/*.integration.test.ts`),
          exclude: ['**/node_modules/**', '**/dist/**'],
          setupFiles: ['reflect-metadata'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: { name: 'compat', include: ['scripts/compat/*.compat.test.ts'], testTimeout: 300_000 },
      },
      {
        extends: true,
        test: { name: 'boundaries', include: ['scripts/boundaries/*.test.ts'] },
      },
    ],
  },
});
