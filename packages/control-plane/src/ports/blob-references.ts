/** Which objects of the store are in use. */
export interface BlobReferenceLedger {
  /** Whether any row names this blob, or somebody keeps it for a while: for the orphan sweep. */
  isBlobReferenced(params: { key: string }): Promise<boolean>;
  /** Keys of objects that other jobs and their files name, newest first: by them it is seen whether a store has what it should. */
  listOtherBlobs(params: { jobId: string; limit: number }): Promise<string[]>;
  /** Keeps an object that belongs to no row from the orphan sweep until then; again, longer. */
  keepTemporary(params: { key: string; untilMs: number }): Promise<void>;
  releaseTemporary(params: { key: string }): Promise<void>;
  /** Releases those whose time is over. */
  forgetTemporary(params: { nowMs: number }): Promise<void>;
}
