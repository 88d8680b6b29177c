# The image of every role: `serve` (ROLE picks which), `migrate`, `doctor`, `reseal`. There is no build: Node runs the TypeScript.
FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# What is optional are the embedded PostgreSQL's programs, 60 MB a platform: an image is given DATABASE_URL.
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund

FROM node:24-bookworm-slim
# As process 1, node would not be told of a SIGTERM that comes before it listens for one; tini hands on every signal.
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install --yes --no-install-recommends tini \
  && rm -rf /var/lib/apt/lists/* \
  && install --directory --owner=node --group=node --mode=0700 /var/lib/relevo
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json LICENSE ./
COPY migrations ./migrations
COPY src ./src

ENV NODE_ENV=production \
  HOST=0.0.0.0 \
  PORT=8080 \
  DATA_DIR=/var/lib/relevo
# By number, so that Kubernetes can see that it is not root. The code belongs to root: the process cannot change it.
USER 1000:1000
# The spool: the one place that is written to. The rest of the file system may be read-only.
VOLUME /var/lib/relevo
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.PORT || 8080) + '/readyz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["tini", "--", "node", "/app/src/cli.ts"]
CMD ["serve"]
