// The clock stream with one member, and the conversation on it: openings, hellos, events. See protocols/transport.md for
// who opens it, protocols/clock.md for what is said.

import { randomBytes } from 'node:crypto'

import * as dagCbor from '@ipld/dag-cbor'
import { CID } from 'multiformats/cid'

import { packEvents, unpackEvents } from './clock.mjs'
import { Frames } from './frames.mjs'

const PROTOCOL = '/p2pwf/clock/2.0.0'
const MAX_FRAME = 1 << 20
const MAX_OPENING = 256
const ASK_AGAIN_MS = 100 // between two hellos while the sides still differ

export class Link {
  #network
  #clock
  #frames
  #hello = nextHello()
  #boot = randomBytes(16)

  constructor(network, clock) {
    this.#network = network
    this.#clock = clock
  }

  /** Set the stream up, from the side that has to; `accepted` gives the stream if that is the other one. */
  async start(connection, isOpener, accepted) {
    const opening = (link) => dagCbor.encode({ v: 1, boot: this.#boot, link })
    if (isOpener) {
      this.#frames = new Frames(await connection.newStream(PROTOCOL))
      await this.#frames.write(opening(1))
      readOpening(await this.#frames.read(MAX_OPENING))
    } else {
      this.#frames = new Frames(await accepted)
      const number = readOpening(await this.#frames.read(MAX_OPENING))
      await this.#frames.write(opening(number))
    }
    this.#read().catch((error) => this.#hello.reject(error))
  }

  /** Exchange hellos until `holds(hello)` of the other side's; returns that hello. What either lacks is sent meanwhile. */
  async until(holds) {
    for (;;) {
      const next = this.#hello.promise
      await this.#sayHello(true)
      const hello = await next
      if (await holds(hello)) return hello
      await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS))
    }
  }

  async #sayHello(reply) {
    await this.#frames.write(
      dagCbor.encode({
        t: 'hello',
        net: CID.parse(this.#network),
        boot: this.#boot,
        digest: await this.#clock.digest(),
        frontier: this.#clock.frontier(),
        reply,
        version: 'js-interop',
        caps: []
      })
    )
  }

  async #read() {
    for (let frame; (frame = await this.#frames.read(MAX_FRAME)) !== null; ) {
      const message = dagCbor.decode(frame)
      if (message.t === 'events') {
        for (const [block, signature] of unpackEvents(message)) await this.#clock.add(block, signature)
      } else if (message.t === 'hello') {
        if (String(message.net) !== this.#network) throw new Error('a hello of another network')
        if (message.reply) await this.#sayHello(false)
        const missing = this.#clock.lacking(message.frontier)
        if (missing.length > 0) await this.#frames.write(packEvents(missing))
        this.#hello.resolve(message)
        this.#hello = nextHello()
      } // digests, beats and whatever a newer peer may say ask nothing of a peer that runs no jobs
    }
    throw new Error('the node ended the clock stream')
  }
}

/** The other side's next hello, rejected if the link ends first, which may be when nobody waits for one. */
function nextHello() {
  const next = Promise.withResolvers()
  next.promise.catch(() => {})
  return next
}

function readOpening(frame) {
  const { boot, link, v } = dagCbor.decode(frame)
  if (boot.length !== 16 || !Number.isSafeInteger(link) || !Number.isSafeInteger(v)) throw new Error('a bad opening')
  return link
}
