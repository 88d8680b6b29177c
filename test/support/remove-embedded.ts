// node remove-embedded.ts DATA_DIR: when its input ends, ends the PostgreSQL of that folder and removes the folder.
// Runs beside each test server, so that a test run that is killed leaves neither behind.
import { removeEmbedded } from './embedded.ts'

process.stdin.on('end', () => removeEmbedded(process.argv[2] ?? '')).resume()
