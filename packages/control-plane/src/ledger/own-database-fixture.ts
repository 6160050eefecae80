import { randomUUID } from 'node:crypto';
import { Client } from 'pg';

/** A database of a test's own on the server of `serverUrl`. */
export async function createOwnDatabase(
  serverUrl: string,
): Promise<{ readonly databaseUrl: string; query(statement: string): Promise<void>; drop(): Promise<void> }> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const admin = new Client({ connectionString: serverUrl });
  await admin.connect();
  await admin.query(`create database ${name}`);
  const databaseUrl = new URL(serverUrl);
  databaseUrl.pathname = `/${name}`;
  return {
    databaseUrl: databaseUrl.href,
    query: async (statement) => {
      await admin.query(statement.replaceAll('OWN_DATABASE', name));
    },
    drop: async () => {
      await admin.query(`drop database if exists ${name} with (force)`);
      await admin.end();
    },
  };
}
