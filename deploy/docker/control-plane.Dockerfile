# The control plane: `batch-infer serve`.
# Build context: the root of the repository.
FROM node:24-slim AS build
WORKDIR /repository
COPY . .
RUN --mount=type=cache,target=/root/.npm npm ci
RUN npm run build
RUN mkdir /packed && npm pack --pack-destination /packed \
    --workspace packages/contracts --workspace packages/transport --workspace packages/control-plane \
    --workspace packages/gpu-runner --workspace packages/sdk --workspace packages/cli

# What is published is what is installed: nothing of the repository reaches the image but its packages.
FROM node:24-slim AS install
WORKDIR /app
COPY --from=build /packed /packed
RUN --mount=type=cache,target=/root/.npm \
    npm install --omit=dev --ignore-scripts --no-audit --no-fund --no-package-lock /packed/*.tgz

FROM node:24-slim
ENV NODE_ENV=production
# Scratch space, and the whole ledger in the embedded profile; the rest of the file system may be read-only.
ENV BATCH_INFER_DATA=/var/lib/batch-infer BATCH_INFER_HOST=0.0.0.0 BATCH_INFER_PORT=8080
RUN install --directory --owner=node --group=node --mode=0700 /var/lib/batch-infer
COPY --from=install /app /app
# By number: Kubernetes cannot tell from a name that it is not root.
USER 1000:1000
WORKDIR /var/lib/batch-infer
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["node", "-e", "fetch('http://127.0.0.1:8080/healthz').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/node_modules/batch-infer/bin/batch-infer.js"]
CMD ["serve"]
