import { defineConfig } from 'tsup';

export default defineConfig({
  entry: ['src/main.ts'],
  format: 'esm',
  platform: 'node',
  target: 'node22',
  // Commands are imported lazily: each keeps its own chunk, so `--help` loads none of them.
  splitting: true,
  // The words are small and used everywhere: with them inside, `--help` opens fewer files.
  noExternal: ['@batch-infer/contracts'],
  sourcemap: true,
  // tsc wrote the declarations and its build state into the same folder just before: keep them.
  clean: ['!**/*.d.ts', '!**/*.d.ts.map', '!.tsbuildinfo'],
});
