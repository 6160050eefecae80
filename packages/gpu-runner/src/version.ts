import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const manifest: unknown = require('../package.json');

/** This package's version. */
export const RUNNER_VERSION: string =
  typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : '0.0.0';
