// A js-libp2p peer that joins a p2pwf network and checks what a node says on the wire. See README.md.
//
// One JSON object a line on stdout: `identity`, then (after one line on stdin: the peer was admitted) `joined`, then
// (after a submission was gossiped) `verified`. Exit code 0 if all was as the protocols say, 1 with a line on stderr if not.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { parseArgs } from 'node:util'

import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import * as dagCbor from '@ipld/dag-cbor'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import * as raw from 'multiformats/codecs/raw'

import { BlobStream, PROTOCOL as BLOBS, serve } from './blobs.mjs'
import { Clock, cidOf, packEvents, unpackEvents } from './clock.mjs'
import { concat } from './frames.mjs'
import { Link } from './link.mjs'

const { values: options } = parseArgs({
  options: {
    node: { type: 'string' }, // multiaddr of the node, with its peer id
    network: { type: 'string' }, // network id
    side: { type: 'string', default: 'opener' }, // of the clock stream: opener or waiter
    hostile: { type: 'boolean', default: false }, // say malformed things too, and see that the node goes on
    timeout: { type: 'string', default: '30' } // seconds for everything
  }
})

const say = (step, facts) => process.stdout.write(`${JSON.stringify({ step, ...facts })}\n`)
const fail = (error) => {
  process.stderr.write(`error: ${error?.stack ?? error}\n`)
  process.exit(1)
}
setTimeout(() => fail(`not done within ${options.timeout} s`), 1000 * Number(options.timeout)).unref()
process.on('unhandledRejection', fail)

const nodeId = options.node.split('/p2p/')[1]
const topic = `p2pwf/2/${options.network}`

// Of two members, the one with the smaller text opens the clock stream: take a key that puts us on the side asked for.
let key, own
do {
  key = await generateKeyPair('Ed25519')
  own = peerIdFromPrivateKey(key).toString()
} while (own < nodeId !== (options.side === 'opener'))
say('identity', { peer_id: own })
await once(process.stdin, 'data')
process.stdin.pause()

const libp2p = await createLibp2p({
  privateKey: key,
  addresses: { listen: [] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    pubsub: gossipsub({
      msgIdFn: ({ from, data }) => createHash('sha256').update(from.toMultihash().bytes).update(data).digest()
    })
  }
})
const pubsub = libp2p.services.pubsub
const clock = new Clock(options.network)
const link = new Link(options.network, clock)

const accepted = Promise.withResolvers()
await libp2p.handle('/p2pwf/clock/2.0.0', (stream) => accepted.resolve(stream))
await libp2p.handle(BLOBS, serve)

const submission = Promise.withResolvers()
let knownAtJoin = null // ids: gossip repeats what is a few seconds old, and the submission looked for comes later
pubsub.addEventListener('message', ({ detail }) => readGossip(detail).catch(fail))

async function readGossip({ topic: on, data, from }) {
  if (on !== topic || from.toString() !== nodeId) return
  const message = dagCbor.decode(data)
  for (const [block, signature] of message.t === 'events' ? unpackEvents(message) : []) {
    const event = await clock.add(block, signature) // its CID and signature are checked there
    if (event.value.type === 'run.submit' && knownAtJoin?.has(event.id) === false) submission.resolve(event)
  }
}

// Join: the mesh, the clock, and an event of our own by gossip. The node reads one gossip stream in order, so once it
// has the event it also knows that we subscribed: a submission made from then on reaches us.
const connection = await libp2p.dial(multiaddr(options.node))
pubsub.subscribe(topic)
await link.start(connection, options.side === 'opener', accepted.promise)
await link.until(({ digest }) => sameDigest(digest))
while (!pubsub.getMeshPeers(topic).includes(nodeId)) await once(pubsub, 'gossipsub:heartbeat')
const written = await clock.write(key, own, 'member.update', { name: `js ${options.side}`, labels: ['js'], slots: 0 })
await publish([written])
await link.until(({ frontier }) => own in frontier)
knownAtJoin = new Set(clock.ids())
say('joined', { genesis: clock.get(options.network).value.type, event: (await clock.add(...written)).id })

// The submission, and the source that it names.
const run = await submission.promise
const blobs = await BlobStream.open(connection)
const manifestBlock = await blobs.fetch(run.value.body.source)
const manifest = dagCbor.decode(manifestBlock)
const files = {}
for (const { path, size, cid } of manifest.files) {
  const content = await blobs.fetch(cid)
  if (content.length !== size) throw new Error(`${path} has ${content.length} bytes, the manifest says ${size}`)
  files[path] = createHash('sha256').update(content).digest('hex')
}
const range = await blobs.ask(run.value.body.source, 3, 5)
if (Buffer.compare(range.bytes, manifestBlock.subarray(3, 8)) !== 0) throw new Error('a range that is not of the blob')
const absent = await blobs.ask(await cidOf(raw.code, new TextEncoder().encode(own)))
await blobs.close()

if (options.hostile) await beHostile()

await link.until(({ digest }) => sameDigest(digest))
say('verified', {
  run: run.id,
  author: run.value.author,
  type: run.value.type,
  jobs: run.value.body.plan.jobs.length,
  source: run.value.body.source.toString(),
  manifest_version: manifest.v,
  files,
  range: range.status,
  absent: absent.status,
  events: clock.ids().length,
  heads: clock.heads().map(String)
})
await libp2p.stop()
process.exit(0)

async function sameDigest(digest) {
  return Buffer.compare(digest, await clock.digest()) === 0
}

function publish(events) {
  return pubsub.publish(topic, packEvents(events))
}

/** What no honest peer sends; the node has to go on answering, also on the connection that it came by. */
async function beHostile() {
  await pubsub.publish(topic, new TextEncoder().encode('this is not DAG-CBOR'))
  await pubsub.publish(topic, dagCbor.encode({ t: 'events', blocks: 'none' }))
  const forged = { peer: own, roles: ['admin'], name: 'forged', labels: [], slots: 0, tip: null }
  await publish([await clock.write(key, nodeId, 'member.add', forged)]) // in the node's name, signed with our key
  await sendGossipBytes([0x0b, 0x0a, ...new Array(10).fill(0xff)]) // a frame with an RPC whose first length never ends
  await sendGossipBytes([0xff, 0xff, 0xff, 0xff, 0x7f]) // the head of a frame of 32 GiB
  const again = await BlobStream.open(connection)
  await again.fetch(run.value.body.source)
  await again.close()
}

/** Send bytes on a gossip stream of their own, and wait until the node has ended it. */
async function sendGossipBytes(bytes) {
  const stream = await connection.newStream('/meshsub/1.1.0')
  const ended = once(stream, 'close')
  stream.send(Uint8Array.from(bytes))
  await ended
}
