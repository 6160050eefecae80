import type { BatchInfer } from '@batch-infer/sdk';
import { usageError } from '../cli-error.js';
import type { Settings } from '../settings/settings.js';

/** Retries of the first contact: somebody who forgot to start a server should not wait long. */
const FIRST_CONTACT_RETRIES = 2;
/** Retries once the server was there: 20 to 40 seconds, enough for its restart. */
export const PATIENT_RETRIES = 8;

/** A client for the server of the settings. The SDK is loaded here and not before. */
export async function connect(settings: Settings): Promise<BatchInfer> {
  const { BatchInfer } = await import('@batch-infer/sdk');
  const baseUrl = settings.text('base-url');
  const apiKey = settings.text('api-key');
  try {
    return new BatchInfer({
      maxRetries: FIRST_CONTACT_RETRIES,
      ...(baseUrl === undefined ? {} : { baseUrl }),
      ...(apiKey === undefined ? {} : { apiKey }),
    });
  } catch (error) {
    throw usageError(error instanceof Error ? error.message : String(error));
  }
}
