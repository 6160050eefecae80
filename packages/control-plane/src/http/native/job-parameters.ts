/** Query parameters of job routes, as the OpenAPI document describes them. */
export const JOB_OPTIONS_QUERY = {
  endpoint: 'Endpoint of lines without url.',
  model: 'Model of bodies without model.',
  completion_window: 'A duration from 1m to 30d.',
  priority: 'high, normal or low.',
  item_timeout_ms: 'Time for one attempt at one item.',
  max_attempts: 'Charged attempts of one item.',
  max_error_rate: 'Share of failed items beyond which the rest is not run.',
  defaults: 'JSON object, merged under each body.',
  plan_order: 'auto or input.',
  reuse: 'none, job or project.',
  reuse_max_age_seconds: 'With reuse=project: how old an answer may be.',
  webhook: 'JSON object: url, events, secret.',
  metadata: 'JSON object; or metadata[key]=value.',
  output_expires_after_seconds: 'How long output files are kept.',
  dry_run: 'true: answer with the plan and store nothing.',
};
export const RESULTS_QUERY = {
  order: 'input (default) or completion.',
  after: 'Index (input order) or cursor (completion order) of the last line already read.',
  offset: 'In input order: how many lines of the input are left out, instead of after.',
  status: 'succeeded, failed, cancelled, expired; several with commas.',
};
