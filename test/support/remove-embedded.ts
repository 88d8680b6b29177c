// node remove-embedded.ts DATA_DIR…: when its input ends, ends the PostgreSQL of these folders and removes the folders.
// Runs beside each test server, so that a test run that is killed leaves neither behind.
import { removeEmbedded } from './embedded.ts'

process.stdin.on('end', () => Promise.all(process.argv.slice(2).map(removeEmbedded))).resume()
