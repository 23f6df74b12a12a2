/** DNS over a byte stream: two octets of length in front of each message (RFC 1035 §4.2.2). */

/** A message as it goes over a stream. */
export function framed(message: Uint8Array): Uint8Array {
  const out = new Uint8Array(message.length + 2);
  out[0] = message.length >>> 8;
  out[1] = message.length;
  out.set(message, 2);
  return out;
}

/** Messages out of octets that come cut anywhere. */
export class Reassembly {
  #octets = new Uint8Array(0);

  /** @returns the messages that are complete now */
  take(bytes: Uint8Array): Uint8Array[] {
    const all = new Uint8Array(this.#octets.length + bytes.length);
    all.set(this.#octets);
    all.set(bytes, this.#octets.length);
    const messages: Uint8Array[] = [];
    let at = 0;
    while (all.length >= at + 2) {
      const end = at + 2 + ((all[at]! << 8) | all[at + 1]!);
      if (all.length < end) break;
      messages.push(all.subarray(at + 2, end));
      at = end;
    }
    this.#octets = all.slice(at);
    return messages;
  }
}
