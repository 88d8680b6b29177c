// `npm run bench`: latency and CPU, one exchange at a time; `npm run bench -- --quick`: CPU alone, beside RSA and a naive endpoint.
await import(process.argv.includes('--quick') ? './quick.ts' : './one-at-a-time.ts')
