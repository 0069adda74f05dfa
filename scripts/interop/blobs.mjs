// Blobs over /p2pwf/blob/1.0.0: asking for them, and answering that none are held here. Source: protocols/blob.md.

import * as dagCbor from '@ipld/dag-cbor'
import * as raw from 'multiformats/codecs/raw'

import { cidOf } from './clock.mjs'
import { Frames } from './frames.mjs'

export const PROTOCOL = '/p2pwf/blob/1.0.0'
const MAX_MESSAGE = 1 << 16
const MAX_BLOB = 16 << 20 // as large as a manifest may be; this peer keeps blobs in memory

/** The requests of one stream, one after the other. */
export class BlobStream {
  #frames

  constructor(frames) {
    this.#frames = frames
  }

  static async open(connection) {
    return new BlobStream(new Frames(await connection.newStream(PROTOCOL)))
  }

  /** {status, size, bytes} for [offset, offset + length) of a blob, `length` null for all of it; no bytes if refused. */
  async ask(cid, offset = 0, length = null) {
    await this.#frames.write(dagCbor.encode({ v: 1, cid, offset, length, via: null }))
    const head = dagCbor.decode(await this.#frames.read(MAX_MESSAGE))
    if (head.status !== 'ok') return head
    if (head.offset !== offset || head.size > MAX_BLOB) throw new Error('an answer to another request, or too large')
    const due = Math.min(length ?? head.size, head.size - offset)
    return { ...head, bytes: await this.#frames.body(due) }
  }

  /** The whole blob; throws unless its bytes hash to its CID. */
  async fetch(cid) {
    const { status, bytes } = await this.ask(cid)
    if (status !== 'ok') throw new Error(`no blob ${cid}: ${status}`)
    if (!(await cidOf(raw.code, bytes)).equals(cid)) throw new Error(`wrong bytes for ${cid}`)
    return bytes
  }

  async close() {
    await this.#frames.close()
  }
}

/** Answer a member's requests: this peer holds nothing. */
export async function serve(stream) {
  const frames = new Frames(stream)
  for (let frame; (frame = await frames.read(MAX_MESSAGE)) !== null; ) {
    const answer = 'hold' in dagCbor.decode(frame) ? { v: 1, held: [] } : { v: 1, status: 'absent' }
    await frames.write(dagCbor.encode(answer))
  }
  await frames.close()
}
