#!/usr/bin/env node
// Plain JavaScript on purpose: it must run, and explain itself, on a Node that is too old for the rest
// and in a checkout that has not been built yet.
import { existsSync } from 'node:fs';
import * as nodeModule from 'node:module';

const MINIMUM_NODE = [22, 19];

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const isTooOld = major < MINIMUM_NODE[0] || (major === MINIMUM_NODE[0] && minor < MINIMUM_NODE[1]);
const entry = new URL('../dist/main.js', import.meta.url);

if (isTooOld) {
  console.error(
    `batch-infer needs Node.js ${MINIMUM_NODE.join('.')} or newer; this is ${process.versions.node} (${process.execPath}).\n` +
      'In a checkout of batch-infer, `npx batch-infer` uses the Node.js that npm installed with it.',
  );
  process.exitCode = 1;
} else if (!existsSync(entry)) {
  console.error('batch-infer is not built yet. Run `npm run build` in the checkout, then try again.');
  process.exitCode = 1;
} else {
  nodeModule.enableCompileCache?.();
  await import(entry.href);
}
