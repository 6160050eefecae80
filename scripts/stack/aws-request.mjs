// One signed request to an S3 server (AWS Signature Version 4), for what the stack needs: is it up, and
// does it know our key; make a bucket.
import { createHash, createHmac } from 'node:crypto';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';

/**
 * @typedef {object} S3Credentials
 * @property {string} accessKeyId
 * @property {string} secretAccessKey
 * @property {string} region
 */

/**
 * @param {object} options
 * @param {string} options.endpoint
 * @param {'GET' | 'HEAD' | 'PUT'} options.method
 * @param {string} options.path Starts with a slash; of characters that need no encoding.
 * @param {S3Credentials} options.credentials
 * @param {number} [options.timeoutMs]
 * @returns {Promise<number | null>} The status; `null` when there was no answer.
 */
export function requestS3({ endpoint, method, path, credentials, timeoutMs = 2_000 }) {
  const url = new URL(path, endpoint);
  const send = url.protocol === 'https:' ? requestHttps : requestHttp;
  return new Promise((resolve) => {
    const outgoing = send(
      url,
      // No agent: an idle connection would keep the script from ending.
      { method, agent: false, timeout: timeoutMs, headers: signedHeaders(url, method, credentials) },
      (answer) => {
        answer.resume();
        answer.once('close', () => resolve(answer.statusCode ?? null));
      },
    );
    outgoing.once('timeout', () => outgoing.destroy());
    outgoing.once('error', () => resolve(null));
    outgoing.once('close', () => resolve(null));
    outgoing.end();
  });
}

/**
 * @param {URL} url
 * @param {string} method
 * @param {S3Credentials} credentials
 */
function signedHeaders(url, method, { accessKeyId, secretAccessKey, region }) {
  const time = new Date().toISOString().replace(/[:-]|\.\d{3}/g, '');
  const date = time.slice(0, 8);
  const bodyHash = createHash('sha256').update('').digest('hex');
  const headers = { host: url.host, 'x-amz-content-sha256': bodyHash, 'x-amz-date': time };
  const names = Object.keys(headers).join(';');
  const canonicalHeaders = Object.entries(headers)
    .map(([name, value]) => `${name}:${value}\n`)
    .join('');
  const canonical = [method, url.pathname, '', canonicalHeaders, names, bodyHash].join('\n');
  const scope = `${date}/${region}/s3/aws4_request`;
  const toSign = ['AWS4-HMAC-SHA256', time, scope, createHash('sha256').update(canonical).digest('hex')];
  const key = [date, region, 's3', 'aws4_request'].reduce(
    (previous, part) => createHmac('sha256', previous).update(part).digest(),
    Buffer.from(`AWS4${secretAccessKey}`),
  );
  const signature = createHmac('sha256', key).update(toSign.join('\n')).digest('hex');
  return {
    ...headers,
    authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`,
  };
}
