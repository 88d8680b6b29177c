#!/usr/bin/env node
import './runtime.ts'

// Not a static import: those are all loaded before runtime.ts has prepared the process.
await import('./commands.ts')
