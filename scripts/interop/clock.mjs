// The clock of one network as another implementation keeps it: events checked one by one, heads, digest, frontier.
// Knows no stream. It checks what an event must be by itself and among its links, not what its author was allowed to do:
// roles, cuts and forks are left to full members. Source: protocols/events.md, protocols/clock.md.

import * as dagCbor from '@ipld/dag-cbor'
import { peerIdFromString } from '@libp2p/peer-id'
import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'

import { concat } from './frames.mjs'

const DOMAIN = new TextEncoder().encode('p2pwf/event/1\0')
const FIELDS = 'after author body lamport net parents prev seq time type v'
const MAX_EVENT = 896 * 1024
const MAX_WAITING = 4096 // events whose links are not known yet: far more than a test's network has in all
const TAG_BYTES = 8
const SIGNATURE_BYTES = 64

export class Clock {
  #network
  #events = new Map() // text of the CID → event, in an order in which links come first
  #waiting = new Map()

  constructor(network) {
    this.#network = network
  }

  ids() {
    return [...this.#events.keys()]
  }

  get(id) {
    return this.#events.get(id)
  }

  /** Check an event's form and signature and take it in once its links are known; throws for one that is not valid. */
  async add(block, signature) {
    const event = await check(block, signature)
    const isGenesis = event.value.type === 'net.genesis'
    if ((isGenesis ? event.id : String(event.value.net)) !== this.#network) throw new Error('of another network')
    if (isGenesis !== (event.value.net === null)) throw new Error('every event but the genesis names its network')
    if (!this.#events.has(event.id)) this.#waiting.set(event.id, event)
    if (this.#waiting.size > MAX_WAITING) throw new Error('too many events whose links are missing')
    this.#settle()
    return event
  }

  /** The events that no other stands on, sorted by their binary ids. */
  heads() {
    const covered = new Set([...this.#events.values()].flatMap((event) => event.links))
    const heads = [...this.#events.values()].filter((event) => !covered.has(event.id)).map((event) => event.cid)
    return heads.sort((a, b) => Buffer.compare(a.bytes, b.bytes))
  }

  async digest() {
    return (await sha256.digest(concat(...this.heads().map((cid) => cid.bytes)))).digest
  }

  /** Of each author, [seq, tag] of the tips of its chain. */
  frontier() {
    const continued = new Set([...this.#events.values()].map(({ value }) => String(value.prev)))
    const lines = {}
    for (const { id, cid, value } of this.#events.values()) {
      if (!continued.has(id)) (lines[value.author] ??= []).push([value.seq, cid.multihash.digest.slice(0, TAG_BYTES)])
    }
    return lines
  }

  /** What a peer with that frontier lacks, as it travels, links first. */
  lacking(frontier) {
    const known = (author) => Math.max(-1, ...(frontier[author] ?? []).map(([seq]) => seq))
    const missing = [...this.#events.values()].filter(({ value }) => value.seq > known(value.author))
    return missing.map(({ block, signature }) => [block, signature])
  }

  /** Write the next event of `author` on all that is known here, signed with `key`: [block, signature], not taken in. */
  async write(key, author, type, body) {
    const own = [...this.#events.values()].filter(({ value }) => value.author === author).at(-1)
    const lamports = this.heads().map((cid) => this.#events.get(String(cid)).value.lamport)
    const block = dagCbor.encode({
      v: 1,
      net: CID.parse(this.#network),
      author,
      seq: own === undefined ? 0 : own.value.seq + 1,
      prev: own === undefined ? null : own.cid,
      parents: this.heads(),
      after: [],
      lamport: 1 + Math.max(...lamports),
      time: Date.now(),
      type,
      body
    })
    return [block, await key.sign(concat(DOMAIN, block))]
  }

  #settle() {
    for (let moved = true; moved; ) {
      moved = false
      for (const event of this.#waiting.values()) {
        if (!event.links.every((link) => this.#events.has(link))) continue
        this.#waiting.delete(event.id)
        const lamports = event.links.map((link) => this.#events.get(link).value.lamport)
        if (event.value.lamport !== 1 + Math.max(0, ...lamports)) throw new Error('a wrong lamport')
        this.#events.set(event.id, event)
        moved = true
      }
    }
  }
}

/** The `events` message of [block, signature] pairs. */
export function packEvents(events) {
  return dagCbor.encode({
    t: 'events',
    blocks: events.map(([block]) => block),
    sigs: concat(...events.map(([, signature]) => signature))
  })
}

/** The [block, signature] pairs in an `events` message. */
export function unpackEvents({ blocks, sigs }) {
  if (sigs.length !== blocks.length * SIGNATURE_BYTES) throw new Error('not one signature for each block')
  return blocks.map((block, i) => [block, sigs.slice(i * SIGNATURE_BYTES, (i + 1) * SIGNATURE_BYTES)])
}

/** The CID of a block or a blob: version 1, sha2-256. */
export async function cidOf(codec, bytes) {
  return CID.createV1(codec, await sha256.digest(bytes))
}

async function check(block, signature) {
  if (block.length > MAX_EVENT || signature.length !== 64) throw new Error('an event out of bounds')
  const value = dagCbor.decode(block)
  if (Object.keys(value).sort().join(' ') !== FIELDS || value.v !== 1) throw new Error('not the fields of an event')
  const author = peerIdFromString(value.author)
  if (author.type !== 'Ed25519') throw new Error('an author without an Ed25519 key')
  if (!(await author.publicKey.verify(concat(DOMAIN, block), signature))) throw new Error('a wrong signature')
  const cid = await cidOf(dagCbor.code, block)
  const proof = value.type === 'member.fork' ? [value.body.first, value.body.second] : []
  const links = [...value.parents, ...(value.prev === null ? [] : [value.prev]), ...value.after, ...proof].map(String)
  return { id: String(cid), cid, value, block, signature, links: [...new Set(links)] }
}
