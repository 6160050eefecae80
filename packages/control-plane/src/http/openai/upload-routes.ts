import { type ApiRoute, json } from '../api-route.js';

/** OpenAI's uploads in parts, for the route table. */
export const UPLOAD_ROUTES: readonly ApiRoute[] = [
  {
    method: 'post',
    path: '/v1/uploads',
    operationId: 'createUpload',
    summary: 'Begin an upload in parts; it is to be completed within an hour.',
    tag: 'files',
    scope: 'write',
    request: { content: json('CreateUploadRequest') },
    status: 200,
    answer: json('Upload'),
  },
  {
    method: 'post',
    path: '/v1/uploads/{id}/parts',
    operationId: 'addUploadPart',
    summary: 'Add a part of up to 64 MiB; parts may come in parallel.',
    tag: 'files',
    scope: 'write',
    request: {
      content: {
        'multipart/form-data': {
          type: 'object',
          required: ['data'],
          properties: { data: { type: 'string', format: 'binary' } },
        },
      },
    },
    status: 200,
    answer: json('UploadPart'),
  },
  {
    method: 'post',
    path: '/v1/uploads/{id}/complete',
    operationId: 'completeUpload',
    summary: 'Put the parts together into a file.',
    tag: 'files',
    scope: 'write',
    request: { content: json('CompleteUploadRequest') },
    status: 200,
    answer: json('Upload'),
  },
  {
    method: 'post',
    path: '/v1/uploads/{id}/cancel',
    operationId: 'cancelUpload',
    summary: 'Give an upload up.',
    tag: 'files',
    scope: 'write',
    status: 200,
    answer: json('Upload'),
  },
];
