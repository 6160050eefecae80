// One stack:up or stack:down at a time per stack folder.
import { randomUUID } from 'node:crypto';
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { isAlive, waitUntil } from './processes.mjs';

/**
 * Waits for the lock and holds it. A lock whose holder has died is taken over.
 * @param {string} lockFile
 * @param {object} options
 * @param {(holderPid: number) => void} options.onWait Called once, when another process holds the lock.
 * @param {number} [options.timeoutMs] Long enough for another's first start, which downloads and compiles.
 * @returns {Promise<() => void>} Releases the lock.
 */
export async function acquireLock(lockFile, { onWait, timeoutMs = 15 * 60_000 }) {
  const ticket = `${process.pid} ${randomUUID()}\n`;
  let told = false;
  const acquired = await waitUntil(
    () => {
      if (createExclusively(lockFile, ticket)) return true;
      const holder = readHolder(lockFile);
      if (holder === null) return false;
      if (isAlive(holder.pid)) {
        if (!told) onWait(holder.pid);
        told = true;
      } else {
        removeStale(lockFile, holder.ticket);
      }
      return false;
    },
    timeoutMs,
    100,
  );
  if (!acquired) throw new Error(`${lockFile} is still held by process ${readHolder(lockFile)?.pid}`);
  return () => removeStale(lockFile, ticket);
}

/**
 * @param {string} lockFile
 * @param {string} ticket
 */
function createExclusively(lockFile, ticket) {
  // Written beside and linked into place, so that nobody ever reads a lock without its holder.
  const draft = `${lockFile}.${process.pid}`;
  writeFileSync(draft, ticket);
  try {
    linkSync(draft, lockFile);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(draft, { force: true });
  }
}

/** @param {string} lockFile */
function readHolder(lockFile) {
  try {
    const ticket = readFileSync(lockFile, 'utf8');
    return { ticket, pid: Number.parseInt(ticket, 10) };
  } catch {
    return null;
  }
}

/**
 * Removes the lock only if it still is the one that was seen: between look and removal another process
 * may have removed it and taken its own.
 * @param {string} lockFile
 * @param {string} ticket
 */
function removeStale(lockFile, ticket) {
  const grave = `${lockFile}.${process.pid}.old`;
  try {
    renameSync(lockFile, grave);
  } catch {
    return;
  }
  if (readHolder(grave)?.ticket !== ticket) {
    try {
      linkSync(grave, lockFile);
    } catch {
      // A third process has taken the lock meanwhile; there is nothing to give back.
    }
  }
  rmSync(grave, { force: true });
}
