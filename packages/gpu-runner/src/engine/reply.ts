/** What came of one HTTP request at an engine, before anybody judged it. */
export type EngineReply =
  | EngineAnswer
  | {
      readonly kind: 'broken';
      readonly broken: BrokenConnection;
      readonly ms: number;
      readonly reason?: string;
    }
  | { readonly kind: 'timeout'; readonly ms: number }
  /** The answer grew over the cap. */
  | { readonly kind: 'too_large'; readonly ms: number }
  /** It cannot be made sense of. */
  | { readonly kind: 'unreadable'; readonly ms: number }
  /** We ended it ourselves; nothing is to be concluded. */
  | { readonly kind: 'aborted'; readonly ms: number };

export interface EngineAnswer {
  readonly kind: 'answer';
  readonly status: number;
  /** `Retry-After`, in milliseconds. */
  readonly retryAfterMs: number | null;
  /** `Content-Type` and `Content-Encoding`, where it has them. */
  readonly contentType?: string | undefined;
  readonly encoding?: string | undefined;
  /** `Location` of a redirect. */
  readonly location?: string | undefined;
  readonly body: Buffer;
  readonly ms: number;
}

/**
 * - `refused`: no connection came about.
 * - `raced`: a kept-alive connection was closed by the engine just as the request was written; nothing was lost.
 * - `silent`: the connection broke before any byte of an answer.
 * - `partial`: it broke inside an answer.
 */
export type BrokenConnection = 'refused' | 'raced' | 'silent' | 'partial';

/** The connection did not come about because this process has no file left for it. */
export const isOutOfFiles = (reply: EngineReply): boolean =>
  reply.kind === 'broken' && /\bE[MN]FILE\b/.test(reply.reason ?? '');
