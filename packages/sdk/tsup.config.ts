import { defineConfig } from 'tsup';

export default defineConfig({
  entry: ['src/index.ts', 'src/node.ts'],
  format: 'esm',
  platform: 'neutral',
  target: 'es2023',
  external: [/^node:/],
  // The contracts (and what they use of zod) are bundled, so that a browser loads one small file.
  noExternal: ['@batch-infer/contracts', 'zod'],
  splitting: true,
  sourcemap: true,
  // tsc wrote the declarations and its build state into the same folder just before: keep them.
  clean: ['!**/*.d.ts', '!**/*.d.ts.map', '!.tsbuildinfo'],
});
