#!/usr/bin/env node
import { parseStackArguments, runCommand, say } from './command.mjs';
import { acquireLock } from './lock.mjs';
import { Stack } from './stack.mjs';
import { createFolders, stackLayout } from './state.mjs';

const help = `npm run stack:down -- [--only kafka,postgres,s3] [--dir DIR] [--wipe]

Ends the servers that stack:up started. --wipe also deletes their data; downloaded jars and binaries stay.`;

await runCommand(async () => {
  const { names, dir, wipe, help: wantsHelp } = parseStackArguments(process.argv.slice(2));
  if (wantsHelp) {
    say(help);
    return true;
  }
  const layout = stackLayout({ dir });
  createFolders(layout);
  const release = await acquireLock(layout.lockFile, {
    onWait: (pid) => say(`waiting for another stack command (pid ${pid}) …`),
  });
  try {
    const stack = new Stack({ layout, environment: process.env, report: say });
    const stopped = await stack.bringDown(names);
    say(stopped.length > 0 ? `stopped ${stopped.join(', ')}` : 'nothing was running');
    if (wipe) {
      stack.wipe(names);
      say(`deleted the data of ${names.join(', ')}`);
    }
    return true;
  } finally {
    release();
  }
});
