// node embedded-process.ts DATA_DIR: has the embedded PostgreSQL of that folder, prints {"url","adopted"} in one line,
// and stops it when its input ends. No signal handlers: a signal ends it as it ends any process.
import { startEmbedded } from '../../src/storage/embedded.ts'

try {
  const server = await startEmbedded({ dataDir: process.argv[2] ?? '' })
  console.log(JSON.stringify({ url: server.url, adopted: server.adopted }))
  process.stdin.on('end', () => server.stop()).resume()
} catch (error) {
  console.error(error instanceof Error ? `${error.name}: ${error.message}` : error)
  process.exitCode = 1
}
