// Frames on a libp2p stream: an unsigned varint of the length, then that many bytes; a raw body may follow a frame.
// Knows nothing of what they say. Source: protocols/transport.md.

const MAX_LENGTH_BYTES = 5

export class Frames {
  #stream
  #chunks
  #buffer = new Uint8Array(0)

  constructor(stream) {
    this.#stream = stream
    this.#chunks = stream[Symbol.asyncIterator]()
  }

  /** Send one frame, once there is room for it. */
  async write(data) {
    if (!this.#stream.send(concat(varint(data.length), data))) await this.#stream.onDrain()
  }

  /** The next frame, or null if the stream ended after the last whole one; throws for one over `limit` bytes. */
  async read(limit) {
    const length = await this.#length()
    if (length === null) return null
    if (length > limit) throw new Error(`a frame of ${length} bytes, the limit is ${limit}`)
    return this.body(length)
  }

  /** The next `length` bytes as they are. */
  async body(length) {
    while (this.#buffer.length < length) {
      if (!(await this.#more())) throw new Error('the stream ended too early')
    }
    const data = this.#buffer.slice(0, length)
    this.#buffer = this.#buffer.subarray(length)
    return data
  }

  async close() {
    await this.#stream.close()
  }

  async #length() {
    let length = 0
    for (let at = 0; at < MAX_LENGTH_BYTES; at++) {
      if (this.#buffer.length === 0 && !(await this.#more())) {
        if (at === 0) return null
        throw new Error('the stream ended within a length')
      }
      const byte = this.#buffer[0]
      this.#buffer = this.#buffer.subarray(1)
      length += (byte & 0x7f) * 2 ** (7 * at)
      if (byte < 0x80) {
        if (byte === 0 && at > 0) throw new Error('a length that is not minimal')
        return length
      }
    }
    throw new Error('a length of more than 32 bits')
  }

  async #more() {
    const { done, value } = await this.#chunks.next()
    if (done) return false
    this.#buffer = concat(this.#buffer, value.subarray()) // a chunk may be a list of arrays: subarray makes it one
    return true
  }
}

export function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

function varint(number) {
  const bytes = []
  for (; number >= 0x80; number = Math.floor(number / 128)) bytes.push((number & 0x7f) | 0x80)
  bytes.push(number)
  return Uint8Array.from(bytes)
}
