import {
  constants,
  createPublicKey,
  generateKeyPairSync,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
} from 'node:crypto'

/** `node bench/rsa.ts [calls]`: prints the CPU of one RSA-2048 OAEP decryption, ms: what no endpoint of Meta's can do without. */
const calls = Number(process.argv[2] ?? 2000)
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const oaep = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }
const wrapped = publicEncrypt({ key: createPublicKey(privateKey), ...oaep }, randomBytes(16))
for (let call = 0; call < calls / 10; call++) privateDecrypt({ key: privateKey, ...oaep }, wrapped)
const before = process.cpuUsage()
for (let call = 0; call < calls; call++) privateDecrypt({ key: privateKey, ...oaep }, wrapped)
const { user, system } = process.cpuUsage(before)
console.log((user + system) / 1000 / calls)
